from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dfkd.jobs.distillation_folder import RUN_FOLDER, known_storage, open_run_folder, pin_checkpoints
from dfkd.settings.experiment import ExperimentSettings


def test_a_name_belongs_to_its_settings(tiny_settings: Callable[..., ExperimentSettings], tmp_path: Path) -> None:
    """Else the checkpoints of other settings would be taken for this run's."""
    folder = open_run_folder(tmp_path / "mine", tiny_settings())
    assert open_run_folder(tmp_path / "mine", tiny_settings()) == folder == tmp_path / "mine"
    with pytest.raises(ValueError, match="--name: 'mine' was begun with other settings .*Take another name"):
        open_run_folder(tmp_path / "mine", tiny_settings(seed=1))


def test_a_run_goes_on_where_its_checkpoints_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    assert known_storage(folder) is None
    pin_checkpoints(folder, RUN_FOLDER)
    monkeypatch.setenv("DFKD_STORAGE", "s3://bucket/dfkd")
    assert known_storage(folder) is None  # it began at home, whatever the head says now
    with pytest.raises(
        ValueError, match="--storage: 'mine' keeps its checkpoints at 'its own folder', not at 's3://b/mine'"
    ):
        pin_checkpoints(folder, "s3://b/mine")
    other = tmp_path / "other"
    other.mkdir()
    assert known_storage(other) == "s3://bucket/dfkd"
    pin_checkpoints(other, "s3://bucket/dfkd/other")
    monkeypatch.delenv("DFKD_STORAGE")
    assert known_storage(other) == "s3://bucket/dfkd"
