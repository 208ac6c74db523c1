from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dfkd.settings.experiment import TeacherSettings
from dfkd.teachers import build_network, try_weights
from dfkd.teachers.early_check import implied_size


def saved(folder: Path, architecture: str, num_classes: int, in_channels: int) -> Path:
    network = build_network(architecture, num_classes=num_classes, in_channels=in_channels)
    file = folder / "teacher.safetensors"
    save_file(network.state_dict(), file, {"architecture": architecture})
    return file


@pytest.mark.parametrize("architecture", ["resnet20", "vgg11", "wrn_16_1", "digits_teacher", "torchvision:resnet18"])
@pytest.mark.parametrize("size", [(7, 1), (2, 3)])
def test_weights_tell_how_many_classes_and_channels_they_are_for(architecture: str, size: tuple[int, int]) -> None:
    network = build_network(architecture, num_classes=size[0], in_channels=size[1])
    assert implied_size(architecture, network.state_dict()) == size


def test_sound_weights_pass_whatever_the_data_will_be(tmp_path: Path) -> None:
    read = try_weights(TeacherSettings(weights=str(saved(tmp_path, "resnet8", 5, 1))))
    assert read is not None and read(torch.zeros(2, 1, 8, 8)).shape == (2, 5)
    network = torch.nn.DataParallel(build_network("resnet8", num_classes=4, in_channels=3))
    torch.save({"state_dict": network.state_dict()}, tmp_path / "parallel.pth")
    try_weights(TeacherSettings(weights=str(tmp_path / "parallel.pth"), architecture="resnet8"))
    assert try_weights(TeacherSettings(weights=str(tmp_path / "parallel.pth"))) is None  # nobody has named its network
    registered = build_network("resnet8", num_classes=6, in_channels=3).state_dict(), {"architecture": "resnet8"}
    try_weights(TeacherSettings(weights="models:/somebody@champion"), registry=lambda uri: registered)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    file = saved(tmp_path, "resnet8", 5, 1)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match="is not a complete safetensors file"):
        try_weights(TeacherSettings(weights=str(file)))


def test_the_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    file = saved(tmp_path, "resnet8", 5, 1)
    with pytest.raises(ValueError, match="teacher.safetensors does not fit 'resnet20': missing"):
        try_weights(TeacherSettings(weights=str(file), architecture="resnet20"))
