"""``Comparison``: a YAML file of ``benchmarks/comparisons/`` as checked settings, and a run's name -> its experiment.

Imports nothing heavy: a mistake in the file is told before torch, Ray or MLflow are loaded.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dfkd.config.experiment import SCHEDULE, apply_schedule, experiment_settings
from dfkd.config.raw import Raw, apply_overrides, merge, set_path
from dfkd.config.type_hints import field_hints
from dfkd.config.validation import SettingsError, load_settings
from dfkd.config.yaml_reader import read_yaml
from dfkd.settings.comparison import REVISION, SCORES, ComparisonSettings, Overlay, RunName, ShrinkSettings
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.identity import settings_key, shareable, to_dict
from dfkd.settings.objectives import ComparedObjective
from dfkd.settings.schedules import SCHEDULES
from dfkd.settings.search import Scalar


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """A comparison: its settings, and every run that it consists of.

    Attributes:
        settings: as in the file, with the overrides in ``settings.experiment``.
        where: the file, for messages.
        tuned: searched values by row, where there are any yet.
    """

    settings: ComparisonSettings
    where: str
    tuned: Mapping[str, Mapping[str, Scalar]] = field(default_factory=dict)

    @property
    def pairs(self) -> tuple[str, ...]:
        """The names of the pairs."""
        return tuple(self.settings.pairs) or ("",)  # the experiment's own

    @property
    def tuned_rows(self) -> tuple[str, ...]:
        """The rows that have a column of tuned values."""
        return tuple(name for name, row in self.settings.methods.items() if "tuned" in row.columns)

    def runs(self) -> Iterator[RunName]:
        """Yield every run; what needs all methods at one budget comes before the next budget, the largest first."""
        settings = self.settings
        for pair in self.pairs:
            for fraction in sorted(settings.fractions, reverse=True):
                seeds = {seed: None for row in settings.methods.values() for seed in row.seeds or settings.seeds}
                for seed in seeds:
                    for teacher in settings.teachers_of(seed):
                        for name, row in settings.methods.items():
                            if row.student != "distilled" and fraction < max(settings.fractions):
                                continue
                            share = fraction if row.student == "distilled" else 1.0  # no budget changes it
                            for column in row.columns if seed in (row.seeds or settings.seeds) else ():
                                yield RunName(
                                    pair=pair, fraction=share, row=name, column=column, teacher=teacher, seed=seed
                                )

    def experiments(self) -> list[ExperimentSettings]:
        """Return one experiment of every pair: what a command's surroundings must have."""
        row, seed = next(iter(self.settings.methods)), self.settings.seeds[0]
        (teacher, *_) = self.settings.teachers_of(seed)
        return [self.resolve(row, pair=pair, teacher=teacher, seed=seed) for pair in self.pairs]

    def experiment(self, run: RunName) -> ExperimentSettings:
        """Return a run's settings before they are scaled to its budget.

        Raises:
            SettingsError: they are not valid, or the run is of the column "tuned" and nothing is tuned yet.
        """
        params: Mapping[str, Scalar] = {}
        if run.column == "tuned":
            if run.row not in self.tuned:
                raise SettingsError(self.where, [f"methods.{run.row}: has no tuned values yet. Run --tune first."])
            params = self.tuned[run.row]
        return self.resolve(run.row, pair=run.pair, teacher=run.teacher, seed=run.seed, params=params)

    def resolve(
        self, row: str, *, pair: str, teacher: int, seed: int, params: Mapping[str, Scalar] | None = None
    ) -> ExperimentSettings:
        """Return a row's settings on one pair, before they are scaled to a budget.

        Args:
            row: its name.
            pair: its name.
            teacher: the teacher's training seed.
            seed: of everything else.
            params: dotted path -> value, on top.

        Raises:
            SettingsError: they are not valid.
        """
        base = lay_over(self.settings.experiment, self.settings.pairs.get(pair, {}))
        raw = preset_experiment(base, self.settings.methods[row].preset)
        if self.settings.methods[row].preset is not None:
            raw = lay_over(raw, shrunk(experiment_settings(raw, self.where), self.settings.shrink))
        raw = lay_over(lay_over(raw, self.settings.methods[row].settings), params or {})
        settings = experiment_settings(set_path(raw, "seed", seed), self.where)
        training = dataclasses.replace(settings.teacher.training, seed=teacher)
        return dataclasses.replace(settings, teacher=dataclasses.replace(settings.teacher, training=training))

    def key(self, run: RunName) -> str:
        """Return what is equal for runs that would be the same; where their data lie plays no part."""
        parts = {
            "experiment": without_places(self.experiment(run)),
            "budget": to_dict(self.settings.budget),
            "fraction": run.fraction,
        }
        if (student := self.settings.methods[run.row].student) != "distilled":
            parts = {"experiment": parts["experiment"], "student": student}  # whatever the budget
        if self.settings.transfer:
            parts["transfer"] = {name: task_identity(column) for name, column in self.settings.transfer.items()}
        return settings_key(parts | {"revision": REVISION})

    def fingerprint(self) -> str:
        """Return what all results in one folder have in common: name, data, tasks, pairs, budget, shrinking, score.

        Rows, seeds, teachers and fractions may be added to a comparison; every run has a key of its own.
        """
        base = experiment_settings(self.settings.experiment, self.where)
        shared = {name: without_places(base)[name] for name in ("dataset", "teacher", "student", "tasks")}
        parts = ("name", "pairs", "budget", "score", "shrink")
        if self.settings.transfer:
            shared["transfer"] = {name: task_identity(column) for name, column in self.settings.transfer.items()}
        return settings_key({**shared, **{name: to_dict(self.settings)[name] for name in parts}})


def without_places(settings: ExperimentSettings) -> dict[str, Any]:
    """Return an experiment's settings as plain values, without what differs between machines."""
    plain = shareable(settings)
    plain["dataset"]["path"] = plain["device"] = None
    plain["synthesis"].pop("path", None)  # of some methods
    return plain


def task_identity(column: ComparedObjective) -> dict[str, Any]:
    """Return a transfer column as plain values, without where its data lie."""
    plain = to_dict(column)
    if "by" in plain:  # one on the experiment's own images has no data of its own
        plain["by"]["dataset"].pop("path", None)
    return plain


def with_types(columns: object) -> object:
    """Return the plain values of transfer columns, where one that says `by` and no `type` is of type ``transfer``."""
    if not isinstance(columns, Mapping):
        return columns
    return {
        name: {"type": "transfer", **column} if isinstance(column, Mapping) and "by" in column else column
        for name, column in columns.items()
    }


def preset_experiment(base: Raw, preset: str | None) -> Raw:
    """Return the experiment with a preset on top, as plain values; nothing of another student's training is left."""
    raw = apply_schedule(base) if SCHEDULE in base else dict(base)
    if preset is None:
        return raw
    return lay_over(raw, SCHEDULES[preset]) | {"distillation": SCHEDULES[preset]["distillation"]}


def shrunk(settings: ExperimentSettings, shrink: ShrinkSettings) -> Overlay:
    """Return what shrinking changes in a preset, by dotted path."""
    distillation, synthesis = settings.distillation, settings.synthesis
    changes: Overlay = {
        "distillation.batch_size": math.ceil(distillation.batch_size / shrink.batch_sizes),
        "distillation.learning_rate": distillation.learning_rate / math.sqrt(shrink.batch_sizes),
    }
    if hasattr(synthesis, "batch_size"):
        changes["synthesis.batch_size"] = math.ceil(synthesis.batch_size / shrink.batch_sizes)
    for network in ("generator", "memory"):  # the memory is a generator too (PRE-DFKD)
        if hasattr(synthesis, network):
            width = math.ceil(getattr(synthesis, network).width / shrink.generator_width)
            changes[f"synthesis.{network}.width"] = width
    return changes


def lay_over(raw: Mapping[str, Any], overlay: Overlay | Mapping[str, Scalar]) -> Raw:
    """Return plain values with an overlay on top.

    What a dotted path leads to is replaced. A whole part, such as ``distillation: {epochs: 3}``, is merged, except that
    a ``synthesis`` with a ``method`` takes the place of another method's.
    """
    changed = dict(raw)
    for path, value in overlay.items():
        below = changed.get(path)
        if isinstance(value, Mapping) and isinstance(below, Mapping) and "method" not in value:
            changed[path] = merge(below, value)
        else:
            changed = set_path(changed, path, value)
    return changed


def load_comparison(path: str | Path, overrides: Iterable[str] = ()) -> Comparison:
    """Return the comparison that a file describes, with the settings of every row checked.

    Args:
        path: a YAML file.
        overrides: ``path=value`` of the command line, into the file's ``experiment``, or into the comparison where the
            path begins with a setting of its own, such as ``methods``.

    Raises:
        ValueError: with file and line where the file is no YAML mapping; a ``SettingsError`` with every problem of its
            settings otherwise.
    """
    where, raw, own = str(path), read_yaml(path), field_hints(ComparisonSettings)
    for override in overrides:
        if override.split(".")[0].split("=")[0] in own:
            raw = apply_overrides(raw, [override])
        elif isinstance(raw.get("experiment"), Mapping):
            raw["experiment"] = apply_overrides(raw["experiment"], [override])
    if "transfer" in raw:
        raw["transfer"] = with_types(raw["transfer"])
    comparison = Comparison(settings=load_settings(ComparisonSettings, raw, where=where), where=where)
    problems = [
        problem
        for row in comparison.settings.methods
        for pair in comparison.pairs
        for problem in _problems(comparison, row, pair)
    ]
    if problems:
        raise SettingsError(where, problems)
    return comparison


def _problems(comparison: Comparison, row: str, pair: str) -> list[str]:
    """Return what is wrong with a row on a pair."""
    settings = comparison.settings
    (teacher, *others), seed = settings.teachers_of(settings.seeds[0]), settings.seeds[0]
    try:
        resolved = comparison.resolve(row, pair=pair, teacher=teacher, seed=seed)
    except ValueError as error:
        problems = error.problems if isinstance(error, SettingsError) else (str(error),)
        return [f"methods.{row}: {problem}" for problem in problems]
    found = []
    if resolved.workers != 1:
        found.append(f"experiment.workers: every run of a comparison has one worker, got {resolved.workers}.")
    for task in {"accuracy", "agreement", SCORES[settings.score][0].split("/")[0]} - set(resolved.tasks):
        found.append(f"experiment.tasks: expected '{task}' among them; tables need it.")
    if resolved.teacher.weights is not None and (others or settings.teacher_per_seed):
        found.append("teachers: a teacher that is given by its weights has no training seeds; give one.")
    return found
