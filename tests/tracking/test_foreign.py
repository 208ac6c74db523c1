"""Teachers that somebody else registered, the whole way: from a real SQLite store to a network that is used."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dfkd.data.image_set import ImageSet
from dfkd.data.real_data import RealData
from dfkd.jobs.teacher import description_of, read_teacher
from dfkd.settings.experiment import TeacherSettings
from dfkd.teachers import Teacher
from dfkd.tracking.registry import register_teacher
from dfkd.tracking.registry_reading import ForeignModelError, load_registered

IMAGES = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
DATA = RealData(
    "x", ("cat", "dog", "eel"), None, None, ImageSet(torch.zeros(3, 1, 8, 8, dtype=torch.uint8), torch.arange(3))
)
KNOWN = {"class_names": ("cat", "dog", "eel"), "mean": (0.3,), "std": (0.4,)}
Register = Callable[..., str]


@pytest.fixture
def run_id(client: Any, uri: str, home: Path) -> str:
    found = client(uri).get_experiment_by_name("foreign")
    experiment_id = found.experiment_id if found else client(uri).create_experiment("foreign", str(home / "a"))
    return str(client(uri).create_run(experiment_id).info.run_id)


@pytest.fixture
def register(uri: str, client: Any, tmp_path: Path, run_id: str) -> Register:
    """Save a network as other people do, register it, and give its address."""

    def register(name: str, network: nn.Module, serialization_format: str) -> str:
        import mlflow.pytorch
        from mlflow.models import infer_signature

        example = torch.zeros(2, 1, 8, 8).numpy()
        options = {"input_example": example} if serialization_format == "pt2" else {}
        if serialization_format == "pt2":
            options["signature"] = infer_signature(example, network(torch.from_numpy(example)).detach().numpy())
        mlflow.pytorch.save_model(
            network, str(tmp_path / name), serialization_format=serialization_format, pip_requirements=["torch"],
            **options,
        )  # fmt: skip
        client(uri).create_registered_model(name)
        client(uri).create_model_version(name, str(tmp_path / name), run_id)
        return f"models:/{name}/1"

    return register


def read(weights: str | Path, uri: str, **settings: Any) -> Teacher:
    return read_teacher(TeacherSettings(weights=str(weights), **settings), DATA, uri)


def test_a_pickle_is_refused_and_its_refusal_says_what_to_set(
    register: Register, uri: str, tmp_path: Path, tiny_teacher: Teacher
) -> None:
    address = register("theirs-pickled", tiny_teacher.model, "pickle")
    with pytest.raises(ForeignModelError, match=r"no model\.safetensors"):
        load_registered(address, tracking_uri=uri)
    for weights in (address, tmp_path / "theirs-pickled"):
        with pytest.raises(ValueError, match="can run any code.*set teacher.trust_pickle: true"):
            read(weights, uri, **KNOWN)
        trusted = read(weights, uri, trust_pickle=True, **KNOWN)
        assert torch.equal(trusted.model(IMAGES), tiny_teacher.model(IMAGES))
        assert (trusted.architecture, trusted.hash) == ("mlflow", tiny_teacher.hash)


def test_nothing_of_an_untrusted_model_is_imported(
    register: Register, uri: str, tmp_path: Path, tiny_teacher: Teacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow itself imports the module that a model names for unpickling before it looks whether it may unpickle."""
    register("theirs-evil", tiny_teacher.model, "pickle")
    (tmp_path / "evil_module.py").write_text("raise SystemExit('executed')")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "theirs-evil" / "data" / "pickle_module_info.txt").write_text("evil_module")
    with pytest.raises(ValueError, match="trust_pickle"):
        read("models:/theirs-evil/1", uri, **KNOWN)
    assert "evil_module" not in sys.modules


@pytest.mark.parametrize("trust_pickle", [False, True])
def test_an_export_needs_no_trust_and_can_be_copied_to_workers(
    register: Register, uri: str, tmp_path: Path, tiny_teacher: Teacher, trust_pickle: bool
) -> None:
    name = f"theirs-exported-{trust_pickle}".lower()
    address = register(name, tiny_teacher.model, "pt2")
    for weights in (address, tmp_path / name):
        teacher = read(weights, uri, trust_pickle=trust_pickle, **KNOWN)
        assert teacher.architecture == "pt2"
        for network in (teacher.model, copy.deepcopy(teacher.model), pickle.loads(pickle.dumps(teacher.model))):
            torch.testing.assert_close(network(IMAGES[:2]), tiny_teacher.model(IMAGES[:2]))


@pytest.mark.parametrize("trust_pickle", [False, True])
def test_our_own_version_comes_with_its_batch_norm_whatever_is_trusted(
    uri: str, run_id: str, client: Any, tiny_teacher: Teacher, trust_pickle: bool
) -> None:
    registered = register_teacher(
        uri, f"ours-{trust_pickle}".lower(), model=tiny_teacher.model, description=description_of(tiny_teacher),
        card="", training_key=f"ours-{trust_pickle}", run_id=run_id,
    )  # fmt: skip
    teacher = read(registered.uri, uri, trust_pickle=trust_pickle)
    assert (teacher.architecture, teacher.hash) == ("digits_student", tiny_teacher.hash)
    assert any(isinstance(module, nn.BatchNorm2d) for module in teacher.model.modules())
    folder = client(uri).get_model_version_download_uri(registered.name, "1")
    assert read(folder, uri, trust_pickle=trust_pickle).hash == tiny_teacher.hash
    corrected = read(registered.uri, uri, std=(0.2,))
    assert corrected.hash != teacher.hash == dataclasses.replace(corrected, std=(0.4,), hash="").hash
