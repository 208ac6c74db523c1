import dataclasses
import json

import pytest
import torch
from safetensors import safe_open

from dfkd.teachers import build_network, save_teacher


def test_a_saved_teacher_comes_back_the_same(teacher, load, tmp_path):
    teacher.model.to(memory_format=torch.channels_last)  # as a training on a CPU leaves it
    path = tmp_path / "new" / "teacher.safetensors"

    save_teacher(path, teacher)
    loaded = load(path)

    images = torch.randn(4, 1, 8, 8)
    with torch.no_grad():
        assert torch.allclose(loaded.model(images), teacher.model(images), atol=1e-6)
    assert loaded.hash == teacher.hash
    assert (loaded.architecture, loaded.class_names) == (teacher.architecture, teacher.class_names)
    assert (loaded.mean, loaded.std, loaded.image_shape) == (teacher.mean, teacher.std, teacher.image_shape)
    assert loaded.provenance == "teacher.safetensors (made in a test)"
    assert not loaded.model.training


def test_metadata_has_the_keys_of_published_teachers(teacher, tmp_path):
    path = tmp_path / "teacher.safetensors"
    save_teacher(path, dataclasses.replace(teacher, image_shape=(1, 8, 12)))

    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()

    assert {key: metadata[key] for key in ("architecture", "channels", "num_classes")} == {
        "architecture": "digits_student",
        "channels": "1",
        "num_classes": "3",
    }
    assert json.loads(metadata["class_names"]) == ["cat", "dog", "eel"]
    assert json.loads(metadata["input_mean"]) == [0.3]
    assert json.loads(metadata["input_size"]) == [8, 12]


def test_a_torchvision_teacher_comes_back_the_same(teacher, load, tmp_path):
    model = build_network("torchvision:mobilenet_v3_small", num_classes=3, in_channels=1)
    kept = dataclasses.replace(teacher, model=model, architecture="torchvision:mobilenet_v3_small", hash="")

    save_teacher(tmp_path / "teacher.safetensors", kept)

    assert load(tmp_path / "teacher.safetensors").hash == kept.hash


def test_a_failed_write_leaves_the_old_file(teacher, tmp_path):
    path = tmp_path / "teacher.safetensors"
    path.write_bytes(b"old")
    broken = dataclasses.replace(teacher, provenance=7)  # metadata must be text

    with pytest.raises(Exception, match="str"):
        save_teacher(path, broken)

    assert path.read_bytes() == b"old"


def test_another_suffix_is_refused(teacher, tmp_path):
    with pytest.raises(ValueError, match=r"expected a file ending in .safetensors, got .*teacher.pt"):
        save_teacher(tmp_path / "teacher.pt", teacher)
