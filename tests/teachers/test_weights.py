from pathlib import Path

import pytest
import torch

from dfkd.teachers import build_network, save_teacher

MADE = {"architecture": "digits_student", "class_names": ("cat", "dog", "eel"), "mean": (0.3,), "std": (0.4,)}


class Payload:
    """A pickle that makes a file when it is read."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("nest", [None, "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_state_dict_loads_from_where_training_scripts_keep_it(teacher, load, tmp_path, nest, prefix):
    weights = {prefix + name: tensor for name, tensor in teacher.model.state_dict().items()}
    torch.save({nest: weights, "epoch": 3} if nest else weights, tmp_path / "teacher.pth")

    assert load(tmp_path / "teacher.pth", **MADE).hash == teacher.hash


def test_weights_without_the_batch_counters_of_batch_norm_load(teacher, load, tmp_path):
    weights = {name: tensor for name, tensor in teacher.model.state_dict().items() if "num_batches" not in name}
    torch.save(weights, tmp_path / "teacher.pt")

    loaded = load(tmp_path / "teacher.pt", **MADE)

    assert torch.equal(loaded.model.linear.weight, teacher.model.linear.weight)


def test_torchvisions_own_file_loads_under_its_name(load, tmp_path):
    trained = build_network("torchvision:resnet18", num_classes=3, in_channels=1)
    torch.save(trained.network.state_dict(), tmp_path / "teacher.pt")

    loaded = load(tmp_path / "teacher.pt", **MADE | {"architecture": "torchvision:resnet18"})

    assert torch.equal(loaded.model.network.fc.weight, trained.network.fc.weight)


def test_timms_own_file_loads_under_its_name(load, tmp_path):
    pytest.importorskip("timm", reason="needs the extra [timm]")
    trained = build_network("timm:resnet10t", num_classes=3, in_channels=1)
    torch.save(trained.network.state_dict(), tmp_path / "teacher.pt")

    loaded = load(tmp_path / "teacher.pt", **MADE | {"architecture": "timm:resnet10t"})

    assert torch.equal(loaded.model.network.fc.weight, trained.network.fc.weight)


def test_a_pickle_of_more_than_tensors_is_refused_and_not_run(load, tmp_path):
    marker, path = tmp_path / "it ran", tmp_path / "teacher.pt"
    torch.save({"state_dict": Payload(marker)}, path)

    with pytest.raises(ValueError, match=r"teacher.pt is damaged, or holds more than tensors"):
        load(path, **MADE)
    assert not marker.exists()

    torch.load(path, weights_only=False)  # the payload is alive: without the refusal it would have run
    assert marker.exists()


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".pt2"])
def test_a_truncated_file_is_refused(teacher, load, tmp_path, suffix):
    whole = tmp_path / "whole.safetensors"
    save_teacher(whole, teacher)
    if suffix != ".safetensors":
        torch.save(teacher.model.state_dict(), whole)
    path = tmp_path / f"teacher{suffix}"
    path.write_bytes(whole.read_bytes()[:5000])

    with pytest.raises(ValueError, match=rf"teacher{suffix} is (damaged|not a complete)"):
        load(path, **MADE)


def test_other_contents_than_a_state_dict_are_named(load, tmp_path):
    torch.save([torch.zeros(3)], tmp_path / "list.pt")
    torch.save({"weights": {"linear.bias": torch.zeros(3)}}, tmp_path / "nested.pt")

    with pytest.raises(ValueError, match="expected a state dict, got list"):
        load(tmp_path / "list.pt", **MADE)
    with pytest.raises(ValueError, match="got dict at 'weights'. A dict around a state dict is understood if"):
        load(tmp_path / "nested.pt", **MADE)


def test_weights_of_another_network_are_refused_with_the_first_names(teacher, load, tmp_path):
    path = tmp_path / "teacher.safetensors"
    save_teacher(path, teacher)

    with pytest.raises(
        ValueError,
        match=r"teacher.safetensors does not fit 'resnet8': missing conv1.weight, bn1.weight, bn1.bias and \d+ more; "
        r"unexpected convolutions.0.weight, .* and \d+ more; size mismatch for linear.weight: .*",
    ):
        load(path, architecture="resnet8")


def test_weights_of_another_width_are_refused_with_both_shapes(teacher, load, tmp_path):
    torch.save(teacher.model.state_dict(), tmp_path / "teacher.pt")

    with pytest.raises(ValueError, match=r"size mismatch for linear.weight: .*\[3, 32\].*\[2, 32\]"):
        load(tmp_path / "teacher.pt", data_classes=("cat", "dog"), **MADE | {"class_names": ("cat", "dog")})
