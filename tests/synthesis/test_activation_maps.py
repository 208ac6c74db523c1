import pytest
import torch
from torch import nn

from dfkd.models import build_model
from dfkd.synthesis.activation_maps import ActivationMaps

IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def network(architecture: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = build_model(architecture, num_classes=5, in_channels=3)
        with torch.no_grad():
            made.train()(torch.randn(32, 3, 16, 16))  # BatchNorm statistics of its own
    return made


@pytest.mark.parametrize("architecture", ["resnet8", "wrn_16_1", "vgg11", "resnet18", "digits_teacher"])
def test_class_maps_average_to_the_logits_of_every_family(architecture: str) -> None:
    made = network(architecture).eval()
    with ActivationMaps(made, (3, 16, 16), role="teacher") as maps:
        logits = made(IMAGES)
        class_maps = maps.class_maps()
    last = [module for module in made.modules() if isinstance(module, nn.Linear)][-1]
    assert tuple(class_maps.shape[2:]) == maps.last != (1, 1)
    torch.testing.assert_close(class_maps.mean(dim=(2, 3)) + last.bias, logits)


def test_grad_cams_of_a_frozen_network_are_those_of_a_trained_one() -> None:
    made = network("resnet8").eval()
    classes = torch.tensor([3, 0])
    sizes = ((16, 16), (8, 8), (4, 4))
    with ActivationMaps(made, (3, 16, 16), role="student") as maps:
        assert maps.sizes == sizes
        trained = maps.grad_cams(made(IMAGES), classes, sizes)
        assert all(cam.requires_grad for cam in trained)
    made.requires_grad_(False)
    with ActivationMaps(made, (3, 16, 16), role="teacher", starts_graph=True) as maps:
        frozen = maps.grad_cams(made(IMAGES), classes, sizes)
    for one, other in zip(frozen, trained, strict=True):
        torch.testing.assert_close(one, other.detach())


def test_the_last_grad_cam_is_the_class_map_over_the_number_of_places() -> None:
    made = network("resnet8").eval()  # after a global average, the gradient is the classifier's weight everywhere
    classes = torch.tensor([3, 0])
    with ActivationMaps(made, (3, 16, 16), role="student") as maps:
        (cam,) = maps.grad_cams(made(IMAGES), classes, (maps.last,))
        expected = maps.class_maps()[torch.arange(2), classes] / 16
    torch.testing.assert_close(cam, expected)


def test_class_maps_and_grad_cams_teach_the_layers_below_but_not_the_classifier() -> None:
    made = network("resnet8")
    for kind in ("class_maps", "grad_cams"):
        made.zero_grad()
        with ActivationMaps(made, (3, 16, 16), role="student") as maps:
            logits = made.train()(IMAGES)
            found = (
                [maps.class_maps()]
                if kind == "class_maps"
                else maps.grad_cams(logits, torch.zeros(2).long(), maps.sizes)
            )
            torch.stack([one.square().mean() for one in found]).sum().backward()
        assert made.linear.weight.grad is None
        assert made.conv1.weight.grad.abs().max() > 0


def test_it_differs_from_a_grad_cam_of_another_class() -> None:
    made = network("wrn_16_1").eval()
    with ActivationMaps(made, (3, 16, 16), role="student") as maps:
        logits = made(IMAGES)
        one, other = (maps.grad_cams(logits, torch.full((2,), label), maps.sizes)[0] for label in (0, 1))
    assert not torch.allclose(one, other)


def test_networks_without_class_maps_are_refused() -> None:
    lenet = build_model("lenet5", num_classes=5, in_channels=1)
    with pytest.raises(
        ValueError, match="the student LeNet5 does not average a feature map .* or set synthesis.weights"
    ):
        ActivationMaps(lenet, (1, 32, 32), role="student")
    flat = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 5))
    with pytest.raises(ValueError, match="the teacher Sequential does not average"):
        ActivationMaps(flat, (1, 8, 8), role="teacher")
    maximum = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    with pytest.raises(ValueError, match="does not average"):
        ActivationMaps(maximum, (1, 8, 8), role="teacher")
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in maximum.modules())
