"""The files of a finished search's run: its tables and plots. Each is made on its own, and may fail on its own."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dfkd.jobs.console import first_line
from dfkd.jobs.embedding_map import embedding_map
from dfkd.jobs.front import FRONT_FILE, front_parquet
from dfkd.jobs.running import Running
from dfkd.jobs.trial_records import TrialRecord
from dfkd.search.front import Front
from dfkd.settings.experiment import ExperimentSettings


def search_files(
    running: Running,
    settings: ExperimentSettings,
    state: Mapping[str, Any],
    confusion: list[list[int]],
    front: Front | None = None,
) -> dict[str, Callable[[], Mapping[str, bytes]]]:
    """Return what makes the parent run's files, by what they are.

    Args:
        running: the search.
        settings: of the chosen trial.
        state: its checkpoint.
        confusion: its student's confusion matrix [K][K] on the test split; empty without labels.
        front: of a search with several objectives.
    """
    files: dict[str, Callable[[], Mapping[str, bytes]]] = {
        "table of trials": lambda: {"trials.parquet": trial_parquet(running.records.all())},
        "plots of the study": lambda: study_plots(running),
        "table of the front": lambda: {FRONT_FILE: front_parquet(running, front)} if front else {},
        "confusion matrix": lambda: confusion_plot(confusion, running.materials.teacher.class_names),
    }
    if not running.space.settings.tracking.is_sensitive:
        files["map of synthetic images"] = lambda: embedding_map(settings, running.materials, state)
    return files


def trial_parquet(records: list[TrialRecord]) -> bytes:
    """Return every trial with its settings and last metrics as one Parquet table.

    A column of Parquet has one type: where a setting's values have several, as ``[1, auto]``, all are text.
    """
    rows = [
        {"trial": r.number + 1, "key": r.key, "workers": r.workers, "default": r.is_default, "status": r.status}
        | {"error": r.error, "seconds": r.seconds, "startup_seconds": r.startup_seconds, "device": r.device}
        | {f"settings/{path}": value for path, value in r.params.items()}
        | dict(r.metrics)
        for r in records
    ]
    names = dict.fromkeys(name for row in rows for name in row)
    table = pa.table({name: _column([row.get(name) for row in rows]) for name in names})
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def _column(values: list[Any]) -> list[Any]:
    types = {type(value) for value in values if value is not None}
    if len(types) < 2 or types == {int, float}:
        return values
    return [None if value is None else str(value) for value in values]


def study_plots(running: Running) -> dict[str, bytes]:
    """Return Optuna's interactive plots; a plot that a small study cannot fill is left out with a note."""
    import optuna
    from optuna.visualization import (
        plot_optimization_history,
        plot_parallel_coordinate,
        plot_param_importances,
        plot_pareto_front,
    )

    from dfkd.search.optuna_space import study_storage

    storage = study_storage(running.folder.path / "optuna.db")
    study = optuna.load_study(study_name=running.folder.search_id, storage=storage)
    names = list(running.space.settings.goals)
    own: dict[str, Any] = {}
    plots: dict[str, Any] = {
        "optimization_history": plot_optimization_history,
        "parameter_importance": plot_param_importances,
        "parallel_coordinates": plot_parallel_coordinate,
    }
    if len(names) > 1:  # of several objectives those plots show the search's own; Optuna asks for that in so many words
        own = {"target": lambda trial: trial.values[0], "target_name": names[0]}
        plots["pareto_front"] = lambda study, **_: plot_pareto_front(study, target_names=names)
    files: dict[str, bytes] = {}
    for name, plot in plots.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                files[f"plots/{name}.html"] = plot(study, **own).to_html(include_plotlyjs=True).encode()
        except (ValueError, RuntimeError) as error:  # importance needs trials that differ
            running.console.say(f"no plot '{name}': {first_line(error)}")
    return files


def confusion_plot(matrix: list[list[int]], class_names: Sequence[str]) -> dict[str, bytes]:
    """Return the student's confusion matrix [K][K] on the test split, drawn and in numbers; no empty one."""
    import plotly.graph_objects as go

    if not matrix:
        return {}
    names = list(class_names)
    figure = go.Figure(go.Heatmap(z=matrix, x=names, y=names, colorscale="Blues", text=matrix, texttemplate="%{text}"))
    figure.update_layout(
        title="Test split: true class (rows) against the student's prediction (columns)",
        xaxis_title="predicted",
        yaxis_title="true",
        yaxis_autorange="reversed",
    )
    return {
        "plots/confusion_matrix.html": figure.to_html(include_plotlyjs=True).encode(),
        "confusion_matrix.json": json.dumps({"classes": names, "matrix": matrix}).encode(),
    }
