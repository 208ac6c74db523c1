from __future__ import annotations

from pathlib import Path

from dfkd.jobs.trial_records import TrialRecord, TrialRecords


def record(key: str, number: int) -> TrialRecord:
    return TrialRecord(
        key=key,
        number=number,
        params={"distillation.learning_rate": 0.1 + 0.2, "synthesis.contrast.kind": "bank", "flag": True, "none": None},
        workers=2,
        seed=0,
        is_default=number == 0,
        status="complete",
        metrics={"probe/agreement": 1 / 3, "epoch": 2, "finished": True},
        seconds=1.5,
    )


def test_records_come_back_as_they_were_in_the_order_of_starting(tmp_path: Path) -> None:
    records = TrialRecords(tmp_path / "records")
    for key, number in (("b", 0), ("a", 1), ("c", 2)):
        records.save(record(key, number))
    again = TrialRecords(tmp_path / "records")
    assert again.all() == [record("b", 0), record("a", 1), record("c", 2)]
    assert again.get("a") == record("a", 1)
    assert again.get("d") is None
    assert len(again) == 3


def test_a_record_that_is_saved_again_replaces_the_first(tmp_path: Path) -> None:
    records = TrialRecords(tmp_path)
    records.save(record("a", 0))
    changed = record("a", 0)
    changed.status, changed.error = "failed", "epoch 1: distillation/kd is nan"
    records.save(changed)
    assert TrialRecords(tmp_path).all() == [changed]


def test_a_trial_that_ended_for_the_study_has_ended_here_too(tmp_path: Path) -> None:
    """The driver tells the study first; one that is killed in between leaves a record that says "running"."""
    records = TrialRecords(tmp_path)
    for number, (finished, rate) in enumerate([(True, 0.1), (False, 0.2), (True, 0.3)]):
        left = record(str(number), number)
        left.params = left.params | {"distillation.learning_rate": rate}
        left.status, left.metrics = "running", left.metrics | {"finished": finished}
        records.save(left)
    ended, lost, unsettled = records.all()
    records.settle([dict(ended.params), dict(lost.params)])
    assert [each.status for each in TrialRecords(tmp_path).all()] == ["complete", "failed", "running"]
    assert TrialRecords(tmp_path).all()[1].error == "it ended as its search did; the reason is lost"
    assert unsettled.error is None


def test_a_trial_that_was_stopped_early_for_the_study_was_stopped_here_too(tmp_path: Path) -> None:
    records = TrialRecords(tmp_path)
    left = record("a", 0)
    left.status, left.metrics = "running", left.metrics | {"finished": False}
    records.save(left)
    records.settle([dict(left.params)], stopped=[dict(left.params)])
    (settled,) = TrialRecords(tmp_path).all()
    assert (settled.status, settled.error) == ("stopped", None)


def test_a_file_that_was_cut_off_while_it_was_written_is_no_record(tmp_path: Path) -> None:
    TrialRecords(tmp_path).save(record("a", 0))
    (tmp_path / "b.partial").write_text('{"key": "b", "num')
    assert TrialRecords(tmp_path).all() == [record("a", 0)]


def test_not_a_number_survives(tmp_path: Path) -> None:
    broken = record("a", 0)
    broken.metrics["distillation/kd"] = float("nan")
    TrialRecords(tmp_path).save(broken)
    value = TrialRecords(tmp_path).all()[0].metrics["distillation/kd"]
    assert value != value
