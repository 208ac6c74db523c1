"""A comparison as people read it: files in its results folder, and a parent run with a child a run in MLflow."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from dfkd.cluster.worker import Report
from dfkd.comparison.leaderboard import make_leaderboard
from dfkd.comparison.plots import plots, side_by_side
from dfkd.comparison.results import COMPLETE, ResultsFolder, RunResult
from dfkd.comparison.table_file import parquet
from dfkd.comparison.tables import full_markdown, readme_markdown
from dfkd.config.comparison import Comparison
from dfkd.jobs.environment import commit, versions
from dfkd.settings.comparison import RunName
from dfkd.settings.identity import flatten, to_dict
from dfkd.tracking.mlflow_tracker import MlflowTracking
from dfkd.tracking.protocol import Tracker

SAMPLES = "samples"


class Reporter:
    """Tells MLflow of a comparison's runs, and keeps a picture of each row's first one.

    Args:
        comparison: what is compared.
        folder: of its results.
        tracking: of its runs.
        told_file: remembers which runs MLflow was told of.
    """

    def __init__(
        self, comparison: Comparison, folder: ResultsFolder, tracking: MlflowTracking, told_file: Path
    ) -> None:
        self._comparison, self._folder, self._tracking, self._told_file = comparison, folder, tracking, told_file
        self._told: list[str] = json.loads(told_file.read_text()) if told_file.exists() else []

    def open(self, comparison_id: str) -> Tracker:
        """Open the comparison's own run, and tell of results that MLflow never heard of."""
        settings = self._comparison.settings
        parent = self._tracking.open_parent(settings.name, comparison_id, {"dfkd.kind": "comparison"})
        parent.set_tags({"commit": commit()} | {f"version.{name}": version for name, version in versions().items()})
        parent.log_artifact("comparison.json", json.dumps(to_dict(settings), indent=1).encode())
        for result in self._folder.results():
            self.hear(result, [], None)
        return parent

    def hear(self, result: RunResult, reports: Sequence[Report], picture: bytes | None) -> None:
        """Record one run, unless it was recorded before."""
        if picture is not None and self._is_shown(result.run):
            file = self._folder.path / SAMPLES / f"{_row_file(result.run)}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(picture)
        name = f"{result.run}-{result.key}"
        if name in self._told:
            return
        child = self._tracking.open_child(name, str(result.run), {"dfkd.kind": "comparison run", "row": result.run.row})
        distilled = self._comparison.settings.methods[result.run.row].student == "distilled"
        unused = () if distilled else ("synthesis", "distillation", "label_embeddings")
        child.log_params(flatten({part: value for part, value in result.settings.items() if part not in unused}))
        tags = {"commit": "commit", "teacher_hash": "teacher"}  # by what a result file calls them
        child.set_tags({tag: str(result.made_with[name]) for tag, name in tags.items() if name in result.made_with})
        child.set_tags({"error": result.reason} if result.reason else {})
        for report in reports:
            metrics = {key: value for key, value in report.items() if "/" in key and not key.startswith("test/")}
            child.log_metrics(metrics, step=report["epoch"])
        self._tell_curve(child, result)
        if picture is not None:
            child.log_image("synthetic images", picture, step=len(reports) - 1)
        child.close("FINISHED" if result.status == COMPLETE else "FAILED")
        self._told.append(name)
        self._told_file.parent.mkdir(parents=True, exist_ok=True)
        self._told_file.write_text(json.dumps(self._told))

    def _tell_curve(self, child: Tracker, result: RunResult) -> None:
        for place, epoch in enumerate(result.curve.get("epoch", ())):
            point = {f"curve/{name}": values[place] for name, values in result.curve.items() if name != "epoch"}
            child.log_metrics(point, step=int(epoch))
        if result.status == COMPLETE:
            final = {f"test/{name}": value for name, value in result.test.items()}
            final |= {"best_epoch_on_test/score": result.best_epoch["score"]}
            for group in ("seconds", "macs", "peak_memory", "transfer", "teacher_transfer"):
                final |= {f"{group}/{name}": value for name, value in getattr(result, group).items()}
            child.log_metrics(final, step=int(result.curve["epoch"][-1]) if result.curve else 0)

    def _is_shown(self, run: RunName) -> bool:
        """Whether the run is its row's first, at the largest budget."""
        settings = self._comparison.settings
        seeds = settings.methods[run.row].seeds or settings.seeds
        (teacher, *_) = settings.teachers_of(seeds[0])
        return (run.teacher, run.seed, run.fraction) == (teacher, seeds[0], max(settings.fractions))

    def conclude(self, parent: Tracker) -> str:
        """Write the leaderboard into the results folder and the parent run; return it as Markdown."""
        settings = self._comparison.settings
        lines = make_leaderboard(settings, self._folder.results())
        text = full_markdown(settings, lines)
        files = {"leaderboard.md": text.encode(), "leaderboard.parquet": parquet(lines)}
        files |= {f"plots/{name}": content for name, content in plots(settings, lines).items()}
        if pictures := self._pictures():
            files["samples.png"] = side_by_side(pictures)
        for name, content in files.items():
            file = self._folder.path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            parent.log_artifact(name, content)
        # MLflow keeps the first 8,000 characters: all tables of twenty rows are longer.
        parent.set_description(f"Every table: `leaderboard.md` in the artifacts.\n\n{readme_markdown(settings, lines)}")
        return text

    def _pictures(self) -> dict[str, bytes]:
        """Return the pictures that there are, by what tables call their rows, in the order of the rows."""
        pictures = {}
        shown = {_row_file(result.run): result for result in self._folder.results() if self._is_shown(result.run)}
        for run in self._comparison.runs():
            file = self._folder.path / SAMPLES / f"{_row_file(run)}.png"
            if file.exists() and (result := shown.get(_row_file(run))) is not None:
                title = self._comparison.settings.methods[run.row].title or result.title
                pictures[f"{run.pair} {title}, {run.column}".strip()] = file.read_bytes()
        return pictures


def _row_file(run: RunName) -> str:
    return f"{run.pair}.{run.row}.{run.column}".removeprefix(".")
