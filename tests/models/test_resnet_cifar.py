import math
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dfkd.models import build_model
from dfkd.models.resnet_cifar import PaddedShortcut

DATA = Path(os.environ.get("DFKD_DATA", Path(__file__).parents[2].parent / "shared" / "data"))


# By hand, depth 6n + 2: stem 3*16*9 + 32 = 464; stage 1: n blocks of 2 * (16*16*9 + 32) = 4,672;
# stage 2: first block 16*32*9 + 32*32*9 + 128 = 13,952, others 2 * (32*32*9 + 64) = 18,560;
# stage 3: first 32*64*9 + 64*64*9 + 256 = 55,552, others 2 * (64*64*9 + 128) = 73,984; linear 64*10 + 10 = 650.
# In all 97,216 n - 21,926. The reference code's table gives 0.27, 0.46, 0.66 and 0.85 million.
@pytest.mark.parametrize(
    ("name", "expected"),
    [("resnet8", 75_290), ("resnet20", 269_722), ("resnet32", 464_154), ("resnet44", 658_586), ("resnet56", 853_018)],
)
def test_number_of_parameters_is_the_papers(name, expected):
    model = build_model(name, num_classes=10, in_channels=3)

    assert sum(parameter.numel() for parameter in model.parameters()) == expected


@pytest.mark.parametrize("name", ["resnet20", "resnet32", "resnet44", "resnet56"])
def test_published_weights_load_strictly(name):
    path = DATA / "teachers" / f"cifar10-{name}.safetensors"
    if not path.is_file():
        pytest.skip(f"needs the published weights {path.name} under DFKD_DATA")
    weights = load_file(path)
    model = build_model(name, num_classes=10, in_channels=3)

    model.load_state_dict(weights, strict=True)

    assert torch.equal(model.layer3[0].conv1.weight, weights["layer3.0.conv1.weight"])


def test_shortcut_takes_every_second_pixel_and_pads_channels_on_both_sides():
    maps = torch.arange(2 * 4 * 4.0).view(1, 2, 4, 4)

    shortened = PaddedShortcut(2, 4)(maps)

    assert shortened.shape == (1, 4, 2, 2)
    assert torch.equal(shortened[0, 1], torch.tensor([[0.0, 2.0], [8.0, 10.0]]))
    assert torch.equal(shortened[0, 2], torch.tensor([[16.0, 18.0], [24.0, 26.0]]))
    assert shortened[0, [0, 3]].abs().sum() == 0


def test_convolutions_start_at_the_variance_of_he():
    torch.manual_seed(0)
    weight = build_model("resnet20", num_classes=10, in_channels=3).layer3[1].conv1.weight

    assert weight.std().item() == pytest.approx(math.sqrt(2 / (64 * 9)), rel=0.02)
