"""Whole experiments: a named schedule stands under the experiment's own values, and the result is checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any, get_args

from dfkd.config.raw import Raw, merge
from dfkd.config.type_hints import field_hints, member_of, tags
from dfkd.config.validation import SettingsError, load_settings
from dfkd.config.wording import unknown_choice
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.schedules import SCHEDULES
from dfkd.settings.synthesis import CategoryAwareSettings, RoundsSettings, SynthesisSettings

SCHEDULE = "schedule"


def apply_schedule(raw: Mapping[str, Any]) -> Raw:
    """Return the experiment without the key ``schedule`` and with that schedule's values under its own.

    A preset is for its own method; an experiment that names none has the preset's. A general schedule is for any: its
    ``synthesis`` for methods with a bank, of which a value that the method does not have is left out, a whole part's or
    one within it; other methods take only the student's part.

    Raises:
        ValueError: no schedule has this name, or it is the preset of another method.
    """
    own = {key: value for key, value in raw.items() if key != SCHEDULE}
    if SCHEDULE not in raw:
        return own
    name = raw[SCHEDULE]
    if not isinstance(name, str) or name not in SCHEDULES:
        raise ValueError(f"{SCHEDULE}: {unknown_choice(name, tuple(SCHEDULES))}")
    schedule = dict(SCHEDULES[name])
    method = _method(merge(schedule, own))
    is_preset = "method" in schedule["synthesis"]
    if is_preset and _method(schedule) is not method:
        raise ValueError(f"{SCHEDULE}: {_of_another_method(name, method)}")
    takes_synthesis = is_preset or issubclass(method, RoundsSettings)
    schedule["synthesis"] = _known(schedule["synthesis"], method) if takes_synthesis else {}
    return merge(schedule, own)


def _of_another_method(name: str, method: type) -> str:
    """Return why a preset cannot be taken, and which schedules can."""
    theirs, ours = SCHEDULES[name]["synthesis"]["method"], tags((method,))[0]
    fitting = [other for other, schedule in SCHEDULES.items() if schedule["synthesis"].get("method", ours) == ours]
    return (
        f"'{name}' is a preset of the method '{theirs}', whose synthesis says nothing to '{ours}' (synthesis.method). "
        f"Valid: {', '.join(fitting)}; or `synthesis: {{method: {theirs}}}`."
    )


def _known(values: Mapping[str, Any], cls: type) -> Raw:
    """Return the values that are fields of the dataclass, likewise within fields that are dataclasses themselves."""
    hints, known = field_hints(cls), {key: value for key, value in values.items() if key in field_hints(cls)}
    for key, value in known.items():
        if isinstance(value, Mapping) and is_dataclass(hints[key]):
            known[key] = _known(value, hints[key])
    return known


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
