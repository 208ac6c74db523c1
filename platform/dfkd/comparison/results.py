"""The results of a comparison on disk: one JSON file a run, and whose they are. Imports nothing heavy.

``comparison.json``  name, fingerprint and settings: a folder belongs to one comparison
``runs/<run>.json``  what a run gave, or why it failed
``costs.json``       what the parts of each row's runs cost, counted or timed once
``tuned.json``       searched values by row, with every trial
``samples/``         synthetic images of each row's first run
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfkd.settings.comparison import RunName
from dfkd.settings.identity import to_dict
from dfkd.settings.search import Scalar

if TYPE_CHECKING:
    from dfkd.config.comparison import Comparison

COMPLETE, FAILED = "complete", "failed"
Curve = dict[str, list[float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResult:
    """What one run gave.

    Attributes:
        run: which.
        key: of its settings and budget.
        status: ``complete`` or ``failed``.
        reason: why it failed.
        title: of the method.
        prior: what the method knows beside the teacher.
        num_classes: K.
        settings: as they were run, without places on somebody's machine.
        factor: by which scaling multiplied the row's lengths.
        notes: of scaling.
        macs: counted multiply-accumulates: ``warm_up``, ``synthesis``, ``distillation``, and ``total``.
        test: scores on the full test split after the last epoch.
        transfer: the student's scores by transfer column.
        teacher_transfer: the teacher's, of the columns that ask it too.
        best_epoch: the epoch whose score on the test split was highest, and that score.
        seconds: ``synthesis``, ``distillation``, their ``total``, and ``wall`` with evaluation and checkpoints.
        peak_memory: bytes of the process, and of the accelerator where there is one.
        parameters: of teacher and student.
        curve: by epoch: cumulative cost, validation score, and test score, which chooses nothing.
        made_with: commit, versions, hardware, the teacher's hash.
    """

    run: RunName
    key: str
    status: str
    reason: str | None = None
    title: str = ""
    prior: str = ""
    num_classes: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    factor: float = 1.0
    notes: tuple[str, ...] = ()
    macs: dict[str, float] = field(default_factory=dict)
    test: dict[str, float] = field(default_factory=dict)
    transfer: dict[str, float] = field(default_factory=dict)
    teacher_transfer: dict[str, float] = field(default_factory=dict)
    best_epoch: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    peak_memory: dict[str, float] = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)
    curve: Curve = field(default_factory=dict)
    made_with: dict[str, Any] = field(default_factory=dict)


class ResultsFolder:
    """The folder of one comparison.

    Args:
        path: made when something is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def claim(self, comparison: Comparison) -> None:
        """Note whose results these are, or check it.

        Raises:
            OSError: it cannot be written.
            ValueError: it holds those of another comparison, or a run's under other settings.
        """
        self.check(comparison)
        facts = {"id": f"{comparison.settings.name}-{time.strftime('%Y%m%d-%H%M%S')}"} | self.facts()
        facts |= {"fingerprint": comparison.fingerprint(), "settings": _without_folders(to_dict(comparison.settings))}
        self._write("comparison.json", facts)

    def check(self, comparison: Comparison) -> None:
        """Raise ValueError unless every result here is one of this comparison, under the settings that it has now."""
        facts = self.facts()
        if self.path.exists() and not facts and any(self.path.iterdir()):
            raise ValueError(f"--results: '{self.path}' holds other files and no comparison. Give an empty folder.")
        if facts and facts["fingerprint"] != comparison.fingerprint():
            raise ValueError(
                f"--results: '{self.path}' holds the comparison '{facts['settings']['name']}' with other data, pairs, "
                "budget, score or transfer columns, and results of two are not mixed. Give another folder, or restore "
                "the settings."
            )
        wanted = {str(run): run for run in comparison.runs()}
        for file in self._run_files():
            run = wanted.get(file.stem)
            if run is None:
                raise ValueError(
                    f"--results: '{file}' is no run of {comparison.where}. Put its row, seed, teacher or budget back, "
                    "or take the file away."
                )
            if run.column == "tuned" and run.row not in comparison.tuned:
                raise ValueError(f"--results: '{file}' was run with tuned values, and there are none any more.")
            if json.loads(file.read_text())["key"] != comparison.key(run):
                raise ValueError(
                    f"--results: '{file}' was run under other settings than '{run.row}' has now in {comparison.where}. "
                    "Take the file away to run it anew, or restore the settings."
                )

    def facts(self) -> dict[str, Any]:
        """Return what ``comparison.json`` holds; nothing where there is none."""
        return self._read("comparison.json")

    def has(self, run: RunName) -> bool:
        """Whether this run has ended, well or not."""
        return self._file_of(run).exists()

    def write(self, result: RunResult) -> None:
        """Keep what a run gave."""
        self._write(f"runs/{result.run}.json", asdict(result))

    def forget(self, run: RunName) -> None:
        """Remove the result of a run, so that it runs again."""
        self._file_of(run).unlink()

    def results(self) -> list[RunResult]:
        """Return every result, in the order of the files' names."""
        results = []
        for file in self._run_files():
            plain = json.loads(file.read_text())
            notes = tuple(plain.pop("notes"))
            results.append(RunResult(**plain | {"run": RunName(**plain["run"]), "notes": notes}))
        return results

    def costs(self) -> dict[str, Any]:
        """Return the known costs of parts by the key of their row on a pair."""
        return self._read("costs.json")

    def note_costs(self, costs: Mapping[str, Any]) -> None:
        """Keep the costs of parts: a comparison that goes on must not scale its rows anew."""
        self._write("costs.json", dict(costs))

    def note_tuned(self, tuned: Mapping[str, Any]) -> None:
        """Keep searched values and their trials."""
        self._write("tuned.json", dict(tuned))

    def tuned(self) -> dict[str, Any]:
        """Return what ``tuned.json`` holds; nothing where there is none."""
        return self._read("tuned.json")

    def _run_files(self) -> list[Path]:
        return sorted((self.path / "runs").glob("*.json"))

    def _file_of(self, run: RunName) -> Path:
        return self.path / "runs" / f"{run}.json"

    def _read(self, name: str) -> dict[str, Any]:
        file = self.path / name
        content: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        return content

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a file, one line a key, so that a difference can be read; it is whole at any moment."""
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in content.items())
        partial = file.with_suffix(".partial")
        partial.write_text(f"{{\n{lines}\n}}\n")
        os.replace(partial, file)


def tuned_values(tuned: Mapping[str, Any]) -> dict[str, dict[str, Scalar]]:
    """Return the searched values by row from the content of a ``tuned.json``; of rows whose search has ended."""
    return {row: entry["params"] for row, entry in tuned.items() if entry.get("params") is not None}


def _without_folders(plain: Any) -> Any:
    """Return plain values in which absolute paths are cut to their last part: results travel."""
    if isinstance(plain, dict):
        return {key: _without_folders(value) for key, value in plain.items()}
    if isinstance(plain, list):
        return [_without_folders(value) for value in plain]
    is_place = isinstance(plain, str) and plain.startswith(("/", "~"))
    return Path(plain).name if is_place else plain
