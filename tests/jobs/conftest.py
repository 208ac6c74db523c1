"""What the tests of jobs share: a home whose SQLite store takes seconds to create, a reader who presses Ctrl-C, and a
search whose trials have run.
"""

from __future__ import annotations

import dataclasses
import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import optuna
import pytest
import torch

from dfkd.assembly import Materials
from dfkd.cluster.checkpoints import CheckpointStore
from dfkd.cluster.local_session import LocalSession
from dfkd.cluster.worker import run_worker
from dfkd.data.image_set import ImageSet
from dfkd.data.real_data import RealData
from dfkd.jobs.console import Console
from dfkd.jobs.outcome import Outcome, conclude
from dfkd.jobs.phases import objective_of
from dfkd.jobs.running import Running
from dfkd.jobs.search import open_parent
from dfkd.jobs.search_folder import new_search_folder
from dfkd.jobs.trial_records import TrialRecord, TrialRecords
from dfkd.search.load import load_space
from dfkd.search.optuna_space import open_study, study_storage
from dfkd.settings.identity import settings_key
from dfkd.tracking.connection import check_reachable, import_mlflow
from dfkd.tracking.home import default_tracking_uri
from dfkd.tracking.mlflow_tracker import MlflowTracking

SPACE = """
name: tiny
experiment:
  dataset: {name: digits, crop_padding: 1}
  teacher: {architecture: digits_student}
  student: {architecture: digits_student}
  label_embeddings: {name: orthogonal, width: 12}
  synthesis: {generator: {width: 8}, batch_size: 24, generator_steps: 1, bank_capacity: 48, warm_up_epochs: 1,
              warm_up_rounds: 1, rounds_per_epoch: 1}
  distillation: {epochs: 1, steps_per_epoch: 1, batch_size: 16}
  device: cpu
parameters:
  student.architecture: {type: categorical, choices: [digits_student, resnet8]}
  distillation.learning_rate: {type: uniform, low: 0.1, high: 0.3}
objective: {metric: METRIC}
trials: 3
workers_check: false
seed_repeats: 1
"""


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database in which nothing is yet, to be copied."""
    folder = tmp_path_factory.mktemp("empty")
    check_reachable(default_tracking_uri(folder))
    return folder / "mlflow.db"


@pytest.fixture(scope="session")
def home(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    shutil.copy(empty_store, home)
    return home


class Interrupts(io.StringIO):
    def __init__(self, words: str) -> None:
        super().__init__()
        self._words = words

    def write(self, text: str) -> int:
        if self._words in text:
            raise KeyboardInterrupt
        return super().write(text)


@pytest.fixture
def interrupts() -> Callable[[str], io.StringIO]:
    """Make a console's stream whose reader presses Ctrl-C at these words."""
    return Interrupts


@dataclasses.dataclass
class Ended:
    """A search whose trials have run: what they reported can be set, then it is concluded as often as one likes.

    ``default``, ``wider`` and ``faster`` are what is searched of its three trials.
    """

    default: ClassVar[dict[str, Any]] = {"student.architecture": "digits_student", "distillation.learning_rate": 0.1}
    wider: ClassVar[dict[str, Any]] = {"student.architecture": "resnet8", "distillation.learning_rate": 0.1}
    faster: ClassVar[dict[str, Any]] = {"student.architecture": "digits_student", "distillation.learning_rate": 0.3}

    running: Running
    said: io.StringIO

    def record(self, params: dict[str, Any], *, seed: int = 0, **metrics: float) -> None:
        """Pretend that a trial, which has its checkpoint, reported these numbers."""
        plan = self.running.plan(seed=seed)
        key = settings_key(plan.resolve(params))
        values = {
            "probe/agreement": 0.5,
            "val/accuracy/top1": 0.5,
            "distillation/kd": 1.0,
            "probe/top_class_share": 0.4,
        }
        values |= {name.replace("__", "/"): value for name, value in metrics.items()}
        record = TrialRecord(
            key=key,
            number=len(self.running.records),
            params=params,
            workers=1,
            seed=seed,
            is_default=params == self.default,
            status="complete",
            metrics=values,
        )
        self.running.records.save(record)

    def conclude(self) -> Outcome:
        return conclude(self.running, open_parent(self.running), None)

    def versions(self) -> list[str]:
        return sorted(str(version.version) for version in self._client.search_model_versions("name = 'tiny'"))

    def card(self, outcome: Outcome) -> str:
        return str(self._client.get_model_version("tiny", str(outcome.registered.version)).description)

    def tags(self) -> dict[str, str]:
        """Tags of the search's own run."""
        assert self.running.tracking.flush()
        return dict(self._client.get_run(self.running.tracking.parent_run_id).data.tags)

    @property
    def _client(self) -> Any:
        return import_mlflow().MlflowClient(self.running.tracking_uri)


@pytest.fixture
def ended(tmp_path: Path, tiny_materials: Materials, empty_store: Path) -> Iterator[Callable[..., Ended]]:
    """Make a search of three trials with their checkpoints; the keywords are its objective and more lines of YAML."""
    made: list[Running] = []

    def make(metric: str = "agreement", extra: str = "") -> Ended:
        file = tmp_path / "space.yaml"
        file.write_text(SPACE.replace("METRIC", metric) + extra)
        space, home, said = load_space(str(file), []), tmp_path / "home", io.StringIO()
        folder = new_search_folder(home, space)
        shutil.copy(empty_store, home)
        validation = tiny_materials.validation
        assert validation is not None
        test = ImageSet(255 - validation.images, validation.labels)
        uri = f"sqlite:///{home}/mlflow.db"
        names = tiny_materials.teacher.class_names
        running = Running(
            space=space,
            folder=folder,
            storage=str(folder.path),
            tracking_uri=uri,
            objective=objective_of(space),
            materials=tiny_materials,
            data=RealData("tiny", names, train=None, validation=validation, test=test),
            records=TrialRecords(folder.path / "trial_records"),
            tracking=MlflowTracking(uri, home, folder.search_id),
            console=Console(said),
        )
        made.append(running)
        _, *further = space.settings.goals.values()
        storage = study_storage(folder.path / "optuna.db")
        study = open_study(storage, name=folder.search_id, direction="maximize", further=further)
        if further:
            study.add_trial(optuna.trial.create_trial(values=[0.5] * (1 + len(further)), params={}))
        for params in (Ended.default, Ended.wider, Ended.faster):
            settings = running.plan().resolve(params)
            store = CheckpointStore(running.plan().trial_uri(settings))
            run_worker(settings, tiny_materials, LocalSession(torch.device("cpu"), lambda report: None, store))
        return Ended(running, said)

    yield make
    for running in made:
        running.tracking.close()
