"""KD on procedural images: what a student learns from structure alone, without a photograph or a generator."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dfkd.domain import Domain
from dfkd.settings.synthesis import ProceduralSettings
from dfkd.synthesis.drawn import Drawn
from dfkd.synthesis.protocol import SyntheticBatch
from dfkd.teacher_student import TeacherStudent

SMALLEST_RADIUS, LARGEST_RADIUS = 0.08, 1.0  # of a leaf, as shares of the image's longer side
SLOPES = (0.5, 3.5)  # of the magnitude over the frequency
CYCLES = (0.5, 8.0)  # of a grating over the image's longer side
PIXELS_A_CYCLE = 3  # at least


class Procedural(Drawn):
    """Dead leaves, coloured 1/f noise and sums of gratings, in equal shares; drawn anew for every step.

    Source: Baradad et al., Learning to See by Looking at Noise, NeurIPS 2021 (dead leaves with shapes and the spectrum
    model; their public code). They pre-train representations; that a student is distilled on such images is ours.
    Deviations: a fixed number of leaves on a ground of one colour in place of leaves until nothing is left open, the
    smallest of radius 0.08 and not 0.03; ellipses and rectangles alone; gratings are an addition.
    """

    augments = False  # the images are new in every step

    def __init__(
        self, settings: ProceduralSettings, pair: TeacherStudent, domain: Domain, generator: torch.Generator
    ) -> None:
        self.settings, self.shape, self.random, self.device = settings, domain.image_shape, generator, pair.device

    def sample(self, batch_size: int) -> SyntheticBatch:
        """Draw images [B, C, H, W] in [0, 1]; families take turns, so that the newest few show all of them."""
        families = self.settings.families
        each = -(-batch_size // len(families))  # rounded up
        drawn = [self._draw(family, each) for family in families]
        images = torch.stack(drawn, dim=1).flatten(0, 1)[:batch_size]
        self.shown = images
        return SyntheticBatch(images=images)

    def _draw(self, family: str, count: int) -> Tensor:
        if family == "dead_leaves":
            return dead_leaves(count, self.shape, num_leaves=self.settings.num_leaves, generator=self.random)
        if family == "spectrum":
            return spectrum(count, self.shape, generator=self.random)
        return gratings(count, self.shape, num_gratings=self.settings.num_gratings, generator=self.random)


def dead_leaves(count: int, shape: tuple[int, int, int], *, num_leaves: int, generator: torch.Generator) -> Tensor:
    """Paint shapes over one another, back to front: [N, C, H, W] in [0, 1].

    A leaf is an ellipse or a rectangle, anywhere, in any direction, of one colour. The density of its radius falls as
    r^-3, which makes the picture look alike at every scale.
    """
    channels, height, width = shape
    y, x = _positions(height, width, generator.device)
    images = _uniform(generator, count, channels, 1, 1).expand(count, channels, height, width)
    for _ in range(num_leaves):
        draws = _uniform(generator, 6, count, 1, 1)
        centre_y, centre_x = draws[0] * height / max(height, width), draws[1] * width / max(height, width)
        turn = draws[2] * math.pi
        # The inverse of the distribution function of r^-3 between the smallest and the largest radius.
        squares = SMALLEST_RADIUS**-2, LARGEST_RADIUS**-2
        radius = (squares[0] + draws[3] * (squares[1] - squares[0])).rsqrt()
        narrow = 0.3 + 0.7 * draws[4]  # of the short axis, as a share of the long one
        along = ((x - centre_x) * turn.cos() + (y - centre_y) * turn.sin()) / radius  # [N, H, W]
        across = ((y - centre_y) * turn.cos() - (x - centre_x) * turn.sin()) / (radius * narrow)
        ellipse = along.square() + across.square() < 1
        rectangle = torch.maximum(along.abs(), across.abs()) < 1
        inside = torch.where(draws[5] < 0.5, ellipse, rectangle).unsqueeze(1)  # [N, 1, H, W]
        images = torch.where(inside, _uniform(generator, count, channels, 1, 1), images)
    return images.contiguous()


def spectrum(count: int, shape: tuple[int, int, int], *, generator: torch.Generator) -> Tensor:
    """Draw noise whose magnitude falls as 1 / f^s, with a slope s for each image: [N, C, H, W] in [0, 1]."""
    channels, height, width = shape
    device = generator.device
    rows = torch.fft.fftfreq(height, device=device).unsqueeze(1)  # [H, 1]
    columns = torch.fft.rfftfreq(width, device=device)  # [W / 2 + 1]
    frequency = torch.hypot(rows, columns)
    frequency[0, 0] = math.inf  # no constant part
    slope = SLOPES[0] + (SLOPES[1] - SLOPES[0]) * _uniform(generator, count, 1, 1, 1)
    white = torch.fft.rfft2(torch.randn(count, channels, height, width, generator=generator, device=device))
    coloured = torch.fft.irfft2(white * frequency.pow(-slope), s=(height, width))
    return _stretch(_mix_channels(coloured, generator))


def gratings(count: int, shape: tuple[int, int, int], *, num_gratings: int, generator: torch.Generator) -> Tensor:
    """Add up sinusoids of random frequency, direction, phase and colour: [N, C, H, W] in [0, 1]."""
    channels, height, width = shape
    y, x = _positions(height, width, generator.device)
    most_cycles = min(CYCLES[1], max(height, width) / PIXELS_A_CYCLE)
    total = torch.zeros(count, channels, height, width, device=generator.device)
    for _ in range(num_gratings):
        draws = _uniform(generator, 3, count, 1, 1)
        cycles = CYCLES[0] * (most_cycles / CYCLES[0]) ** draws[0]
        turn, phase = math.pi * draws[1], 2 * math.pi * draws[2]
        wave = (2 * math.pi * cycles * (x * turn.cos() + y * turn.sin()) + phase).sin()  # [N, H, W]
        total = total + wave.unsqueeze(1) * (2 * _uniform(generator, count, channels, 1, 1) - 1)
    return _stretch(total)


def _positions(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return y [H, 1] and x [W] of the pixels' centres, as shares of the longer side."""
    longer = max(height, width)
    y, x = ((torch.arange(size, device=device) + 0.5) / longer for size in (height, width))
    return y.unsqueeze(1), x


def _uniform(generator: torch.Generator, *size: int) -> Tensor:
    return torch.rand(size, generator=generator, device=generator.device)


def _mix_channels(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mix the channels of each image by a random matrix of its own, so that its colours hang together."""
    count, channels = images.shape[:2]
    mixing = torch.randn(count, channels, channels, generator=generator, device=generator.device)
    return torch.einsum("nij,njhw->nihw", mixing, images)


def _stretch(images: Tensor) -> Tensor:
    """Scale each image so that its smallest value becomes 0 and its largest 1."""
    low, high = images.amin(dim=(1, 2, 3), keepdim=True), images.amax(dim=(1, 2, 3), keepdim=True)
    return (images - low) / (high - low).clamp_min(1e-6)
