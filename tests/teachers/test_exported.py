import copy
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from dfkd.teachers import require_batch_norm, save_teacher

KNOWN = {"class_names": ("cat", "dog", "eel"), "mean": (0.3,), "std": (0.4,)}


class Payload:
    """A pickle that makes a file when it is read."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    from dfkd.models import build_model

    torch.manual_seed(0)
    model = build_model("digits_student", num_classes=3, in_channels=1).eval()
    exported = torch.export.export(model, (torch.zeros(2, 1, 8, 8),), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    path = tmp_path_factory.mktemp("export") / "teacher.pt2"
    torch.export.save(exported, path)
    return path, model


def test_an_export_is_a_teacher_without_batch_norm(archive, load):
    path, model = archive
    images = torch.randn(5, 1, 8, 8)

    teacher = load(path, **KNOWN)

    with torch.no_grad():
        assert torch.allclose(teacher.model(images), model(images), atol=1e-5)
    assert teacher.architecture == "pt2"
    with pytest.raises(ValueError, match="has no BatchNorm layer"):
        require_batch_norm(teacher, 10.0)


def test_an_export_is_frozen_copied_and_sent_like_any_teacher(archive, load, tmp_path):
    teacher = load(archive[0], **KNOWN)
    images = torch.randn(2, 1, 8, 8, requires_grad=True)
    expected = teacher.model(images)

    for network in (copy.deepcopy(teacher.model), pickle.loads(pickle.dumps(teacher.model))):
        assert not network.train().eval().requires_grad_(False).training
        assert torch.equal(network(images), expected)
    teacher.model(images).sum().backward()
    assert images.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="is an exported graph"):
        save_teacher(tmp_path / "teacher.safetensors", teacher)


def test_an_architecture_beside_an_export_warns(archive, load):
    with pytest.warns(UserWarning, match="teacher.architecture: 'resnet20' is not used"):
        load(archive[0], architecture="resnet20", **KNOWN)


def test_images_that_do_not_fit_an_export_are_refused(archive, load):
    with pytest.raises(ValueError, match=r"teacher.pt2 cannot take images \[1, 16, 16\]"):
        load(archive[0], image_shape=(1, 16, 16), **KNOWN)


@pytest.mark.filterwarnings("ignore")
def test_an_archive_with_a_pickle_of_more_than_tensors_is_refused_and_not_run(archive, load, tmp_path):
    marker, path, payload = tmp_path / "it ran", tmp_path / "teacher.pt2", tmp_path / "payload"
    torch.save((((Payload(marker),), {})), payload)
    with zipfile.ZipFile(archive[0]) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            is_sample = "sample_inputs" in name
            new.writestr(name, payload.read_bytes() if is_sample else old.read(name))

    with pytest.raises(ValueError, match=r"the record '.*sample_inputs.*' is a pickle of more than tensors"):
        load(path, **KNOWN)
    assert not marker.exists()

    try:
        torch.export.load(path)  # the payload is alive: without the refusal it would have run
    except Exception as error:
        print(error)
    assert marker.exists()
