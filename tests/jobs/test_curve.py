from __future__ import annotations

import json
import time
from pathlib import Path

from dfkd.jobs.curve import Curve


def test_a_run_that_goes_on_has_the_points_of_before(tmp_path: Path) -> None:
    first = Curve(tmp_path / "curve.json")
    assert (first.num_epochs, first.seconds) == (0, 0.0)
    first.start()
    for epoch in range(3):
        first.add(epoch, {"loss": float(epoch)})
    again = Curve(tmp_path / "curve.json")
    assert again.points == first.points
    again.start()
    again.add(1, {"loss": 10.0})  # from the checkpoint after epoch 0
    assert [point["loss"] for point in again.points] == [0.0, 10.0]
    assert again.num_epochs == 2
    assert json.loads((tmp_path / "curve.json").read_text()) == again.points
    assert first.points[2]["seconds"] <= again.points[1]["seconds"]


def test_an_epoch_that_is_told_again_keeps_its_time_and_the_end_of_a_run_its_seconds(tmp_path: Path) -> None:
    first = Curve(tmp_path / "curve.json")
    first.start()
    for epoch in range(2):
        first.add(epoch, {"loss": float(epoch), "undefined": float("nan")})
    for _ in range(2):
        again = Curve(tmp_path / "curve.json")
        again.start()
        time.sleep(0.01)
        again.add(1, {"loss": 1.0, "undefined": float("nan")})
        assert again.points[1]["seconds"] == first.points[1]["seconds"]
        assert again.seconds == first.seconds
    again.add(0, {"loss": 0.0, "undefined": float("nan")})  # from an older checkpoint: what follows is to come again
    again.add(1, {"loss": 2.0})
    assert [point["loss"] for point in again.points] == [0.0, 2.0]
