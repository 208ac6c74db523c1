import pytest

from dfkd.settings.experiment import StudentSettings
from dfkd.settings.families import parse_family


def test_a_family_and_its_numbers_name_a_network() -> None:
    assert StudentSettings(architecture="resnet", blocks=3, width=8).network == "resnet20_w8"
    assert StudentSettings(architecture="wrn", blocks=2, width=2).network == "wrn_16_2"
    assert StudentSettings(architecture="resnet8").network == "resnet8"
    assert StudentSettings(architecture="resnet14_w6").network == "resnet14_w6"


def test_only_members_have_a_depth_of_their_family() -> None:
    assert parse_family("resnet20_w8") == ("resnet", 20, 8)
    assert parse_family("wrn_10_1") == ("wrn", 10, 1)
    others = ("resnet50", "resnet18_w8", "resnet2_w8", "resnet20_w0", "resnet20_w7", "wrn_16", "wrn_17_1", "wrn_4_1")
    assert [parse_family(name) for name in others] == [None] * len(others)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"architecture": "resnet", "width": 8}, "blocks: the family 'resnet' needs it"),
        ({"architecture": "wrn", "blocks": 0, "width": 1}, "blocks: expected a number of at least 1"),
        ({"architecture": "resnet", "blocks": 1, "width": 5}, "width: expected an even number of channels, got 5"),
        ({"architecture": "resnet8", "width": 8}, "width: 'resnet8' has its own; only resnet, wrn take one"),
        ({"architecture": "resnet9"}, "Did you mean 'resnet8'"),
    ],
)
def test_what_names_no_network_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StudentSettings(**values)  # type: ignore[arg-type]
