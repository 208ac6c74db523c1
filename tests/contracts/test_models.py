"""What every network of ``MODELS`` promises."""

import pytest
import torch
from torch.nn import functional

from dfkd.models import MODELS, Backbone, build_model
from dfkd.settings.experiment import ARCHITECTURES

NUM_CLASSES = 7
ONE_OF_EACH_FAMILY = ("resnet20", "resnet18", "wrn_16_2", "vgg11", "digits_teacher")


def smallest_side(name):
    return {"lenet5": 32}.get(name, 8)


def random_images(name, channels, batch_size=3):
    generator = torch.Generator().manual_seed(0)
    side = smallest_side(name)
    return torch.randn(batch_size, channels, side, side, generator=generator)


def test_the_settings_name_exactly_the_models():
    assert set(MODELS) == set(ARCHITECTURES)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", MODELS)
def test_logits_are_the_classified_features(name, channels):
    model = build_model(name, num_classes=NUM_CLASSES, in_channels=channels).eval()
    images = random_images(name, channels)

    with torch.no_grad():
        logits, features = model(images), model.forward_features(images)
        classified = model.classify(features)

    assert isinstance(model, Backbone)
    assert logits.shape == (3, NUM_CLASSES)
    assert features.shape == (3, model.feature_width)
    assert torch.equal(classified, logits)
    assert logits.std(dim=0).max() > 0  # the images make a difference


@pytest.mark.parametrize("name", MODELS)
def test_gradients_reach_every_parameter_and_the_images(name):
    torch.manual_seed(0)
    model = build_model(name, num_classes=NUM_CLASSES, in_channels=3).train()
    images = random_images(name, 3, batch_size=4).requires_grad_()

    functional.cross_entropy(model(images), torch.tensor([0, 1, 2, 3])).backward()

    assert images.grad.abs().sum() > 0
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert without == []
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("side", [8, 28, 64])
@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_any_image_size_is_taken(name, side):
    model = build_model(name, num_classes=NUM_CLASSES, in_channels=1).eval()

    with torch.no_grad():
        assert model(torch.zeros(1, 1, side, side)).shape == (1, NUM_CLASSES)


def test_a_misspelt_name_is_answered_with_the_one_that_was_meant():
    with pytest.raises(
        ValueError, match=r"architecture: 'resnet-20' is unknown. Did you mean 'resnet20'\? Valid: lenet5"
    ):
        build_model("resnet-20", num_classes=2, in_channels=3)


@pytest.mark.parametrize("name", ["resnet14_w6", "wrn_10_3"])
def test_a_member_of_a_family_is_a_backbone_of_that_width(name):
    model = build_model(name, num_classes=NUM_CLASSES, in_channels=1).eval()
    images = torch.randn(2, 1, 8, 8)
    with torch.no_grad():
        features = model.forward_features(images)
        assert torch.equal(model.classify(features), model(images))
    assert isinstance(model, Backbone)
    assert features.shape == (2, model.feature_width) == (2, {"resnet14_w6": 24, "wrn_10_3": 192}[name])


def test_a_family_holds_the_networks_that_have_names():
    def shapes(name):
        return [parameter.shape for parameter in build_model(name, num_classes=2, in_channels=3).parameters()]

    assert shapes("resnet20_w16") == shapes("resnet20")
    assert build_model("wrn_22_1", num_classes=2, in_channels=3).feature_width == 64
