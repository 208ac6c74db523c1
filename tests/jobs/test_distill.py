from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dfkd.jobs.distill import open_run_folder
from dfkd.settings.experiment import ExperimentSettings


def test_a_name_belongs_to_its_settings(tiny_settings: Callable[..., ExperimentSettings], tmp_path: Path) -> None:
    """Else the checkpoints of other settings would be taken for this run's."""
    folder = open_run_folder(tmp_path / "mine", tiny_settings())
    assert open_run_folder(tmp_path / "mine", tiny_settings()) == folder == tmp_path / "mine"
    with pytest.raises(ValueError, match="--name: 'mine' was begun with other settings .*Take another name"):
        open_run_folder(tmp_path / "mine", tiny_settings(seed=1))
