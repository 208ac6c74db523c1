from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dfkd.settings.tasks import SegmentationSettings
from dfkd.settings.tasks.dense import AnnotatedImagesSettings
from dfkd.tasks.pyramid import DenseHead, Pyramid, build_dense_head, mirror
from dfkd.tasks.transfer import TransferInput

Given = Callable[..., TransferInput]
SHAPE = (3, 16, 24)


def settings(**values: Any) -> SegmentationSettings:
    dataset = AnnotatedImagesSettings(name="voc", path="unused")
    return SegmentationSettings(**({"dataset": dataset, "width": 8} | values))


@pytest.mark.parametrize(("finest", "sizes"), [(1, [(16, 24), (8, 12), (4, 6)]), (2, [(8, 12), (4, 6)]), (4, [(4, 6)])])
def test_levels_are_the_backbones_resolutions_from_the_finest_stride_on(
    given: Given, finest: int, sizes: list[tuple[int, int]]
) -> None:
    pyramid = Pyramid(given().network.model, SHAPE, settings(finest_stride=finest))
    assert list(pyramid.sizes) == sizes
    assert [tuple(maps.shape) for maps in pyramid(torch.zeros(2, *SHAPE))] == [(2, 8, *size) for size in sizes]


@pytest.mark.parametrize("architecture", ["wrn_16_1", "vgg11", "torchvision:shufflenet_v2_x0_5", "timm:test_resnet"])
def test_any_convolutional_backbone_carries_a_head(given: Given, architecture: str) -> None:
    if architecture.startswith("timm:"):
        pytest.importorskip("timm", reason="needs the extra [timm]")
    side = 32 if ":" in architecture else 16
    head = build_dense_head(given(architecture), torch.zeros(1, 3, side, side), settings(), out_channels=5)
    assert head(torch.zeros(2, 3, side, side)).shape == (2, 5, side, side)


def test_a_network_without_feature_maps_is_refused(given: Given) -> None:
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3 * 16 * 24, 2)

        def forward(self, images: Tensor) -> Tensor:
            return self.linear(images.flatten(1))  # type: ignore[no-any-return]

    with pytest.raises(ValueError, match=r"finest_stride: the backbone has feature maps of the sizes \[\]"):
        Pyramid(Flat(), SHAPE, settings())
    with pytest.raises(ValueError, match="none is at most 1/16 of the image and larger than 1x1"):
        Pyramid(given().network.model, SHAPE, settings(finest_stride=16))


def test_the_backbone_is_a_copy(given: Given, unchanged: Callable[[nn.Module], Callable[[], bool]]) -> None:
    model = given().network.model
    is_unchanged = unchanged(model)
    pyramid = Pyramid(model, SHAPE, settings()).train()
    step(DenseHead(pyramid, 2))
    assert is_unchanged()
    assert not torch.equal(pyramid.backbone.bn1.running_mean, model.bn1.running_mean)  # type: ignore[union-attr, arg-type]


def test_learning_rate_0_freezes_the_backbone_and_its_statistics(
    given: Given, unchanged: Callable[[nn.Module], Callable[[], bool]]
) -> None:
    values = settings(backbone_learning_rate=0)
    head = DenseHead(Pyramid(given().network.model, SHAPE, values), 2).train()
    is_unchanged = unchanged(head.pyramid.backbone)
    groups = head.pyramid.groups(head, values)
    assert [rate for _, rate in groups] == [values.head_learning_rate]
    step(head)
    assert is_unchanged()
    assert all(parameter.grad is None for parameter in head.pyramid.backbone.parameters())
    assert head.answer.weight.grad is not None


def test_every_parameter_has_one_learning_rate(given: Given) -> None:
    head = DenseHead(Pyramid(given().network.model, SHAPE, settings()), 2)
    (own, slow), (rest, fast) = head.pyramid.groups(head, settings())
    assert (slow, fast) == (0.01, 0.1)
    counted = [id(parameter) for parameter in (*own, *rest)]
    assert sorted(counted) == sorted(id(parameter) for parameter in head.parameters())


def step(head: DenseHead) -> None:
    head(torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(0))).square().mean().backward()


def test_the_same_examples_are_mirrored_in_images_and_masks() -> None:
    images = torch.arange(3 * 40).view(40, 1, 1, 3)
    mirrored, masks = mirror((images, images[:, 0]), torch.Generator().manual_seed(0))
    flipped = [bool(found) for found in (mirrored != images).any(dim=(1, 2, 3))]
    assert 8 < sum(flipped) < 32
    assert torch.equal(mirrored[:, 0], masks)
    assert all(
        torch.equal(mirrored[row], images[row].flip(-1) if flip else images[row]) for row, flip in enumerate(flipped)
    )
