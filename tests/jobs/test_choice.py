from __future__ import annotations

import pytest

from dfkd.jobs.choice import trial_score
from dfkd.jobs.trial_records import TrialRecord


@pytest.mark.parametrize(
    ("agreement", "share", "collapsed"),
    [(0.03, 0.3, True), (0.1, 0.3, True), (0.12, 0.3, True), (0.13, 0.3, False), (0.9, 0.89, False), (0.9, 0.91, True)],
)
def test_a_student_no_better_than_chance_or_of_one_class_has_collapsed(
    agreement: float, share: float, collapsed: bool
) -> None:
    metrics = {"probe/agreement": agreement, "probe/top_class_share": share}
    record = TrialRecord(key="a", number=0, params={}, workers=1, seed=0, is_default=False, metrics=metrics)
    assert trial_score(record, "probe/agreement", num_classes=10).collapsed is collapsed
