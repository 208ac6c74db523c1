from collections.abc import Callable

import pytest
import torch
from torch import nn

from dfkd.generators.coupled import CoupledGenerator, find_nodes
from dfkd.models import build_model

#: The table of the public code.
PUBLISHED = {
    "resnet34": ["layer4.2.bn2", "layer3.5.bn2", "layer2.3.bn2", "layer1.2.bn2"],
    "wrn_40_2": ["bn1", "block3.layer.0.bn1", "block2.layer.0.bn1", "block1.layer.0.bn1"],
    "vgg11": ["block4.4", "block2.4", "block1.1", "block0.1"],
}


@pytest.mark.parametrize("architecture", PUBLISHED)
def test_the_nodes_are_those_of_the_published_table(architecture: str) -> None:
    teacher = build_model(architecture, num_classes=10, in_channels=3)
    names = {module: name for name, module in teacher.named_modules()}
    assert [names[node.layer] for node in find_nodes(teacher, (3, 32, 32))] == PUBLISHED[architecture]


def test_shapes_are_of_what_enters_the_nodes_and_the_teacher_stays_as_it_was() -> None:
    teacher = build_model("resnet8", num_classes=10, in_channels=3).train()
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    shapes = [node.shape for node in find_nodes(teacher, (3, 12, 16))]
    assert shapes == [(64, 3, 4), (32, 6, 8), (16, 12, 16), (16, 12, 16)]
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())
    assert all(module.training and not module._forward_pre_hooks for module in teacher.modules())


def test_a_teacher_without_batch_norm_is_refused_with_the_reason(tiny_network: Callable[..., nn.Module]) -> None:
    with pytest.raises(ValueError, match="cpnet builds its generator as the inverse of the teacher.* has none"):
        find_nodes(tiny_network(batch_norm=False), (1, 8, 8))


def test_images_and_maps_have_the_shapes_asked_for() -> None:
    shapes = [(6, 2, 3), (5, 5, 7), (4, 5, 7)]  # sizes that are no multiples of each other, and one that stays
    generator = CoupledGenerator(shapes, latent_width=9, image_shape=(3, 11, 14))
    images, maps = generator(torch.randn(4, 9, generator=torch.Generator().manual_seed(0)))
    assert images.shape == (4, 3, 11, 14) and 0 <= images.min() < images.max() <= 1
    assert [tuple(one.shape[1:]) for one in maps] == shapes
    assert all(one.requires_grad for one in maps)
