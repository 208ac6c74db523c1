"""What a command reads: a search space, or a file that describes one experiment. Every mistake in any part is told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from dfkd.config import SettingsError, apply_overrides, experiment_settings, load_settings, read_yaml
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.search import ExperimentFile, SearchSettings, TrackingSettings

File = TypeVar("File")
BESIDE_EXPERIMENT = "further_objectives."  # overrides of these are no part of ``experiment``: data may lie elsewhere


def load_experiment(path: str | Path, overrides: Iterable[str] = ()) -> tuple[ExperimentSettings, TrackingSettings]:
    """Return the one experiment that a file describes, and what of it is tracked, for commands that do not search.

    Args:
        path: a search space, every part of which is checked; its ``experiment`` and ``tracking`` alone; or a file that
            is an ``experiment`` itself, which is tracked by default.
        overrides: ``path=value`` of the command line; a searched setting can be given any value.

    Raises:
        ValueError: it is no YAML mapping; a ``SettingsError`` with every problem of its settings otherwise.
    """
    raw = read_yaml(path)
    if "experiment" not in raw:
        return experiment_settings(apply_overrides(raw, overrides), str(path)), TrackingSettings()
    parts = {field.name for field in fields(ExperimentFile)}
    if raw.keys() <= parts:
        file = check_file(ExperimentFile, raw, overrides, where=str(path))
        return experiment_settings(file.experiment, str(path)), file.tracking
    space = check_file(SearchSettings, raw, overrides, where=str(path))
    return experiment_settings(space.experiment, str(path)), space.tracking


def _beside_experiment(kind: type[Any], overrides: Iterable[str]) -> list[str]:
    """Return a problem for every override of what stands beside ``experiment``."""
    names = {field.name for field in fields(kind)} - {field.name for field in fields(ExperimentSettings)}
    paths = [override.partition("=")[0].strip() for override in overrides]
    return [
        f"--set {path}: overrides settings of `experiment` alone, and '{path.split('.')[0]}' stands beside it. "
        + ("Change it in the file, or search with --trials." if path == "trials" else "Change it in the file.")
        for path in paths
        if path.split(".")[0] in names and not path.startswith((BESIDE_EXPERIMENT, "experiment."))
    ]


def check_file(kind: type[File], raw: Mapping[str, Any], overrides: Iterable[str], *, where: str) -> File:
    """Return a file's settings, the overrides in ``experiment``; raise SettingsError with every problem there is."""
    overrides = list(overrides)
    problems = _beside_experiment(kind, overrides)
    if problems:
        raise SettingsError(where, problems)
    beside = [override for override in overrides if override.startswith(BESIDE_EXPERIMENT)]
    raw = apply_overrides(raw, beside)
    if isinstance(raw.get("experiment"), Mapping):
        raw = {
            **raw,
            "experiment": apply_overrides(raw["experiment"], [each for each in overrides if each not in beside]),
        }
        try:
            experiment_settings(raw["experiment"], where)
        except SettingsError as error:
            problems.extend(f"experiment.{problem}" for problem in error.problems)
    try:
        settings = load_settings(kind, raw, where=where)
    except SettingsError as error:
        problems = [*error.problems, *problems]
    if problems:
        raise SettingsError(where, problems)
    return settings
