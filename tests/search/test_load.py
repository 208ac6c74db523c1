from __future__ import annotations

from pathlib import Path

import pytest

from dfkd.config import SettingsError
from dfkd.search.load import load_space

SMOKE = str(Path(__file__).parents[2] / "search_spaces" / "smoke.yaml")


def test_the_number_of_trials_of_the_command_wins() -> None:
    assert load_space(SMOKE, []).settings.trials == 2
    assert load_space(SMOKE, [], trials=7).settings.trials == 7
    with pytest.raises(ValueError, match="trials: expected a number of at least 1"):
        load_space(SMOKE, [], trials=0)


def test_one_trial_leaves_nothing_to_search_beside_the_check_with_two_workers(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="trials: 1 of 1 .*Give at least 2, or leave them out with `work"):
        load_space(SMOKE, [], trials=1)
    assert load_space(SMOKE, ["workers=2"], trials=1).settings.trials == 1  # no check is run here
    file = tmp_path / "space.yaml"
    file.write_text(Path(SMOKE).read_text() + "workers_check: false\n")
    assert load_space(str(file), [], trials=1).settings.trials == 1


def test_batches_must_split_over_the_two_workers_of_the_check(tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match="experiment.synthesis.batch_size: 41 images .* over 2 workers.*`workers_check: false`"
    ):
        load_space(SMOKE, ["synthesis.batch_size=41"])
    file = tmp_path / "space.yaml"
    file.write_text(Path(SMOKE).read_text() + "workers_check: false\n")
    load_space(str(file), ["synthesis.batch_size=41"])
