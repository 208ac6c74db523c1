"""Tables and plots of a finished search."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pyarrow.parquet as pq
import pytest

from dfkd.jobs import search_files
from dfkd.jobs.trial_records import TrialRecord
from dfkd.tracking.connection import import_mlflow


def test_a_table_or_plot_that_cannot_be_made_costs_a_line_and_not_the_student(
    ended: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    search = ended()
    search.record(search.default)

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
