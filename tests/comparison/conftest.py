"""Results made by hand: what a run would have written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dfkd.comparison.leaderboard import Line, make_leaderboard
from dfkd.comparison.results import RunResult
from dfkd.settings.comparison import BudgetSettings, ComparisonSettings, RowSettings, RunName


@pytest.fixture
def settings() -> Callable[..., ComparisonSettings]:
    """Make a comparison of rows named ``ours``, ``theirs`` and ``noise``."""

    def make(**changes: Any) -> ComparisonSettings:
        experiment = {"dataset": {"name": "digits"}, "teacher": {"architecture": "digits_teacher"}}
        known: dict[str, Any] = {
            "name": "made",
            "experiment": experiment | {"student": {"architecture": "digits_student"}},
            "methods": {name: RowSettings() for name in ("ours", "theirs", "noise")},
            "seeds": (0, 1, 2),
            "budget": BudgetSettings(macs=1000.0),
            "reference": "ours",
        }
        return ComparisonSettings(**known | changes)

    return make


@pytest.fixture
def result() -> Callable[..., RunResult]:
    """Make what a run gave; its curve has two epochs, the first at half of the cost."""

    def make(
        row: str,
        seed: int,
        score: float,
        *,
        teacher: int = 0,
        fraction: float = 1.0,
        column: Any = "preset",
        pair: str = "",
        macs: float = 1000.0,
        first: float = 0.1,
        **changes: Any,
    ) -> RunResult:
        name = RunName(pair=pair, fraction=fraction, row=row, column=column, teacher=teacher, seed=seed)
        known: dict[str, Any] = {
            "key": "0",
            "status": "complete",
            "title": row.title(),
            "prior": "text",
            "num_classes": 10,
            "macs": {"warm_up": macs / 10, "synthesis": macs / 2, "distillation": 0.4 * macs, "total": macs},
            "test": {"accuracy/top1": score, "accuracy/teacher_top1": 0.8, "agreement/top1": score + 0.01},
            "best_epoch": {"epoch": 0.0, "score": score + 0.02},
            "seconds": {"synthesis": 1.0, "distillation": 2.0, "total": 3.0, "wall": 4.0},
            "peak_memory": {"process": 1e6 * (1 + seed)},
            "curve": {
                "epoch": [0.0, 1.0],
                "synthesis_macs": [macs / 4, macs / 2],
                "macs": [macs / 2, macs],
                "synthesis_seconds": [0.5, 1.0],
                "seconds": [1.5, 3.0],
                "validation": [first, score],
                "test": [first, score],
            },
        }
        return RunResult(run=name, **known | changes)

    return make


@pytest.fixture
def found(
    settings: Callable[..., ComparisonSettings], result: Callable[..., RunResult]
) -> tuple[ComparisonSettings, list[Line]]:
    """Make a leaderboard of three rows, two seeds and two budgets; the floor collapsed."""
    scores = {"ours": (0.70, 0.72), "theirs": (0.60, 0.66), "noise": (0.10, 0.12)}
    made = settings(fractions=(1.0, 0.5), seeds=(0, 1), ceiling="ours", floor="noise")
    results = [
        result(row, seed, score * fraction, fraction=fraction)
        for row, values in scores.items()
        for seed, score in enumerate(values)
        for fraction in (1.0, 0.5)
    ]
    return made, make_leaderboard(made, results)
