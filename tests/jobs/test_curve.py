from __future__ import annotations

import json
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
