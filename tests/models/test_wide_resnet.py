import math

import pytest
import torch

from dfkd.models import build_model


# By hand for WRN-16-1 and K = 10 (n = 2, widths 16, 32, 64): stem 432; stage 1: 2 * (2 * (32 + 2,304)) = 9,344;
# stage 2: first 32 + 4,608 + 64 + 9,216 + 512 (1x1) = 14,432, second 2 * (64 + 9,216) = 18,560;
# stage 3: first 64 + 18,432 + 128 + 36,864 + 2,048 = 57,536, second 2 * (128 + 36,864) = 73,984;
# last norm 128; linear 650; in all 175,066. Papers round to 0.18, 0.69, 0.56 and 2.24 million; at K = 100 the
# benchmark tables of knowledge distillation print 0.70 (WRN-16-2), 0.57 (WRN-40-1) and 2.26 million (WRN-40-2).
@pytest.mark.parametrize(
    ("name", "num_classes", "expected"),
    [
        ("wrn_16_1", 10, 175_066),
        ("wrn_16_2", 10, 691_674),
        ("wrn_40_1", 10, 563_930),
        ("wrn_40_2", 10, 2_243_546),
        ("wrn_16_2", 100, 703_284),
        ("wrn_40_1", 100, 569_780),
        ("wrn_40_2", 100, 2_255_156),
    ],
)
def test_number_of_parameters_is_the_papers(name, num_classes, expected):
    model = build_model(name, num_classes=num_classes, in_channels=3)

    assert sum(parameter.numel() for parameter in model.parameters()) == expected


def test_names_are_those_of_the_public_line():
    names = set(build_model("wrn_16_2", num_classes=10, in_channels=3).state_dict())

    assert {"block1.layer.0.convShortcut.weight", "block3.layer.1.bn2.bias", "bn1.running_mean", "fc.weight"} <= names


def test_a_block_without_convolutions_passes_its_input_on_unchanged():
    block = build_model("wrn_16_1", num_classes=10, in_channels=3).block1.layer[1].eval()
    torch.nn.init.zeros_(block.conv2.weight)
    maps = torch.randn(2, 16, 4, 4)

    assert torch.equal(block(maps), maps)  # nothing is applied to the shortcut, not even a ReLU


def test_convolutions_start_at_the_variance_of_he_over_the_outputs():
    torch.manual_seed(0)
    weight = build_model("wrn_16_2", num_classes=10, in_channels=3).block3.layer[0].conv1.weight  # 64 -> 128

    assert weight.std().item() == pytest.approx(math.sqrt(2 / (128 * 9)), rel=0.02)
