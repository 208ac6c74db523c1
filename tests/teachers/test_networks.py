import pytest
import torch

from dfkd.models import Backbone
from dfkd.teachers import build_network

try:
    import timm
except ImportError:
    timm = None

NETWORKS = [
    "digits_student",
    "torchvision:resnet18",
    "torchvision:mobilenet_v3_small",
    "timm:resnet10t",
    "timm:test_vit?img_size=32&patch_size=4",
    "timm:convnext_atto?depths=[1,1,1,1]&dims=[8,8,8,8]",
]
needs_timm = pytest.mark.skipif(timm is None, reason="needs the extra [timm]")


@pytest.mark.parametrize("architecture", NETWORKS)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_kind_of_network_is_a_backbone(architecture, channels):
    if architecture.startswith("timm:") and timm is None:
        pytest.skip("needs the extra [timm]")
    torch.manual_seed(0)
    model = build_network(architecture, num_classes=5, in_channels=channels).eval()
    images = torch.randn(2, channels, 32, 32)

    with torch.no_grad():
        logits, features = model(images), model.forward_features(images)

        assert isinstance(model, Backbone)
        assert logits.shape == (2, 5)
        assert features.shape == (2, model.feature_width)
        assert torch.equal(model.classify(features), logits)


def test_asking_torchvision_for_features_leaves_no_hook():
    model = build_network("torchvision:resnet18", num_classes=5, in_channels=3).eval()

    with pytest.raises(RuntimeError):
        model.forward_features(torch.zeros(1, 4, 32, 32))  # four channels

    assert not any(module._forward_pre_hooks for module in model.modules())


def test_features_of_torchvision_carry_gradients():
    model = build_network("torchvision:resnet18", num_classes=5, in_channels=3)

    model.forward_features(torch.randn(2, 3, 32, 32)).sum().backward()

    assert model.network.conv1.weight.grad.abs().sum() > 0


def test_an_unknown_torchvision_name_is_answered_with_the_one_that_was_meant():
    with pytest.raises(ValueError, match=r"torchvision has no classifier 'resnet-18'. Did you mean 'resnet18'\?"):
        build_network("torchvision:resnet-18", num_classes=5, in_channels=3)


def test_torchvisions_detectors_are_no_classifiers():
    with pytest.raises(ValueError, match="torchvision has no classifier 'fasterrcnn_resnet50_fpn'"):
        build_network("torchvision:fasterrcnn_resnet50_fpn", num_classes=5, in_channels=3)


def test_a_network_that_does_not_end_in_a_linear_layer_is_refused():
    with pytest.raises(ValueError, match="'torchvision:squeezenet1_0' does not end in a Linear layer"):
        build_network("torchvision:squeezenet1_0", num_classes=5, in_channels=3)


@pytest.mark.skipif(timm is not None, reason="timm is installed")
def test_timm_networks_without_timm_name_the_extra():
    with pytest.raises(ValueError, match=r"needs the package timm: pip install -e '\.\[timm\]'"):
        build_network("timm:resnet18", num_classes=5, in_channels=3)


@needs_timm
def test_an_unknown_timm_name_is_answered_with_the_one_that_was_meant():
    with pytest.raises(ValueError, match=r"has no 'resnet-18'. Did you mean 'resnet18'\?"):
        build_network("timm:resnet-18", num_classes=5, in_channels=3)


@needs_timm
def test_arguments_of_timms_builder_are_understood():
    model = build_network("timm:test_vit?img_size=8&patch_size=2&depth=1", num_classes=5, in_channels=1)

    assert model.network.patch_embed.num_patches == 16
    assert len(model.network.blocks) == 1


@needs_timm
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("img_size", "expected arguments such as img_size=32&patch_size=4 after the question mark"),
        ("img_size=small", "each a number, true, false or a list"),
        ("imgsize=32", "timm cannot build 'test_vit' with {'imgsize': 32}: .*imgsize"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_network(f"timm:test_vit?{arguments}", num_classes=5, in_channels=3)
