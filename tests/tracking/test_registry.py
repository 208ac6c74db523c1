from __future__ import annotations

import dataclasses
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from torch import nn

from dfkd.tracking.card import StudentCard
from dfkd.tracking.model_package import ModelDescription
from dfkd.tracking.registry import RegisteredModel, promote, register_student, register_teacher
from dfkd.tracking.registry_reading import find_teacher, load_foreign, load_registered

PROMOTE = Path(__file__).parents[2] / "experiments" / "promote.py"
DESCRIPTION = ModelDescription(
    architecture="tiny", class_names=tuple("abc"), mean=(0.5,), std=(0.25,), image_shape=(1, 6, 6)
)
CARD = StudentCard(
    num_classes=10,
    image_shape=(1, 8, 8),
    latency="0.5 ms an image on cpu",
    method="CAE-DFKD (our reading)", teacher_name="t", teacher_hash="T", teacher_shifted=False, teacher_parameters=1000,
    student_parameters=100, settings={}, scores={"test/accuracy": 0.9},
        learnt_from="synthetic images", data_free=True, selection_data="the probe set",
    objective="agreement", objective_value=0.9, direction="maximize", exam_hash="P", seed=0, commit="c", versions={},
)  # fmt: skip


def _network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    network(torch.randn(8, 1, 6, 6))
    return network.eval()


@pytest.fixture
def run_id(client: Any, uri: str, home: Path) -> str:
    experiment = client(uri).get_experiment_by_name("registry")
    experiment_id = (
        experiment.experiment_id if experiment else client(uri).create_experiment("registry", str(home / "a"))
    )
    return str(client(uri).create_run(experiment_id).info.run_id)


Register = Callable[..., RegisteredModel]


@pytest.fixture
def register(uri: str, run_id: str) -> Register:
    def register(name: str, promotion: Any = "automatic", network: nn.Module | None = None, **card: Any) -> Any:
        return register_student(
            uri, name, model=network or _network(), description=DESCRIPTION, run_id=run_id, promotion=promotion,
            card=dataclasses.replace(CARD, **card),
        )  # fmt: skip

    return register


def _champion(client: Any, uri: str, name: str) -> int:
    return int(client(uri).get_model_version_by_alias(name, "champion").version)


def test_a_champion_loads_with_mlflow_and_torch_alone(register: Register, uri: str, tmp_path: Path) -> None:
    network = _network(seed=5)
    register("digits-student", network=network)
    images = torch.rand(17, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    numpy.save(tmp_path / "images.npy", images.numpy())
    script = Path(__file__).with_name("load_without_us.py")
    arguments = [uri, "models:/digits-student@champion", tmp_path / "images.npy", tmp_path / "logits.npy"]
    environment = os.environ | {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    environment.pop("PYTHONPATH", None)
    subprocess.run([sys.executable, "-P", script, *arguments], check=True, cwd=tmp_path, env=environment)
    expected = [network((images[:batch_size] - 0.5) / 0.25).detach() for batch_size in (1, 3, 17)]
    actual = torch.from_numpy(numpy.load(tmp_path / "logits.npy"))
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual, torch.cat(expected), atol=1e-5, rtol=0)


def test_a_student_reads_back_by_alias_and_by_version(register: Register, uri: str) -> None:
    network = _network(seed=3)
    registered = register("read-back", network=network)
    for address in ("models:/read-back@champion", "models:/read-back@candidate", registered.uri):
        state, metadata = load_registered(address, tracking_uri=uri)
        assert all(torch.equal(state[name], tensor) for name, tensor in network.state_dict().items())
        assert metadata["architecture"] == "tiny" and metadata["class_names"] == '["a", "b", "c"]'


def test_a_version_shows_its_card_and_tags_and_belongs_to_its_run(
    register: Register, uri: str, client: Any, run_id: str
) -> None:
    register("shown")
    version = client(uri).get_model_version("shown", "1")
    assert "No privacy guarantee" in version.description and len(version.description) <= 5000
    assert version.run_id == run_id
    expected = {"teacher_hash": "T", "exam_hash": "P", "objective": "agreement", "objective_value": "0.9",
                "direction": "maximize", "method": "CAE-DFKD (our reading)", "kind": "student"}  # fmt: skip
    assert version.tags.items() >= expected.items()
    assert client(uri).get_run(run_id).info.status == "RUNNING"  # registering leaves the run as it was
    (output,) = client(uri).get_run(run_id).outputs.model_outputs
    assert version.source == f"models:/{output.model_id}"
    assert client(uri).get_logged_model(output.model_id).status == "READY"


def test_the_first_version_is_champion_and_later_only_a_better_one(register: Register, uri: str, client: Any) -> None:
    assert register("ladder", objective_value=0.9).promoted
    equal, worse = register("ladder", objective_value=0.9), register("ladder", objective_value=0.8)
    assert not equal.promoted and "0.8 against 0.9" in worse.reason
    assert _champion(client, uri, "ladder") == 1
    better = register("ladder", objective_value=0.95)
    assert better.promoted and better.version == 4 and "0.95 against 0.9" in better.reason
    assert _champion(client, uri, "ladder") == 4


def test_less_is_better_where_the_objective_is_minimised(register: Register) -> None:
    kl = {"objective": "kl", "direction": "minimize"}
    assert register("kl-ladder", objective_value=0.3, **kl).promoted
    assert not register("kl-ladder", objective_value=0.4, **kl).promoted
    assert register("kl-ladder", objective_value=0.2, **kl).promoted


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"teacher_hash": "other"}, "another teacher"),
        ({"objective": "val_accuracy"}, "another objective"),
        ({"exam_hash": "other"}, "another exam"),
        ({"objective_value": float("nan")}, "not a number"),
    ],
)
def test_a_student_that_does_not_compare_is_not_promoted(
    change: dict[str, Any], reason: str, register: Register, uri: str, client: Any
) -> None:
    name = f"incomparable-{next(iter(change))}"
    register(name, objective_value=0.5)
    later = register(name, **{"objective_value": 0.99} | change)
    assert not later.promoted and reason in later.reason
    assert _champion(client, uri, name) == 1


def test_without_a_champion_an_earlier_version_is_not_overtaken_unseen(
    register: Register, uri: str, client: Any
) -> None:
    register("unseen", objective_value=float("nan"))  # which could not be better
    assert register("unseen", objective_value=0.9).promoted
    client(uri).delete_registered_model_alias("unseen", "champion")
    later = register("unseen", objective_value=0.1)
    assert not later.promoted
    assert "earlier versions (2)" in later.reason and "promote.py unseen --version 3" in later.reason
    assert client(uri).get_registered_model("unseen").aliases.keys() == {"candidate"}


def test_with_manual_promotion_only_the_command_moves_the_champion(
    register: Register, uri: str, home: Path, client: Any, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    by_hand = register("by-hand", promotion="manual")
    assert not by_hand.promoted
    assert "`python experiments/promote.py by-hand --version 1` makes it champion" in by_hand.reason
    assert client(uri).get_registered_model("by-hand").aliases.keys() == {"candidate"}
    monkeypatch.syspath_prepend(str(PROMOTE.parent))
    for version, code in (("7", 2), ("1", None)):
        monkeypatch.setattr(sys, "argv", [str(PROMOTE), "by-hand", "--version", version, "--home", str(home)])
        left = None
        try:
            runpy.run_path(str(PROMOTE), run_name="__main__")
        except SystemExit as ended:
            left = ended.code
        assert left == code
    printed = capsys.readouterr()
    assert printed.out == "by-hand: champion is now version 1 (before: none).\n"
    assert printed.err.startswith("error: models:/by-hand/7: no such version")
    assert _champion(client, uri, "by-hand") == 1


def test_promoting_what_is_not_there_lists_what_is(register: Register, uri: str) -> None:
    register("listed")
    with pytest.raises(ValueError, match=r"Versions of 'listed': \[1\]"):
        promote(uri, "listed", 7)
    with pytest.raises(ValueError, match="Did you mean 'listed'"):
        promote(uri, "lisetd", 1)


@pytest.mark.parametrize("address", ["digits-student", "models:/a/b/c", "models:/x@", "models:/x/latest", "runs:/a/b"])
def test_an_address_of_another_form_is_an_error(address: str, uri: str) -> None:
    with pytest.raises(ValueError, match="expected models:/name@alias or models:/name/3"):
        load_registered(address, tracking_uri=uri)


def test_an_alias_that_is_not_there_is_an_error_with_those_that_are(register: Register, uri: str) -> None:
    register("aliases")
    with pytest.raises(ValueError, match=r"Did you mean 'champion'.*candidate \(version 1\)"):
        load_registered("models:/aliases@champoin", tracking_uri=uri)


def test_a_model_that_cannot_be_exported_leaves_nothing_behind(uri: str, run_id: str, client: Any) -> None:
    wrong = dataclasses.replace(DESCRIPTION, class_names=("a", "b"))
    with pytest.raises(ValueError, match="expected logits"):
        register_student(uri, "never", model=_network(), description=wrong, card=CARD, run_id=run_id)
    assert not client(uri).search_registered_models("name = 'never'")
    experiment_id = client(uri).get_run(run_id).info.experiment_id
    assert not client(uri).search_logged_models([experiment_id], "name = 'never'")


@pytest.mark.parametrize("name", ["a/b", "a:b", "a@b", "", "a b"])
def test_a_name_that_no_address_can_hold_is_refused(name: str, register: Register) -> None:
    with pytest.raises(ValueError, match="name: expected"):
        register(name)


def test_a_teacher_is_found_again_by_its_training_key_only(uri: str, run_id: str) -> None:
    """The first stays champion: a short training under the same data's title does not take its place unseen."""

    def teacher(training_key: str, seed: int) -> RegisteredModel:
        return register_teacher(
            uri, "digits-teacher", model=_network(seed), description=DESCRIPTION, card="# Teacher",
            training_key=training_key, run_id=run_id,
        )  # fmt: skip

    assert find_teacher(uri, "key-1") is None
    teacher("key-1", seed=1)
    second = teacher("key-2", seed=2)
    assert find_teacher(uri, "key-1") == "models:/digits-teacher/1"
    assert find_teacher(uri, "key-2") == second.uri == "models:/digits-teacher/2"
    state, _ = load_registered("models:/digits-teacher@champion", tracking_uri=uri)
    assert torch.equal(state["4.weight"], _network(seed=1).state_dict()["4.weight"])
    assert not second.promoted and "promote.py digits-teacher --version 2" in second.reason
    state, _ = load_registered("models:/digits-teacher@candidate", tracking_uri=uri)
    assert torch.equal(state["4.weight"], _network(seed=2).state_dict()["4.weight"])


def test_a_server_takes_a_student_and_gives_it_back(running: Any, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow.pytorch

    network = _network(seed=4)
    run_id = client(running.uri).create_run("0").info.run_id
    card = dataclasses.replace(CARD, exam_hash="")
    registered = register_student(
        running.uri, "served", model=network, description=DESCRIPTION, card=card, run_id=run_id
    )
    assert registered.promoted
    state, metadata = load_registered("models:/served@champion", tracking_uri=running.uri)
    assert metadata["architecture"] == "tiny"
    assert torch.equal(state["4.weight"], network.state_dict()["4.weight"])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", running.uri)
    images = torch.rand(3, 1, 6, 6)
    loaded = mlflow.pytorch.load_model("models:/served@champion")
    torch.testing.assert_close(loaded(images), network((images - 0.5) / 0.25), atol=1e-5, rtol=0)


def test_a_version_whose_files_were_deleted_says_so(register: Register, uri: str, client: Any) -> None:
    import shutil

    register("deleted-files")
    shutil.rmtree(client(uri).get_model_version_download_uri("deleted-files", "1"))
    with pytest.raises(ValueError, match="its files are not at"):
        load_registered("models:/deleted-files/1", tracking_uri=uri)


@pytest.mark.parametrize("load", [load_registered, load_foreign])
def test_nobody_is_told_to_delete_a_version_whose_files_are_out_of_reach(uri: str, client: Any, load: Any) -> None:
    name = f"out-of-reach-{load.__name__}"
    client(uri).create_registered_model(name)
    client(uri).create_model_version(name, source="ftp://bob:hunter2@127.0.0.1:1/model")
    with pytest.raises(
        ConnectionError, match=r"cannot be had from ftp://\*\*\*@127.0.0.1:1/model now .*try again"
    ) as told:
        load(f"models:/{name}/1", tracking_uri=uri)
    assert "elete" not in str(told.value) and "hunter2" not in str(told.value)
