"""Whole experiments: a named schedule stands under the experiment's own values, and the result is checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from dfkd.config.raw import Raw, merge
from dfkd.config.type_hints import field_hints, member_of
from dfkd.config.validation import SettingsError, load_settings
from dfkd.config.wording import unknown_choice
from dfkd.settings.distillation import SCHEDULES
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.synthesis import CategoryAwareSettings, SynthesisSettings

SCHEDULE = "schedule"


def apply_schedule(raw: Mapping[str, Any]) -> Raw:
    """Return the experiment without the key ``schedule`` and with that schedule's values under its own.

    A value that the experiment's method does not have is left out: KD on random noise takes from a schedule
    only the student's part.

    Raises:
        ValueError: no schedule has this name.
    """
    own = {key: value for key, value in raw.items() if key != SCHEDULE}
    if SCHEDULE not in raw:
        return own
    name = raw[SCHEDULE]
    if not isinstance(name, str) or name not in SCHEDULES:
        raise ValueError(f"{SCHEDULE}: {unknown_choice(name, tuple(SCHEDULES))}")
    schedule = dict(SCHEDULES[name])
    allowed = field_hints(_method(own))
    schedule["synthesis"] = {key: value for key, value in schedule["synthesis"].items() if key in allowed}
    return merge(schedule, own)


def _method(raw: Mapping[str, Any]) -> type:
    """Return the settings class of the experiment's method; the default's where it names none that exists."""
    synthesis = raw.get("synthesis")
    method = synthesis.get("method") if isinstance(synthesis, Mapping) else None
    return member_of(get_args(SynthesisSettings), method) or CategoryAwareSettings


def experiment_settings(raw: object, where: str) -> ExperimentSettings:
    """Return the checked settings of an experiment.

    Args:
        raw: nested plain values; may hold ``schedule: <name>`` (see ``SCHEDULES``).
        where: what messages name as the source, e.g. the file.

    Raises:
        SettingsError: with every problem, each as ``path.to.key: what is wrong``.
    """
    problems: list[str] = []
    if isinstance(raw, Mapping):
        try:
            raw = apply_schedule(raw)
        except ValueError as error:
            problems.append(str(error))
            raw = {key: value for key, value in raw.items() if key != SCHEDULE}
    try:
        settings = load_settings(ExperimentSettings, raw, where=where)
    except SettingsError as error:
        problems.extend(error.problems)
    if problems:
        raise SettingsError(where, problems)
    return settings
