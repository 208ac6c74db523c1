"""The probe set: a synthetic exam of a teacher, on which students are compared when there is no real data.

It depends on the teacher and ``RECIPE_VERSION`` alone: not on a method's settings, label embeddings or any real image,
and it is never trained on. It is still an exam written by the teacher's inverse. Where it resembles what a student was
trained on, it flatters that student; a search with labels therefore reports how far its choice could be trusted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from dfkd.augmentation import augment
from dfkd.domain import normalise
from dfkd.losses.inversion import batch_norm_statistics, one_hot_loss
from dfkd.losses.kd import kl_divergence

RECIPE_VERSION = 2
SIZE = 1000  # images
CANDIDATES_PER_FAMILY = 200
STEPS = 60
SNAPSHOTS = (10, 25, 60)  # steps after which images are kept: early ones leave the teacher in doubt
CONFIDENCE_EDGES = (0.5, 0.8, 0.95)  # of the teacher's top probability; four strata
LATENT_WIDTH = 64

Judge = Callable[[Tensor], Tensor]  # the teacher with its normalisation: images [B, C, H, W] in [0, 1] -> logits [B, K]


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeSet:
    """Images and what the teacher says of them.

    Attributes:
        images: uint8 [N, C, H, W].
        teacher_logits: [N, K], float32.
    """

    images: Tensor
    teacher_logits: Tensor


class _Painter(nn.Module):
    """A small generator for the probe alone, of another make than any method's: transposed convolutions, no BN."""

    def __init__(self, image_shape: tuple[int, int, int], width: int) -> None:
        super().__init__()
        channels, self.height, self.width = image_shape
        self.base = (width, -(-self.height // 4), -(-self.width // 4))
        self.project = nn.Linear(LATENT_WIDTH, self.base[0] * self.base[1] * self.base[2])
        self.up1 = nn.ConvTranspose2d(width, width, 4, stride=2, padding=1)
        self.up2 = nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        """Map latents [B, Z] to images [B, C, H, W] in [0, 1]."""
        hidden = F.gelu(self.project(latents)).view(-1, *self.base)
        images: Tensor = self.up2(F.gelu(self.up1(hidden))).sigmoid()
        return images[:, :, : self.height, : self.width]


class _Pixels(nn.Module):
    """The images themselves as parameters, starting from smooth noise."""

    def __init__(self, count: int, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, height, width = image_shape
        coarse = torch.randn(count, channels, -(-height // 2), -(-width // 2))
        self.logits = nn.Parameter(F.interpolate(coarse, size=(height, width), mode="bilinear"))

    def forward(self, latents: Tensor) -> Tensor:
        """Return the images [B, C, H, W] in [0, 1], whatever the latents."""
        return self.logits.sigmoid()


def make_probe_set(
    teacher: nn.Module,
    *,
    image_shape: tuple[int, int, int],
    num_classes: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    teacher_hash: str,
    size: int = SIZE,
    steps: int = STEPS,
) -> ProbeSet:
    """Make the exam of a teacher.

    Candidates come from two painter initialisations under Gaussian latents, one under uniform latents, and pixels
    optimised directly, each kept at several stages; from mixtures of two of them; and from the mixture at which the
    teacher wavers most. From these, equally many are taken of every (predicted class, confidence) stratum.

    Args:
        teacher: normalised images [B, C, H, W] -> logits [B, K]; in evaluation mode. It computes where it is; all else,
            and all that is random, stays on the CPU.
        image_shape: (C, H, W).
        num_classes: K.
        mean: the teacher's input normalisation, a channel.
        std: the teacher's input normalisation, a channel.
        teacher_hash: hexadecimal; seeds the recipe.
        size: number of images wanted.
        steps: optimisation steps a family; tests take few.

    Returns:
        At most ``size`` images. The teacher and all global random states are as before.
    """
    assert not teacher.training, "a probe set is made by a teacher in evaluation mode"

    device = next(iter(teacher.state_dict().values()), torch.empty(0)).device

    def logits_of(images: Tensor) -> Tensor:
        logits: Tensor = teacher(normalise(images.to(device), mean, std)).to(images.device)
        return logits

    seed = int(teacher_hash[:12], 16) + RECIPE_VERSION
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # for initial weights; `torch.manual_seed` would touch CUDA's as well
        random = torch.Generator().manual_seed(seed + 1)  # its own stream, not the one that the weights came from
        painted = [_paint(teacher, logits_of, family, image_shape, num_classes, random, steps) for family in range(4)]
        candidates = torch.cat(painted)
        candidates = torch.cat([candidates, *_mix(logits_of, candidates, random)])
        candidates = candidates.mul(255).round().to(torch.uint8)
        with torch.inference_mode():
            logits = torch.cat([logits_of(part.float() / 255) for part in candidates.split(256)])
        chosen = _stratify(logits, num_classes, size, random)
    return ProbeSet(images=candidates[chosen].clone(), teacher_logits=logits[chosen].clone())


def _paint(
    teacher: nn.Module,
    logits_of: Judge,
    family: int,
    image_shape: tuple[int, int, int],
    num_classes: int,
    random: torch.Generator,
    steps: int,
) -> Tensor:
    """Optimise one family of candidates towards balanced labels; return its snapshots [S * B, C, H, W] in [0, 1]."""
    count = CANDIDATES_PER_FAMILY
    labels = (torch.arange(count) + family * count) % num_classes  # with many classes, families take different ones
    latents = torch.randn(count, LATENT_WIDTH, generator=random)
    if family == 2:
        latents = (2 * torch.rand(count, LATENT_WIDTH, generator=random) - 1) * 3**0.5
    painter: nn.Module = _Pixels(count, image_shape) if family == 3 else _Painter(image_shape, (32, 24, 48)[family])
    optimizer = torch.optim.AdamW(painter.parameters(), lr=0.1 if family == 3 else 4e-3)
    kept: list[Tensor] = []
    snapshots = {max(1, round(share * steps / STEPS)) for share in SNAPSHOTS}
    with batch_norm_statistics(teacher) as statistics:
        for step in range(1, steps + 1):
            images = painter(latents)
            shifted = augment(images, crop_padding=1, horizontal_flip=False, generator=random)
            fit = one_hot_loss(logits_of(shifted), labels)
            rough = images.diff(dim=2).abs().mean() + images.diff(dim=3).abs().mean()  # total variation
            loss = fit + statistics.loss().to(fit.device) + 0.1 * rough
            optimizer.zero_grad(set_to_none=True)
            loss.backward(inputs=list(painter.parameters()))  # and nothing for the teacher, frozen or not
            optimizer.step()
            if step in snapshots:
                kept.append(images.detach())
    return torch.cat(kept)


@torch.inference_mode()
def _mix(logits_of: Judge, images: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return random mixtures of pairs, and for each pair the mixture of lowest margin, [M, C, H, W] in [0, 1] each."""
    order = torch.randperm(len(images), generator=random)
    first, second = images[order[0::2]], images[order[1::2]][: len(order[0::2])]
    first = first[: len(second)]
    share = torch.rand(len(first), 1, 1, 1, generator=random)
    interpolated = share * first + (1 - share) * second
    margins, mixtures = [], []
    for step in range(1, 8):
        mixture = first * (step / 8) + second * (1 - step / 8)
        top = torch.cat([logits_of(part).softmax(1).topk(2, dim=1).values for part in mixture.split(256)])
        margins.append(top[:, 0] - top[:, 1])
        mixtures.append(mixture)
    lowest = torch.stack(margins).argmin(dim=0)  # [M]
    wavering = torch.stack(mixtures)[lowest, torch.arange(len(first))]
    return interpolated, wavering


def _stratify(logits: Tensor, num_classes: int, size: int, random: torch.Generator) -> Tensor:
    """Return up to ``size`` rows, taking turns among the strata (predicted class, confidence) while they last.

    Args:
        logits: of the teacher, [M, K].
        num_classes: K.
        size: number of rows wanted.
        random: shuffles within each stratum.
    """
    confidence, predicted = logits.softmax(dim=1).max(dim=1)
    level = torch.bucketize(confidence, torch.tensor(CONFIDENCE_EDGES))
    stratum = predicted * (len(CONFIDENCE_EDGES) + 1) + level
    shuffled = torch.randperm(len(logits), generator=random)
    grouped = shuffled[stratum[shuffled].argsort(stable=True)]  # rows, stratum by stratum, shuffled within
    counts = torch.bincount(stratum, minlength=num_classes * (len(CONFIDENCE_EDGES) + 1))
    place = torch.arange(len(grouped)) - (counts.cumsum(0) - counts)[stratum[grouped]]  # of a row in its stratum
    return grouped[place.argsort(stable=True)][:size]


@torch.inference_mode()
def score_on_probe(student_logits: Tensor, probe: ProbeSet) -> dict[str, float]:
    """Compare a student with the teacher on the probe.

    Args:
        student_logits: [N, K], in the order of the probe's images.
        probe: the exam.

    Returns:
        ``probe/agreement`` (share of equal top-1), ``probe/kl`` (mean KL(p_T || p_S)) and ``probe/top_class_share``
        (share of the student's most frequent prediction: near 1 for a collapsed student).
    """
    predicted = student_logits.argmax(dim=1)
    agreement = (predicted == probe.teacher_logits.argmax(dim=1)).float().mean()
    divergence = kl_divergence(student_logits, probe.teacher_logits).mean()
    most_frequent = torch.bincount(predicted, minlength=student_logits.shape[1]).max() / len(predicted)
    return {
        "probe/agreement": float(agreement),
        "probe/kl": float(divergence),
        "probe/top_class_share": float(most_frequent),
    }
