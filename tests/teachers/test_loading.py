import dataclasses
import os
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from dfkd.settings.experiment import TeacherSettings
from dfkd.teachers import ForeignModelError, load_teacher, save_teacher

DATA = Path(os.environ.get("DFKD_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
METADATA = {
    "architecture": "digits_student",
    "class_names": '["Cat", "Dog", "Eel"]',
    "input_mean": "[0.3]",
    "input_std": "[0.4]",
    "input_size": "8",
    "channels": "1",
}


@pytest.fixture
def path(teacher, tmp_path):
    save_teacher(tmp_path / "teacher.safetensors", teacher)
    return tmp_path / "teacher.safetensors"


def test_a_published_teacher_brings_its_own_description():
    path = DATA / "teachers" / "cifar10-resnet20.safetensors"
    if not path.is_file():
        pytest.skip("needs the published weights under DFKD_DATA")
    classes = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    settings = TeacherSettings(weights=str(path), shifted=True)

    teacher = load_teacher(settings, image_shape=(3, 32, 32), class_names=classes)

    assert (teacher.architecture, teacher.class_names) == ("resnet20", classes)
    assert (teacher.mean, teacher.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert teacher.shifted
    assert "akamaster" in teacher.provenance


def test_settings_win_over_metadata(load, path):
    loaded = load(path, mean=(0.1,), std=(0.2,), class_names=("CAT", "DOG", "EEL"))

    assert (loaded.mean, loaded.std, loaded.class_names) == ((0.1,), (0.2,), ("CAT", "DOG", "EEL"))


def test_a_teacher_that_fits_loads_without_a_warning(load, path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(path)


def test_a_missing_file_and_a_folder_are_named(load, tmp_path):
    with pytest.raises(ValueError, match=r"teacher.weights: .*none.pt does not exist"):
        load(tmp_path / "none.pt")
    with pytest.raises(ValueError, match="is a folder, not a file"):
        load(tmp_path)


def test_an_unknown_kind_of_file_is_refused(load, tmp_path):
    (tmp_path / "teacher.onnx").write_bytes(b"")

    with pytest.raises(ValueError, match="expected a file ending in .safetensors, .pt2, .pt, .pth"):
        load(tmp_path / "teacher.onnx")


def test_classes_of_other_data_are_refused(load, path):
    with pytest.raises(ValueError, match=r"knows 3 classes .* but the data have 2 \(cat, dog\)"):
        load(path, data_classes=("cat", "dog"))
    with pytest.raises(ValueError, match="class 2 is 'eel' to the teacher and 'fox' in the data"):
        load(path, data_classes=("cat", "dog", "fox"))


def test_channels_of_other_data_are_refused(load, path):
    with pytest.raises(ValueError, match=r"takes images of 1 channels, the data have 3. Set dataset.channels to 1"):
        load(path, image_shape=(3, 8, 8))


def test_another_image_size_warns(load, path):
    with pytest.warns(UserWarning, match=r"trained on images of size 8, the data are 16x16"):
        loaded = load(path, image_shape=(1, 16, 16))

    assert loaded.image_shape == (1, 16, 16)


def test_weights_that_name_no_classes_warn_and_take_the_datas(teacher, load, tmp_path):
    torch.save(teacher.model.state_dict(), tmp_path / "teacher.pt")

    with pytest.warns(UserWarning, match="does not name its classes"):
        loaded = load(tmp_path / "teacher.pt", architecture="digits_student", mean=(0.3,), std=(0.4,))

    assert loaded.class_names == ("cat", "dog", "eel")


def test_what_a_state_dict_does_not_say_must_be_said(teacher, load, tmp_path):
    torch.save(teacher.model.state_dict(), tmp_path / "teacher.pt")
    known = {"class_names": ("cat", "dog", "eel")}

    with pytest.raises(ValueError, match=r"teacher.mean: teacher.pt does not say how its images were normalised"):
        load(tmp_path / "teacher.pt", architecture="digits_student", **known)
    with pytest.raises(ValueError, match=r"teacher.architecture: teacher.pt does not say whose weights it holds"):
        load(tmp_path / "teacher.pt", mean=(0.3,), std=(0.4,), **known)


def test_weights_that_are_not_finite_are_refused(teacher, load, tmp_path):
    teacher.model.linear.weight.data[0, 0] = torch.nan
    save_teacher(tmp_path / "teacher.safetensors", dataclasses.replace(teacher, hash=""))

    with pytest.raises(ValueError, match="logits that are not finite"):
        load(tmp_path / "teacher.safetensors")


def test_images_that_the_network_cannot_take_are_refused(load, tmp_path, teacher):
    from dfkd.models import build_model

    lenet = build_model("lenet5", num_classes=3, in_channels=1)
    save_teacher(tmp_path / "t.safetensors", dataclasses.replace(teacher, model=lenet, architecture="lenet5", hash=""))

    with pytest.raises(
        ValueError, match=r"t.safetensors cannot take images \[1, 8, 8\].*lenet5: expected images of 32x32"
    ):
        load(tmp_path / "t.safetensors")


def test_a_registered_version_is_read_by_the_registry(teacher, load):
    asked = []

    def registry(uri):
        asked.append(uri)
        return teacher.model.state_dict(), METADATA

    loaded = load("models:/digits-teacher@champion", registry=registry)

    assert asked == ["models:/digits-teacher@champion"]
    assert (loaded.hash, loaded.provenance) == (teacher.hash, "models:/digits-teacher@champion")


def test_a_registered_version_without_a_registry_is_refused(load):
    with pytest.raises(ValueError, match="models:/digits-teacher@champion: no model registry is connected"):
        load("models:/digits-teacher@champion")


KNOWN = {"class_names": ("cat", "dog", "eel"), "mean": (0.3,), "std": (0.4,)}


def test_what_the_registry_does_not_know_is_read_as_somebody_elses(teacher, load):
    asked = []

    def registry(uri):
        raise ForeignModelError(uri)

    def foreign(source):
        asked.append(source)
        return teacher.model

    loaded = load("models:/theirs/1", registry=registry, foreign=foreign, **KNOWN)
    assert asked == ["models:/theirs/1"]
    assert (loaded.architecture, loaded.hash) == ("mlflow", teacher.hash)


def test_a_folder_of_somebody_elses_mlflow_model_is_read_as_such(teacher, load, tmp_path):
    (tmp_path / "MLmodel").write_text("flavors: {pytorch: {}}")
    asked = []

    def foreign(source):
        asked.append(source)
        return teacher.model

    loaded = load(tmp_path, foreign=foreign, **KNOWN)
    assert asked == [str(tmp_path)]
    assert (loaded.architecture, loaded.provenance) == ("mlflow", tmp_path.name)
    with pytest.raises(ValueError, match="an MLflow model, and nothing here can read one"):
        load(tmp_path, **KNOWN)


@pytest.mark.parametrize("trust_pickle", [False, True])
def test_a_folder_of_our_own_mlflow_model_is_read_from_its_safetensors(teacher, load, tmp_path, trust_pickle):
    (tmp_path / "MLmodel").write_text("")
    save_teacher(tmp_path / "model.safetensors", teacher)

    loaded = load(tmp_path, trust_pickle=trust_pickle)
    assert (loaded.architecture, loaded.hash) == ("digits_student", teacher.hash)


def test_a_foreign_module_must_give_one_logit_a_class(load, tmp_path):
    (tmp_path / "MLmodel").write_text("")

    with pytest.raises(ValueError, match=r"expected logits \[2, 3\], one a class, got \[2, 64\]"):
        load(tmp_path, foreign=lambda _: nn.Flatten(), **KNOWN)
