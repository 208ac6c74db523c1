"""The end of a search: its student is judged and registered once, or it is said why not."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import pytest

from dfkd.jobs import story
from dfkd.jobs.last_screen import last_screen
from dfkd.jobs.leftovers import remove_leftovers
from dfkd.jobs.outcome_file import outcome_as_json
from dfkd.jobs.probe_cache import probe_hash
from dfkd.tracking.connection import import_mlflow


def test_a_better_student_of_another_architecture_is_judged_and_registered_once(ended: Callable[..., Any]) -> None:
    search = ended()
    search.record(search.default)
    search.record(search.wider, probe__agreement=1.0)
    search.record(search.faster, probe__agreement=0.2)
    first = search.conclude()
    assert first.choice.record.params == search.wider
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
    assert search.versions() == ["1"]
    assert search.said.getvalue().count("judging it on the test split, once") == 1
    screen = last_screen(again, tracking_uri=search.running.tracking_uri, run_url="", seconds=1.0)
    assert "architecture resnet8" in screen
    assert "noise floor" not in screen  # none was run
    floored = dataclasses.replace(again, floor_scores={"accuracy/top1": 0.25})
    screen = last_screen(floored, tracking_uri=search.running.tracking_uri, run_url="", seconds=1.0)
    assert re.search(r"noise floor +25\.0 %   KD on random noise, default settings' student steps", screen)
    assert '"regret_chosen": 0.0' in outcome_as_json(search.running, again, seconds=1.0)


def test_another_winner_of_the_same_search_is_judged_and_registered_too(ended: Callable[..., Any]) -> None:
    search = ended()
    search.record(search.default)
    search.conclude()
    search.record(search.faster, probe__agreement=1.0)
    second = search.conclude()
    assert second.registered.uri == "models:/tiny/2"
    assert "scored on it once, for this table, as the 2nd of 2 students of this search" in story.test_table(second)
    assert "as the 2nd of 2 students of this search, which went on" in search.card(second)
    search.record(search.faster, probe__agreement=0.2)  # so the first one is chosen again
    again = search.conclude()
    assert again.registered.uri == "models:/tiny/1"
    assert "as the 1st of 2 students of this search" in story.test_table(again)
    assert search.versions() == ["1", "2"]
    said = search.said.getvalue()
    assert said.count("judging it on the test split, once") == 2
    assert said.count("judging it on the test split, once, as the 2nd student of this search") == 1


@pytest.mark.parametrize("metric", ["agreement", "kl", "val_accuracy"])
def test_a_version_says_which_exam_its_value_is_of(ended: Callable[..., Any], metric: str) -> None:
    search = ended(metric)
    search.record(search.default, probe__kl=0.5)
    search.conclude()
    materials = search.running.materials
    assert materials.probe is not None and materials.validation is not None
    exams = {"val_accuracy": materials.validation.fingerprint()}
    client = import_mlflow().MlflowClient(search.running.tracking_uri)
    version = client.get_model_version("tiny", "1")
    assert version.tags["exam_hash"] == exams.get(metric, probe_hash(materials.probe))


def test_without_a_finished_trial_the_first_error_is_told(ended: Callable[..., Any]) -> None:
    search = ended()
    search.record(search.default)
    (record,) = search.running.records.all()
    search.running.records.save(dataclasses.replace(record, status="failed", error="epoch 1: kd is nan"))
    with pytest.raises(ValueError, match="none of 1 trials ran to its end .* The first error, of trial 1: epoch 1: kd"):
        search.conclude()


def test_a_student_that_cannot_be_registered_waits_for_the_next_end(
    ended: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    search = ended()
    search.record(search.default)
    there, away = search.running, dataclasses.replace(search.running, tracking_uri="http://127.0.0.1:9")
    search.running = away
    with pytest.raises(ConnectionError, match=r"is not registered: (.|\n)*--resume registers it"):
        search.conclude()
    search.running = there
    assert (there.folder.path / "student.safetensors").exists()
    assert "dfkd.chosen" not in search.tags()
    assert search.conclude().registered.uri == "models:/tiny/1"
    (record,) = there.records.all()
    assert search.tags()["dfkd.chosen"] == record.key
    assert search.said.getvalue().count("judging it on the test split, once") == 1


def test_a_student_is_of_the_epoch_that_it_was_chosen_by(ended: Callable[..., Any]) -> None:
    """Its last checkpoint may be damaged: the one before it is another student."""
    search = ended()
    search.record(search.default, epoch=99)
    with pytest.raises(
        ValueError, match=r"trial 1 was chosen by its epoch 100, .* of epoch \d+: the last one is damaged"
    ):
        search.conclude()
    assert search.versions() == []
