"""The main job from the command to the registered student, on the smoke space: once, and gone on with for one trial."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pyarrow.parquet as pq
import pytest
import torch

from dfkd.tracking.connection import as_default, import_mlflow

pytestmark = pytest.mark.ray

SMOKE = "search_spaces/smoke.yaml"
EPOCHS = 3  # of a trial: one of warm-up, two with student steps


@dataclass
class Search:
    """A finished command and what it left behind."""

    home: Path
    done: Any

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.home}/mlflow.db"

    @property
    def client(self) -> Any:
        return import_mlflow().MlflowClient(self.uri)

    @property
    def folder(self) -> Path:
        (folder,) = (self.home / "searches").iterdir()
        return folder

    def runs(self, kind: str) -> list[Any]:
        """Return the runs of one kind, oldest first."""
        experiments = [experiment.experiment_id for experiment in self.client.search_experiments()]
        return list(self.client.search_runs(experiments, f"tags.\"dfkd.kind\" = '{kind}'", order_by=["start_time ASC"]))

    def artifacts(self, run: Any, path: str | None = None) -> set[str]:
        """Return the paths of a run's files."""
        files: set[str] = set()
        for info in self.client.list_artifacts(run.info.run_id, path):
            files |= self.artifacts(run, info.path) if info.is_dir else {info.path}
        return files


@pytest.fixture(scope="module")
def search(run: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Search:
    home = tmp_path_factory.mktemp("home")
    outcome = home / "outcome.json"
    done = run("search.py", SMOKE, "--home", str(home), "--json", str(outcome))
    assert done.status == 0, done.output + done.errors
    return Search(home, done)


@pytest.fixture(scope="module")
def resumed(run: Callable[..., Any], search: Search) -> tuple[Search, dict[str, Any]]:
    """The search gone on with for one trial more, and the runs as they were before."""
    before = {each.info.run_id: each for each in search.runs("trial")}
    done = run("search.py", SMOKE, "--home", str(search.home), "--resume", "--trials", "3")
    assert done.status == 0, done.output + done.errors
    return Search(search.home, done), before


def test_nobody_else_may_read_rays_token(search: Search, surroundings: dict[str, str]) -> None:
    token = Path(surroundings["HOME"]) / ".ray" / "auth_token"
    assert token.stat().st_mode & 0o777 == 0o600


def test_the_console_tells_what_happens_and_nothing_else(search: Search) -> None:
    done = search.done
    assert done.errors == ""
    assert [line for line in done.said(" starts: ")] == [
        "trial 1/2 starts: cae default settings, 2 workers",
        "trial 2/2 starts: cae default settings",
    ]
    assert len(done.said(" complete: agreement 0.")) == 2
    events, _, screen = done.output.partition("=" * 78)
    assert all(re.match(r"\[ *[\dhms ]+\] \w|$", line) for line in events.splitlines()), events
    for words in (
        "teacher",
        "student",
        "noise floor",
        "two workers",
        "start-up",
        "best settings",
        "models:/smoke/1 (champion)",
    ):
        assert words in screen
    assert f"mlflow ui --backend-store-uri '{search.uri}'" in screen


def test_the_champion_takes_images_and_gives_logits(search: Search) -> None:
    with as_default(search.uri):
        model = import_mlflow().pytorch.load_model("models:/smoke@champion")
    images = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    logits = model(images)
    assert logits.shape == (5, 10)
    torch.testing.assert_close(model(images[:1]), logits[:1], atol=1e-5, rtol=1e-4)


def test_the_first_version_is_candidate_and_champion(search: Search) -> None:
    registered = search.client.get_registered_model("smoke")
    assert {"candidate", "champion"} <= set(registered.aliases)
    version = search.client.get_model_version("smoke", "1")
    assert version.run_id == search.runs("search")[0].info.run_id
    assert version.tags["objective"] == "agreement"
    assert {model.name for model in search.client.search_registered_models()} == {"smoke", "digits-teacher"}


def test_a_parent_holds_a_run_a_trial_and_all_have_ended(search: Search) -> None:
    (parent,), children, (teacher,) = search.runs("search"), search.runs("trial"), search.runs("teacher")
    assert len(children) == 2
    for each in (parent, teacher, *children):
        assert each.info.status == "FINISHED"
    for child in children:
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert child.data.params["distillation.epochs"] == "2"
    assert [child.data.params["workers"] for child in children] == ["2", "1"]
    assert [child.data.tags["device"] for child in (*children, teacher)] == ["cpu"] * 3
    assert {"seed", "device", "sampler"} <= set(parent.data.params)
    assert {"commit", "version.ray", "version.torch"} <= set(parent.data.tags)
    story = parent.data.tags["mlflow.note.content"]
    assert "How far the choice can be trusted" in story
    assert re.search(r"2 data-parallel workers on Ray Train:\*\* validation accuracy after 2 epochs \d+\.\d % ", story)


def test_every_trial_has_its_metrics_of_every_epoch(search: Search) -> None:
    for child in search.runs("trial"):
        for name, first in (
            ("probe/agreement", 0),
            ("val/accuracy/top1", 0),
            ("synthesis/batch_norm", 0),
            ("distillation/kd", 1),  # after the warm-up
            ("time/epoch_seconds", 0),
        ):
            history = search.client.get_metric_history(child.info.run_id, name)
            assert sorted(point.step for point in history) == list(range(first, epochs_of(child))), name


def test_data_sets_are_inputs_by_what_they_were_used_for(search: Search) -> None:
    (parent,), (teacher,) = search.runs("search"), search.runs("teacher")
    assert uses(parent) == {"probe set": "selection", "digits, validation": "reports", "digits, test": "last score"}
    assert uses(teacher)["digits, train"] == "training the teacher"


def uses(run: Any) -> dict[str, str]:
    """What each data set of a run was used for."""
    return {given.dataset.name: given.tags[0].value for given in run.inputs.dataset_inputs}


def epochs_of(child: Any) -> int:
    """The run with two workers ends after one epoch in which the student learns, and one before."""
    return 2 if child.data.params["workers"] == "2" else 3


def test_every_trial_has_its_series_of_images(search: Search) -> None:
    for child in search.runs("trial"):
        pictures = {path for path in search.artifacts(child) if path.endswith(".png")}
        assert sorted(re.findall(r"step\+(\d)\+", " ".join(pictures))) == [
            str(epoch) for epoch in range(epochs_of(child))
        ]
        assert child.data.tags["mlflow.loggedImages"] == "True"


def test_the_parent_keeps_space_table_and_plots(search: Search) -> None:
    (parent,) = search.runs("search")
    assert search.artifacts(parent) >= {
        "search_space.json",
        "default_settings.json",
        "trials.parquet",
        "plots/optimization_history.html",
        "plots/confusion_matrix.html",
        "plots/embedding_map.html",
    }
    folder = import_mlflow().artifacts.download_artifacts(
        run_id=parent.info.run_id, artifact_path="trials.parquet", tracking_uri=search.uri
    )
    table = pq.read_table(folder).to_pylist()
    assert [(row["trial"], row["workers"], row["default"], row["status"]) for row in table] == [
        (1, 2, True, "complete"),
        (2, 1, True, "complete"),
    ]
    assert all(0 <= row["probe/agreement"] <= 1 for row in table)


def test_optuna_keeps_the_study(search: Search) -> None:
    study = optuna.load_study(
        study_name=search.folder.name, storage=optuna.storages.RDBStorage(f"sqlite:///{search.folder}/optuna.db")
    )
    assert study.direction.name == "MAXIMIZE"
    (trial,) = study.trials
    assert trial.state.name == "COMPLETE"
    assert trial.params == {"distillation.learning_rate": 0.1, "synthesis.contrast.kind": "bank"}
    outcome = json.loads((search.home / "outcome.json").read_text())
    assert trial.value == outcome["chosen"]["metrics"]["probe/agreement"]


def test_the_outcome_is_written_for_other_programs(search: Search) -> None:
    outcome = json.loads((search.home / "outcome.json").read_text())
    assert outcome["model_uri"] == "models:/smoke/1"
    assert outcome["student_parameters"] < outcome["teacher_parameters"]
    assert [trial["status"] for trial in outcome["trials"]] == ["complete", "complete"]
    assert outcome["settings"]["distillation"]["epochs"] == 2 and outcome["teacher"] == "teacher"
    on_ray_train, in_process = (trial["startup_seconds"] for trial in outcome["trials"])
    assert 0 < in_process < 60 and 1 < on_ray_train < 90
    assert on_ray_train < outcome["seconds_to_first_report"] < outcome["seconds"]
    assert {"accuracy/top1", "accuracy/teacher_top1", "accuracy/ratio", "agreement/top1"} <= set(outcome["test"])


def test_a_search_that_goes_on_runs_only_the_missing_trial(resumed: tuple[Search, dict[str, Any]]) -> None:
    search, before = resumed
    (line,) = search.done.said(" starts: ")
    assert line.startswith("trial 3/3 starts: cae lr=")
    trials = search.runs("trial")
    assert len(trials) == 3
    for trial in trials:
        assert trial.info.status == "FINISHED"
        if trial.info.run_id in before:
            assert trial.info.end_time == before[trial.info.run_id].info.end_time
    assert len(search.runs("search")) == 1
    study = optuna.load_study(
        study_name=search.folder.name, storage=optuna.storages.RDBStorage(f"sqlite:///{search.folder}/optuna.db")
    )
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "COMPLETE"]


def test_a_teacher_that_was_trained_before_is_used_again(resumed: tuple[Search, dict[str, Any]]) -> None:
    search, _ = resumed
    assert search.done.said("teacher: models:/digits-teacher/1, trained before with these settings")
    assert not search.done.said("teacher: training")
    assert len(search.runs("teacher")) == 1


def test_a_search_that_goes_on_judges_and_registers_a_student_once(resumed: tuple[Search, dict[str, Any]]) -> None:
    """A second version only where the trial that came later won; ``test_outcome`` shows either case."""
    search, _ = resumed
    versions = search.client.search_model_versions("name = 'smoke'")
    judged = search.done.said("judging it on the test split, once")
    assert sorted(int(version.version) for version in versions) == list(range(1, 2 + len(judged)))
    (parent,) = search.runs("search")
    assert parent.data.metrics["trust/num_trials"] == 2
    assert search.artifacts(parent) >= {"plots/parameter_importance.html", "plots/parallel_coordinates.html"}
