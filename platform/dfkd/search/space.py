"""``SearchSpace``: a YAML file of ``search_spaces/`` as checked settings, and parameters -> a whole experiment.

Imports nothing heavy: a mistake in the file is told before torch, Ray, MLflow or Optuna are loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dfkd.config import (
    SettingsError,
    experiment_settings,
    look_up,
    read_yaml,
    set_path,
    settings_key,
    to_dict,
)
from dfkd.search.corners import corner_problems, corners, default_value
from dfkd.search.experiment_file import BESIDE_EXPERIMENT, check_file
from dfkd.settings.checks import did_you_mean
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.search import OBJECTIVE_TASKS, ObjectiveSettings, Scalar, SearchSettings

#: Parts that all trials of a search share: the teacher and with it the probe set, what a trial is judged by, where it
#: runs, and the seed, of which the luckiest would win.
SHARED_PARTS = ("dataset", "teacher", "tasks", "workers", "device", "seed")
SAME_STUDENTS = ("dataset.path", "dataset.title", "device", "seed", "tasks")  # overrides that make no other ones
CHECK_WORKERS = 2  # of the run that holds data-parallel training against a single worker


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchSpace:
    """A search: the fixed part, the ranges and how it is run.

    Attributes:
        settings: as in the file, with the overrides in ``settings.experiment``.
        where: the file, for messages.
        changed: paths of overrides that may make other students of the file's settings.
    """

    settings: SearchSettings
    where: str
    changed: tuple[str, ...] = ()

    @property
    def base(self) -> dict[str, Any]:
        """The fixed part, as plain values."""
        return self.settings.experiment

    def resolve(self, params: Mapping[str, Scalar]) -> ExperimentSettings:
        """Return the complete settings of a trial.

        Args:
            params: dotted path -> value; a searched path that is absent keeps the fixed part's value.

        Raises:
            SettingsError: a path is not searched, or a value is not valid where it stands.
        """
        raw = self.base
        for path, value in params.items():
            if path not in self.settings.parameters:
                hint = did_you_mean(path, self.settings.parameters)
                raise SettingsError(self.where, [f"{path}: is no parameter of this search.{hint}"])
            try:
                raw = set_path(raw, path, value)
            except ValueError as error:
                raise SettingsError(self.where, [str(error)]) from None
        return experiment_settings(raw, self.where)

    def defaults(self) -> dict[str, Scalar]:
        """Return the fixed part's own value at each searched path: the first trial.

        Raises:
            SettingsError: a default lies outside its range.
        """
        plain = {**to_dict(self.resolve({})), "schedule": self.base.get("schedule")}
        values: dict[str, Scalar] = {}
        problems = []
        for path, parameter in self.settings.parameters.items():
            try:
                values[path] = default_value(parameter, look_up(plain, path))
            except ValueError as error:
                problems.append(f"parameters.{path}: {error}")
        if problems:
            raise SettingsError(self.where, problems)
        return values

    def corner_settings(self) -> Iterator[ExperimentSettings]:
        """Yield the experiment with each parameter alone moved to each of its corners."""
        for path, parameter in self.settings.parameters.items():
            for value in corners(parameter):
                yield self.resolve({path: value})

    @property
    def told(self) -> SearchSpace:
        """The same search as anybody may read it: without class names where its profile is sensitive."""
        experiment, told = self.base, self.settings.tracking.told(self.resolve({}))
        for part, names in {"dataset": told.dataset.class_names, "teacher": told.teacher.class_names}.items():
            if names is not None:
                experiment = set_path(experiment, f"{part}.class_names", list(names))
        return replace(self, settings=replace(self.settings, experiment=experiment))

    @property
    def checks_workers(self) -> bool:
        """Whether the default settings also run with two workers: wanted, and no worker count of the search itself."""
        return self.settings.workers_check and self.resolve({}).workers == 1

    @property
    def reserved_trials(self) -> int:
        """How many trials run the fixed part to be compared with, and not to be chosen: other workers, other seeds."""
        return self.checks_workers + self.settings.seed_repeats

    @property
    def key(self) -> str:
        """A short key that is equal for searches whose trials can be compared.

        It covers the fixed part, the ranges, the objective and early stopping; not the number of trials, the sampler
        or anything that may change when a search goes on.
        """
        plain = to_dict(self.settings)
        parts = {name: plain[name] for name in ("parameters", "objective", "early_stopping")}
        parts["objective"]["direction"] = self.settings.objective.goal
        if self.settings.further_objectives:
            parts["further_objectives"] = plain["further_objectives"]
        return settings_key({**parts, "experiment": to_dict(self.resolve({}))})


def load_search_space(path: str | Path, overrides: Iterable[str] = ()) -> SearchSpace:
    """Return the search that a file describes, with every corner of it checked.

    Args:
        path: a YAML file.
        overrides: ``path=value`` of the command line, on top of the file's ``experiment``.

    Raises:
        ValueError: with file and line where the file is no YAML mapping; a ``SettingsError`` with every problem of its
            settings otherwise.
    """
    overrides = list(overrides)
    settings = check_file(SearchSettings, read_yaml(path), overrides, where=str(path))
    paths = (override.partition("=")[0].strip() for override in overrides)
    changed = tuple(each for each in paths if not each.startswith((BESIDE_EXPERIMENT, *SAME_STUDENTS)))
    space = SearchSpace(settings=settings, where=str(path), changed=changed)
    _check_parameters(space)
    return space


def objective_problems(objective: ObjectiveSettings, experiment: ExperimentSettings) -> list[str]:
    """Return what keeps an experiment from ever giving an objective, as far as its settings say."""
    metric, task = objective.metric, OBJECTIVE_TASKS.get(objective.metric)
    if task is None:
        return []
    if experiment.dataset.name == "none":
        return [f"objective.metric: '{metric}' needs {objective.needs}, and dataset 'none' has none. Use 'agreement'."]
    if task not in experiment.tasks:
        return [f"objective.metric: '{metric}' needs the task '{task}' in experiment.tasks."]
    return []


def _check_parameters(space: SearchSpace) -> None:
    """Raise SettingsError unless every parameter can be searched, at every corner, and its default lies in range."""
    problems = objective_problems(space.settings.objective, space.resolve({}))
    for path, parameter in space.settings.parameters.items():
        part = path.split(".")[0]
        if part in SHARED_PARTS:
            problems.append(f"parameters.{path}: all trials of a search share '{part}'; make it a search of its own.")
        else:
            problems.extend(corner_problems(path, parameter, space.resolve))
    if space.settings.further_objectives and space.resolve({}).workers > 1:
        problems.append("experiment.workers: a single worker reads further_objectives off a student; expected 1.")
    if problems:
        raise SettingsError(space.where, problems)
    space.defaults()
