"""The end of a search: real checkpoints, MLflow on SQLite and an Optuna study; its trials ran without Ray."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pyarrow.parquet as pq
import pytest
import torch

from dfkd.assembly import Materials
from dfkd.cluster.checkpoints import CheckpointStore
from dfkd.cluster.local_session import LocalSession
from dfkd.cluster.worker import run_worker
from dfkd.data.image_set import ImageSet
from dfkd.data.real_data import RealData
from dfkd.jobs import search_files, story
from dfkd.jobs.console import Console
from dfkd.jobs.last_screen import last_screen
from dfkd.jobs.leftovers import remove_leftovers
from dfkd.jobs.outcome import Outcome, conclude
from dfkd.jobs.outcome_file import outcome_as_json
from dfkd.jobs.phases import find_floor, listener_of, objective_of
from dfkd.jobs.probe_cache import obtain_probe_set, probe_hash
from dfkd.jobs.running import Running
from dfkd.jobs.search import open_parent
from dfkd.jobs.search_folder import new_search_folder
from dfkd.jobs.story import description
from dfkd.jobs.trial_records import TrialRecord, TrialRecords
from dfkd.search.load import load_space
from dfkd.search.optuna_space import open_study, study_storage
from dfkd.settings.identity import settings_key, to_dict
from dfkd.tracking.connection import import_mlflow
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
DEFAULT = {"student.architecture": "digits_student", "distillation.learning_rate": 0.1}
WIDER = {"student.architecture": "resnet8", "distillation.learning_rate": 0.1}
FASTER = {"student.architecture": "digits_student", "distillation.learning_rate": 0.3}


@dataclasses.dataclass
class Ended:
    """A search whose trials have run: what they reported can be set, then it is concluded as often as one likes."""

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
            is_default=params == DEFAULT,
            status="complete",
            metrics=values,
        )
        self.running.records.save(record)

    def conclude(self) -> Outcome:
        return conclude(self.running, open_parent(self.running), None)


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
        for params in (DEFAULT, WIDER, FASTER):
            settings = running.plan().resolve(params)
            store = CheckpointStore(running.plan().trial_uri(settings))
            run_worker(settings, tiny_materials, LocalSession(torch.device("cpu"), lambda report: None, store))
        return Ended(running, said)

    yield make
    for running in made:
        running.tracking.close()


def versions_of(running: Running) -> list[str]:
    client = import_mlflow().MlflowClient(running.tracking_uri)
    return sorted(str(version.version) for version in client.search_model_versions("name = 'tiny'"))


def card_of(running: Running, outcome: Outcome) -> str:
    client = import_mlflow().MlflowClient(running.tracking_uri)
    return str(client.get_model_version("tiny", str(outcome.registered.version)).description)


def tags_of(running: Running) -> dict[str, str]:
    """Tags of the search's own run."""
    assert running.tracking.flush()
    client = import_mlflow().MlflowClient(running.tracking_uri)
    return dict(client.get_run(running.tracking.parent_run_id).data.tags)


def test_a_better_student_of_another_architecture_is_judged_and_registered_once(ended: Callable[..., Ended]) -> None:
    search = ended()
    search.record(DEFAULT)
    search.record(WIDER, probe__agreement=1.0)
    search.record(FASTER, probe__agreement=0.2)
    first = search.conclude()
    assert first.choice.record.params == WIDER
    assert first.registered.uri == "models:/tiny/1" and first.registered.promoted
    assert (search.running.folder.path / "student.safetensors").exists()
    trials = search.running.folder.path / "trials"
    ray = [search.running.folder.path / "ray_tune", trials / first.choice.record.key / "ray_train"]
    for folder in ray:
        (folder / "deep").mkdir(parents=True)
    assert len(list(trials.iterdir())) == 3
    remove_leftovers(search.running, first.choice)
    assert first.choice.default is not None
    assert {each.name for each in trials.iterdir()} == {first.choice.record.key, first.choice.default.key}
    assert not any(folder.exists() for folder in ray)
    again = search.conclude()
    assert again.scores == first.scores
    assert again.registered == first.registered
    assert versions_of(search.running) == ["1"]
    assert search.said.getvalue().count("judging it on the test split, once") == 1
    screen = last_screen(again, tracking_uri=search.running.tracking_uri, run_url="", seconds=1.0)
    assert "architecture resnet8" in screen
    assert "noise floor" not in screen  # none was run
    floored = dataclasses.replace(again, floor_scores={"accuracy/top1": 0.25})
    screen = last_screen(floored, tracking_uri=search.running.tracking_uri, run_url="", seconds=1.0)
    assert re.search(r"noise floor +25\.0 %   KD on random noise, default settings' student steps", screen)
    assert '"regret_chosen": 0.0' in outcome_as_json(search.running, again, seconds=1.0)


def test_another_winner_of_the_same_search_is_judged_and_registered_too(ended: Callable[..., Ended]) -> None:
    search = ended()
    search.record(DEFAULT)
    search.conclude()
    search.record(FASTER, probe__agreement=1.0)
    second = search.conclude()
    assert second.registered.uri == "models:/tiny/2"
    assert "scored on it once, for this table, as the 2nd of 2 students of this search" in story.test_table(second)
    assert "as the 2nd of 2 students of this search, which went on" in card_of(search.running, second)
    search.record(FASTER, probe__agreement=0.2)  # so the first one is chosen again
    again = search.conclude()
    assert again.registered.uri == "models:/tiny/1"
    assert "as the 1st of 2 students of this search" in story.test_table(again)
    assert versions_of(search.running) == ["1", "2"]
    said = search.said.getvalue()
    assert said.count("judging it on the test split, once") == 2
    assert said.count("judging it on the test split, once, as the 2nd student of this search") == 1


def test_a_table_or_plot_that_cannot_be_made_costs_a_line_and_not_the_student(
    ended: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    search = ended()
    search.record(DEFAULT)

    def broken(records: list[TrialRecord]) -> bytes:
        raise OverflowError

    monkeypatch.setattr(search_files, "trial_parquet", broken)
    assert search.conclude().registered.uri == "models:/tiny/1"
    assert "] no table of trials: OverflowError: no message" in search.said.getvalue()
    client = import_mlflow().MlflowClient(search.running.tracking_uri)
    assert search.running.tracking.flush()
    files = client.list_artifacts(search.running.tracking.parent_run_id, "plots")
    assert "plots/confusion_matrix.html" in [file.path for file in files]


def test_a_setting_with_values_of_several_types_is_text_in_the_table() -> None:
    values = enumerate((1, "auto", 0.5, True, None))
    settings: list[dict[str, Any]] = [{"a": value, "b": number or 0.5} for number, value in values]
    records = [
        TrialRecord(key=str(number), number=number, params=params, workers=1, seed=0, is_default=False)
        for number, params in enumerate(settings)
    ]
    table = pq.read_table(io.BytesIO(search_files.trial_parquet(records))).to_pydict()
    assert table["settings/a"] == ["1", "auto", "0.5", "True", None]
    assert table["settings/b"] == [0.5, 1, 2, 3, 4]


def test_a_tie_goes_to_the_default_settings(ended: Callable[..., Ended]) -> None:
    search = ended()
    search.record(WIDER, probe__agreement=0.55)
    search.record(DEFAULT, probe__agreement=0.5)
    outcome = search.conclude()
    assert outcome.choice.record.params == DEFAULT
    assert outcome.choice.margin.value > 0.05
    assert outcome.choice.best.params == WIDER


def test_what_differs_less_than_two_seeds_of_the_default_settings_is_a_tie(ended: Callable[..., Ended]) -> None:
    """And another seed of them is never chosen itself, however lucky it was."""
    search = ended()
    search.record(DEFAULT, probe__agreement=0.5)
    search.record(WIDER, probe__agreement=0.95)
    search.record(DEFAULT, seed=1, probe__agreement=0.99)
    outcome = search.conclude()
    assert (outcome.choice.record.params, outcome.choice.record.seed) == (DEFAULT, 0)
    assert outcome.choice.margin.source == "spread of the default settings over 2 seeds, a rough figure from so few"
    assert outcome.choice.trust.num_trials == 2


def test_the_trust_report_is_about_the_choice_without_labels(ended: Callable[..., Ended]) -> None:
    """Whatever chose: held against itself, the validation accuracy would look perfect."""
    search = ended("val_accuracy")
    search.record(DEFAULT, probe__agreement=0.1, val__accuracy__top1=0.3)
    search.record(WIDER, probe__agreement=0.9, val__accuracy__top1=0.2)
    search.record(FASTER, probe__agreement=0.2, val__accuracy__top1=0.9)
    outcome = search.conclude()
    assert outcome.choice.record.params == FASTER
    trust = outcome.choice.trust
    assert (trust.objective_name, trust.regret_selected) == ("agreement", 0.0)
    assert trust.regret_chosen == pytest.approx(0.7)  # the probe would have taken WIDER
    assert trust.regret_default == pytest.approx(0.6)


def test_without_any_real_image_the_story_says_that_accuracy_is_unknown(ended: Callable[..., Ended]) -> None:
    search = ended()
    names = search.running.materials.teacher.class_names
    nothing = RealData("nothing", names, train=None, validation=None, test=None, shape_without_images=(1, 8, 8))
    materials = dataclasses.replace(search.running.materials, validation=None)
    search.running = dataclasses.replace(search.running, data=nothing, materials=materials)
    assert find_floor(search.running) is None
    search.record(DEFAULT)
    outcome = search.conclude()
    assert (outcome.scores, outcome.registered.uri) == ({}, "models:/tiny/1")
    assert "there are no test images to judge it on" in search.said.getvalue()
    screen = last_screen(outcome, tracking_uri=search.running.tracking_uri, run_url="", seconds=1.0)
    assert "accuracy unknown: no test images" in screen and "noise floor" not in screen
    assert "There are no test images" in description(search.running, outcome)


@pytest.mark.parametrize("metric", ["agreement", "kl", "val_accuracy"])
def test_a_version_says_which_exam_its_value_is_of(ended: Callable[..., Ended], metric: str) -> None:
    search = ended(metric)
    search.record(DEFAULT, probe__kl=0.5)
    search.conclude()
    materials = search.running.materials
    assert materials.probe is not None and materials.validation is not None
    exams = {"val_accuracy": materials.validation.fingerprint()}
    client = import_mlflow().MlflowClient(search.running.tracking_uri)
    version = client.get_model_version("tiny", "1")
    assert version.tags["exam_hash"] == exams.get(metric, probe_hash(materials.probe))


def test_without_a_finished_trial_the_first_error_is_told(ended: Callable[..., Ended]) -> None:
    search = ended()
    search.record(DEFAULT)
    (record,) = search.running.records.all()
    search.running.records.save(dataclasses.replace(record, status="failed", error="epoch 1: kd is nan"))
    with pytest.raises(ValueError, match="none of 1 trials ran to its end .* The first error, of trial 1: epoch 1: kd"):
        search.conclude()


def test_a_student_that_cannot_be_registered_waits_for_the_next_end(
    ended: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    search = ended()
    search.record(DEFAULT)
    there, away = search.running, dataclasses.replace(search.running, tracking_uri="http://127.0.0.1:9")
    search.running = away
    with pytest.raises(ConnectionError, match=r"is not registered: (.|\n)*--resume registers it"):
        search.conclude()
    assert (there.folder.path / "student.safetensors").exists()
    assert "dfkd.chosen" not in tags_of(there)
    search.running = there
    assert search.conclude().registered.uri == "models:/tiny/1"
    (record,) = there.records.all()
    assert tags_of(there)["dfkd.chosen"] == record.key
    assert search.said.getvalue().count("judging it on the test split, once") == 1


def test_a_shifted_teacher_is_called_that_wherever_its_score_stands(ended: Callable[..., Ended]) -> None:
    search = ended()
    shifted = dataclasses.replace(search.running.materials.teacher, shifted=True)
    materials = dataclasses.replace(search.running.materials, teacher=shifted)
    search.running = dataclasses.replace(search.running, materials=materials)
    search.record(DEFAULT)
    outcome = search.conclude()
    screen = last_screen(outcome, tracking_uri=search.running.tracking_uri, run_url="", seconds=1.0)
    assert re.search(r"^  shifted teacher +\d+\.\d % ", screen, flags=re.MULTILINE)
    assert not re.search(r"^  teacher ", screen, flags=re.MULTILINE)
    assert "| shifted teacher | " in description(search.running, outcome)
    facts = json.loads(outcome_as_json(search.running, outcome, seconds=1.0))
    assert facts["teacher"] == "shifted teacher"
    assert facts["settings"] == to_dict(search.running.space.resolve({}))


def test_trials_leave_no_picture_and_have_no_floor_where_these_are_off(ended: Callable[..., Ended]) -> None:
    """That they have both otherwise is shown in ``tests/experiments/test_search.py``."""
    running = ended(extra="noise_floor: off\ntracking: {images: off, image_every: 1}\n").running
    assert find_floor(running) is None
    open_parent(running)
    plan = running.plan(seed=5)
    listener = listener_of(running, plan)
    session = LocalSession(torch.device("cpu"), lambda report: listener.reported(DEFAULT, report))
    listener.started(DEFAULT)
    run_worker(plan.resolve(DEFAULT), running.materials, session, image_every=plan.image_every)
    listener.ended(DEFAULT, error=None)
    assert running.tracking.flush()
    client = import_mlflow().MlflowClient(running.tracking_uri)
    experiment = client.get_experiment_by_name("tiny")
    (run,) = client.search_runs([experiment.experiment_id], "tags.\"dfkd.kind\" = 'trial'")
    assert "probe/agreement" in run.data.metrics
    assert client.list_artifacts(run.info.run_id) == []


def test_a_searchs_run_names_no_place_on_this_machine(ended: Callable[..., Ended]) -> None:
    running = ended().running
    running.space.base["dataset"]["path"] = "/home/jane/digits"
    open_parent(running)
    assert running.tracking.flush()
    files = [file.read_text() for file in (running.folder.path.parents[1] / "artifacts").rglob("*.json")]
    assert len(files) == 2 and all('"path": "digits"' in text and "jane" not in text for text in files)
    assert "jane" not in (running.tracking.journal_folder / "journal.jsonl").read_text()


TWO_OBJECTIVES = "further_objectives: {size: {type: cost, of: parameters}}\n"


def test_the_rule_of_a_front_decides_which_student_is_registered(ended: Callable[..., Ended]) -> None:
    search = ended(extra=f"{TWO_OBJECTIVES}front: {{rule: limits, limits: {{size: 50_000}}}}\n")
    search.record(DEFAULT, probe__agreement=0.5, further__size=11_000)
    search.record(WIDER, probe__agreement=0.9, further__size=75_000)
    search.record(FASTER, probe__agreement=0.6, further__size=11_000)
    outcome = search.conclude()
    front = outcome.choice.front
    assert front is not None
    assert [front.points[key]["size"] for key in front.keys] == [75_000, 11_000]
    assert outcome.choice.record.params == FASTER
    assert outcome.student_parameters < 50_000
    assert not outcome.registered.promoted  # a person decides which point of a front is champion
    assert "one point of a front" in outcome.registered.reason

    said = description(search.running, outcome)
    assert "2 of 3 trials are dominated by no other. Registered by the rule `limits` (size 50000)." in said
    assert "The default settings are dominated by it." in said
    assert "| 3 (registered) | 0.6 | 11000 | architecture digits_student, learning_rate 0.3 |" in said
    shown = last_screen(outcome, tracking_uri="u", run_url="r", seconds=1)
    assert "* agreement 0.6, size 11000" in shown
    plain = json.loads(outcome_as_json(search.running, outcome, seconds=1))["front"]
    assert plain["registered"] == outcome.choice.record.key
    assert [point["agreement"] for point in plain["points"]] == [0.9, 0.6]

    client, run_id = import_mlflow().MlflowClient(search.running.tracking_uri), search.running.tracking.parent_run_id
    search.running.tracking.flush()
    plots = {file.path for file in client.list_artifacts(run_id, "plots")}
    assert "plots/pareto_front.html" in plots
    table = pq.read_table(client.download_artifacts(run_id, "pareto_front.parquet")).to_pylist()
    assert [(row["size"], row["on_front"], row["registered"]) for row in table] == [
        (11_000, False, False), (75_000, True, False), (11_000, True, True),
    ]  # fmt: skip


def test_a_story_says_what_labels_chose_the_student(ended: Callable[..., Ended]) -> None:
    shots = (
        "further_objectives: {few: {type: transfer, "
        "by: {task: few_shot, shots: [1], dataset: {name: digits, title: eels}}}}\n"
    )
    search = ended(extra=shots)
    search.record(DEFAULT, further__few=0.5)
    outcome = search.conclude()
    words = "no real image (`agreement`) and validation images of eels with their labels (`few`)"
    assert words in description(search.running, outcome)
    client = import_mlflow().MlflowClient(search.running.tracking_uri)
    card = client.get_model_version("tiny", "1").description
    assert f"**Data used for the choice** {words}" in card
    assert "**Learnt from** synthetic images, made from the teacher\n" in card  # orthogonal rows: no names


def test_a_student_of_real_images_is_not_called_data_free(ended: Callable[..., Ended]) -> None:
    search = ended()
    search.record(DEFAULT)
    outcome = search.conclude()
    assert "the best data-free student" in description(search.running, outcome)
    space = search.running.space
    space.settings.experiment["synthesis"] = {"method": "real_images"}
    said = description(search.running, outcome)
    assert "the best student" in said and "learnt from real images (the training images)" in said


def test_a_limit_that_no_student_keeps_is_said(ended: Callable[..., Ended]) -> None:
    search = ended(extra=f"{TWO_OBJECTIVES}front: {{rule: limits, limits: {{size: 1000}}}}\n")
    search.record(DEFAULT, further__size=11_000)
    with pytest.raises(ValueError, match=r"no point of the front keeps size 1000 \(the best is 11000\)"):
        search.conclude()


def test_a_sensitive_search_ends_without_a_map_of_images_or_a_checkpoint(ended: Callable[..., Ended]) -> None:
    search = ended(extra="tracking: {profile: sensitive}\n")
    search.record(DEFAULT)
    outcome = search.conclude()
    running = search.running
    assert running.tracking.flush()
    client = import_mlflow().MlflowClient(running.tracking_uri)
    plots = {info.path for info in client.list_artifacts(running.tracking.parent_run_id, "plots")}
    assert "plots/confusion_matrix.html" in plots and "plots/embedding_map.html" not in plots
    obtain_probe_set(running.materials.teacher, running.folder.home)
    assert list(running.folder.path.glob("trials/*/*/*.pt"))
    remove_leftovers(running, outcome.choice)
    assert not list(running.folder.home.rglob("*.pt"))
    assert not list(running.folder.home.glob("probe_sets/*"))
    assert "cannot be removed" not in search.said.getvalue()


def test_a_student_is_of_the_epoch_that_it_was_chosen_by(ended: Callable[..., Ended]) -> None:
    """Its last checkpoint may be damaged: the one before it is another student."""
    search = ended()
    search.record(DEFAULT, epoch=99)
    with pytest.raises(
        ValueError, match=r"trial 1 was chosen by its epoch 100, .* of epoch \d+: the last one is damaged"
    ):
        search.conclude()
    assert versions_of(search.running) == []
