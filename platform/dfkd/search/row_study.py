"""The search for one row's tuned values: asked for points, told their values, and rebuilt from its log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import TrialState, create_trial

from dfkd.search.optuna_space import distributions_of, sampler_at
from dfkd.settings.search import Direction, ParameterRange, SamplerSettings, Scalar

Log = list[dict[str, Any]]  # a trial an entry: ``params`` and ``value``, None where it failed


class RowStudy:
    """An Optuna study in memory. What it proposes depends on its settings and its log alone.

    Args:
        parameters: the row's ranges.
        first: the row's own values: the first point.
        direction: of the objective.
        sampler: who proposes.
        log: trials that have ended.
    """

    def __init__(
        self,
        parameters: Mapping[str, ParameterRange],
        first: Mapping[str, Scalar],
        *,
        direction: Direction,
        sampler: SamplerSettings,
        log: Sequence[Mapping[str, Any]],
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._distributions = distributions_of(parameters)
        self._first, self._direction, self._sampler = dict(first), direction, sampler
        self.log: Log = [dict(entry) for entry in log]

    def ask(self) -> dict[str, Scalar]:
        """Return the next point."""
        if not self.log:
            return dict(self._first)
        study = optuna.create_study(direction=self._direction, sampler=sampler_at(self._sampler, len(self.log)))
        for entry in self.log:
            state = TrialState.FAIL if entry["value"] is None else TrialState.COMPLETE
            study.add_trial(
                create_trial(
                    state=state, params=entry["params"], distributions=self._distributions, value=entry["value"]
                )
            )
        return dict(study.ask(self._distributions).params)

    def tell(self, params: Mapping[str, Scalar], value: float | None) -> None:
        """Note what a point gave; None if its run failed."""
        self.log.append({"params": dict(params), "value": value})

    def best(self) -> dict[str, Scalar] | None:
        """Return the point with the best value, the earliest of equals; None if every trial failed."""
        told = [entry for entry in self.log if entry["value"] is not None]
        if not told:
            return None
        sign = 1 if self._direction == "maximize" else -1
        return dict(max(told, key=lambda entry: sign * entry["value"])["params"])
