import copy

import pytest
import torch

from dfkd.models import build_model


# The figures of the public CIFAR code (kuangliu, DAFL, CMI). By hand for ResNet-18: stem 3*64*9 + 128 = 1,856;
# stage 1: 4 * (64*64*9 + 128) = 147,968; a later stage of width w: half*w*9 + 3*w*w*9 + half*w + 5*2*w, that is
# 525,568 + 2,099,712 + 8,393,728; linear 512*10 + 10 = 5,130.
@pytest.mark.parametrize(("name", "expected"), [("resnet18", 11_173_962), ("resnet34", 21_282_122)])
def test_number_of_parameters_is_that_of_the_reference_code(name, expected):
    model = build_model(name, num_classes=10, in_channels=3)

    assert sum(parameter.numel() for parameter in model.parameters()) == expected


def test_weights_under_the_names_of_the_cmi_line_load_and_mean_the_same():
    torch.manual_seed(0)
    trained = build_model("resnet18", num_classes=4, in_channels=1).eval()
    renamed = {
        name.replace(".downsample.", ".shortcut.").replace("fc.", "linear."): tensor
        for name, tensor in trained.state_dict().items()
    }
    images = torch.randn(2, 1, 8, 8)

    for model in (build_model("resnet18", num_classes=4, in_channels=1), copy.deepcopy(trained)):
        model.load_state_dict(renamed, strict=True)

        with torch.no_grad():
            assert torch.equal(model.eval()(images), trained(images))


def test_names_are_torchvisions():
    names = set(build_model("resnet18", num_classes=10, in_channels=3).state_dict())

    assert {"conv1.weight", "layer2.0.downsample.0.weight", "layer4.1.bn2.running_var", "fc.bias"} <= names
