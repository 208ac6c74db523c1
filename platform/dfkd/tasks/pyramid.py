"""Light heads on the multi-scale features of any convolutional backbone."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from dfkd.feature_maps import FeatureMaps
from dfkd.settings.tasks.dense import HeadSettings
from dfkd.tasks.transfer import TransferInput


class Pyramid(nn.Module):
    """A copy of a backbone with a feature pyramid on its last map of each resolution.

    Source: Lin et al., Feature Pyramid Networks, CVPR 2017, section 3, as torchvision has it, with BatchNorm.

    Args:
        backbone: maps [B, C, H, W] to logits; copied.
        image_shape: (C, H, W).
        settings: width, finest stride, and whether the backbone is frozen (learning rate 0).

    Attributes:
        sizes: (h, w) of every level, finest first.
        out_channels: D of every level.

    Raises:
        ValueError: if the backbone has no feature map that is coarse enough.
    """

    def __init__(self, backbone: nn.Module, image_shape: tuple[int, int, int], settings: HeadSettings) -> None:
        super().__init__()
        from torchvision.ops import FeaturePyramidNetwork  # here: most tasks do without torchvision

        self.frozen = settings.backbone_learning_rate == 0
        self.backbone = copy.deepcopy(backbone).requires_grad_(not self.frozen)
        self._maps = FeatureMaps(self.backbone, image_shape)
        limit = image_shape[1] / settings.finest_stride
        usable = [size for size in self._maps.sizes if size[0] <= limit and size != (1, 1)]
        if not usable:
            raise ValueError(
                f"finest_stride: the backbone has feature maps of the sizes {list(self._maps.sizes)} for images "
                f"{list(image_shape)}, and none is at most 1/{settings.finest_stride} of the image and larger than "
                "1x1. Take a smaller finest_stride, or a network with convolutions."
            )
        self.sizes = tuple(sorted(usable, reverse=True))
        self.out_channels = settings.width
        self._levels = FeaturePyramidNetwork(self._widths(image_shape), settings.width, norm_layer=nn.BatchNorm2d)

    @torch.no_grad()
    def _widths(self, image_shape: tuple[int, int, int]) -> list[int]:
        """Return the channels of every map, from one pass over a blank image."""
        self.backbone.eval()
        parameter = next(self.backbone.parameters())
        self.backbone(torch.zeros(1, *image_shape, device=parameter.device))
        widths = [self._maps.latest[size].shape[1] for size in self.sizes]
        self._maps.forget()
        return widths

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map normalised images [B, C, H, W] to maps [B, D, h, w], finest first."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            self.backbone(images)
        maps = OrderedDict((str(level), self._maps.latest[size]) for level, size in enumerate(self.sizes))
        self._maps.forget()
        return list(self._levels(maps).values())

    def train(self, mode: bool = True) -> Pyramid:
        """Set the mode; a frozen backbone stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def groups(self, whole: nn.Module, settings: HeadSettings) -> list[tuple[Iterable[nn.Parameter], float]]:
        """Return the parameters of ``whole``, which holds this pyramid, with their learning rates."""
        own = list(self.backbone.parameters())
        known = {id(parameter) for parameter in own}
        head = [parameter for parameter in whole.parameters() if id(parameter) not in known]
        rate = settings.backbone_learning_rate
        return (
            [(head, settings.head_learning_rate)] if self.frozen else [(own, rate), (head, settings.head_learning_rate)]
        )


class DenseHead(nn.Module):
    """A pyramid whose levels are added up at the finest one, and read by two convolutions: an answer for every pixel.

    Source: Kirillov et al., Panoptic Feature Pyramid Networks, CVPR 2019, section 3, with one interpolation a level.
    """

    def __init__(self, pyramid: Pyramid, out_channels: int) -> None:
        super().__init__()
        width = pyramid.out_channels
        self.pyramid = pyramid
        self.convolution = nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.answer = nn.Conv2d(width, out_channels, kernel_size=1)

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images [B, C, H, W] to answers [B, out_channels, H, W]."""
        finest, *others = self.pyramid(images)
        total = finest
        for level in others:
            total = total + F.interpolate(level, finest.shape[2:], mode="bilinear", align_corners=False)
        answers: Tensor = self.answer(F.relu(self.norm(self.convolution(total))))
        return F.interpolate(answers, images.shape[2:], mode="bilinear", align_corners=False)


def build_dense_head(given: TransferInput, images: Tensor, settings: HeadSettings, out_channels: int) -> DenseHead:
    """Return a new head on a copy of the network, on the device, for images [N, C, H, W]."""
    channels, height, width = images.shape[1:]
    backbone = given.backbone()
    head = given.seeded(lambda: DenseHead(Pyramid(backbone, (channels, height, width), settings), out_channels))
    assert isinstance(head, DenseHead)
    head.to(memory_format=torch.channels_last)
    return head


def mirror(tensors: tuple[Tensor, ...], random: torch.Generator) -> tuple[Tensor, ...]:
    """Mirror half of the examples of tensors [B, ..., W] at random, the same ones in all of them."""
    chosen = torch.rand(len(tensors[0]), generator=random, device=random.device) < 0.5
    return tuple(
        torch.where(chosen.view(-1, *(1,) * (tensor.dim() - 1)), tensor.flip(-1), tensor) for tensor in tensors
    )
