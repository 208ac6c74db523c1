"""What a comparison or its tuning would do, in the lines of a plan. Computes no cost and checks nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from dfkd.comparison.results import COMPLETE
from dfkd.config.comparison import Comparison
from dfkd.jobs.compare import wanted_runs
from dfkd.jobs.comparing import Comparing, TeacherOf
from dfkd.jobs.comparison_kinds import UNITS, Kind, kind_in_words, kinds_of
from dfkd.jobs.comparison_options import ComparisonOptions
from dfkd.jobs.comparison_runs import PlannedRun
from dfkd.jobs.plan_lines import Line, at_once_in_words, device_in_words, range_in_words
from dfkd.search.tuning_ranges import own_point
from dfkd.settings.comparison import UNDISTILLED, RunName


def plan_of_runs(
    comparing: Comparing, options: ComparisonOptions, planned: Sequence[PlannedRun], *, at_once: int | None
) -> list[Line]:
    """Return what a comparison runs, how much of it is there, and how long every run is under its budget.

    Args:
        comparing: the comparison.
        options: of the command line.
        planned: what is still to do.
        at_once: runs at a time; None where a cluster decides.
    """
    comparison, settings = comparing.comparison, comparing.comparison.settings
    wanted = wanted_runs(comparison, options)
    rows, columns = (list(dict.fromkeys(getattr(name, part) for name in wanted)) for part in ("row", "column"))
    fractions = ", ".join(f"{fraction:g}" for fraction in dict.fromkeys(name.fraction for name in wanted))
    transfer = f"; transfer tasks: {', '.join(settings.transfer)}" if settings.transfer else ""
    return [
        *_named("rows", [_row_in_words(comparison, row) for row in rows]),
        ("columns", ", ".join(columns)),
        *_pair_lines(comparison),
        ("seeds", _seeds_in_words(wanted)),
        ("budget", f"{settings.budget.amount:.4g} {UNITS[comparing.unit]} a run, times {fractions}"),
        ("score", f"{settings.score}, all against '{settings.reference}'{transfer}"),
        ("runs", f"{_done_in_words(comparing, wanted, planned)}; {_resources_in_words(comparison, at_once)}"),
        *_named("schedules", [kind_in_words(kind, comparing.unit) for kind in kinds_of(planned)]),
    ]


def plan_of_tuning(
    comparing: Comparing, kinds: Sequence[Kind], ended: Mapping[str, int], *, at_once: int | None
) -> list[Line]:
    """Return what a tuning searches, how many trials are there, and how long the first trial of each row is.

    Args:
        comparing: the comparison.
        kinds: the runs of trials that are still to do, at each row's own values.
        ended: trials that have ended, by row.
        at_once: runs at a time; None where a cluster decides.
    """
    comparison, tuning = comparing.comparison, comparing.comparison.settings.tuning
    assert tuning is not None
    amount = comparison.settings.budget.amount * tuning.fraction
    done = f"{sum(ended.values())} of {tuning.trials * len(ended)} trials have ended"
    to_do = f"{sum(kind.count for kind in kinds)} runs to do, one a seed of each trial"
    return [
        *_named("rows", [_row_in_words(comparison, row) for row in ended]),
        ("trials", f"{tuning.trials} a row: its own values, then {tuning.sampler.in_words(tuning.trials)}"),
        *_named("searched", [_ranges_in_words(comparison, row) for row in ended]),
        *_pair_lines(comparison)[:1],
        ("seeds", ", ".join(map(str, tuning.seeds))),
        ("budget", f"{amount:.4g} {UNITS[comparing.unit]} a run"),
        ("judged by", f"{tuning.measured_by} ({tuning.goal})"),
        ("runs", f"{done}; {to_do}; {_resources_in_words(comparison, at_once)}"),
        *_named("schedules", [kind_in_words(kind, comparing.unit) for kind in kinds]),
    ]


def teacher_lines(comparison: Comparison, teachers: Sequence[TeacherOf], words: Mapping[str, str]) -> list[Line]:
    """Return which teachers the runs need.

    Args:
        comparison: the comparison.
        teachers: by pair and training seed.
        words: of each pair's teacher.
    """
    seeds = {pair: [str(seed) for of, seed in teachers if of == pair] for pair in comparison.pairs}
    lines = []
    for pair, settings in zip(comparison.pairs, comparison.experiments(), strict=True):
        if not seeds[pair]:
            continue
        under = ""
        if settings.teacher.weights is None:
            under = f", under training seed {', '.join(seeds[pair])}, unless registered already, which is not looked up"
        lines.append(f"{pair}: {words[pair]}{under}" if pair else f"{words[pair]}{under}")
    return _named("teachers", lines)


def _row_in_words(comparison: Comparison, row: str) -> str:
    """Return a row's name, method and preset."""
    settings, (first, *_) = comparison.settings, comparison.pairs
    of = settings.methods[row]
    if of.student != "distilled":
        return f"{row}: {UNDISTILLED[of.student][0]}, outside the budget"
    (teacher, *_) = settings.teachers_of(settings.seeds[0])
    method = comparison.resolve(row, pair=first, teacher=teacher, seed=settings.seeds[0]).synthesis.TITLE
    return f"{row}: {method}{f', preset {of.preset}' if of.preset else ''}"


def _pair_lines(comparison: Comparison) -> list[Line]:
    lines = []
    for pair, settings in zip(comparison.pairs, comparison.experiments(), strict=True):
        teacher = settings.teacher.weights or settings.teacher.architecture
        lines.append(f"{f'{pair}: ' if pair else ''}teacher {teacher}, student {settings.student.network}")
    return _named("pairs", lines)


def _seeds_in_words(wanted: Sequence[RunName]) -> str:
    """Return the seeds of the rows, those of most rows first."""
    by_row = {name.row: tuple(dict.fromkeys(one.seed for one in wanted if one.row == name.row)) for name in wanted}
    if not by_row:
        return "none"
    (usual, _), *others = Counter(by_row.values()).most_common()
    rows = [f"of {row} {', '.join(map(str, seeds))}" for row, seeds in by_row.items() if seeds in dict(others)]
    return "; ".join([", ".join(map(str, usual)), *rows])


def _done_in_words(comparing: Comparing, wanted: Sequence[RunName], planned: Sequence[PlannedRun]) -> str:
    ended = {result.run: result.status for result in comparing.folder.results()}
    to_do = {run.name for run in planned}
    there = [ended[name] for name in wanted if name not in to_do]
    again = sum(name in ended for name in to_do)
    failed = sum(status != COMPLETE for status in there)
    words = f"{len(wanted)} in all, {len(there)} are there{f' ({failed} of them failed)' if failed else ''}"
    return f"{words}, {len(planned)} to do{f' ({again} of them again, after they failed)' if again else ''}"


def _resources_in_words(comparison: Comparison, at_once: int | None) -> str:
    return f"{at_once_in_words(at_once)}, each with {device_in_words(comparison.experiments()[0])}"


def _ranges_in_words(comparison: Comparison, row: str) -> str:
    own = own_point(comparison, row)
    ranges = comparison.settings.methods[row].parameters
    return f"{row}: " + "; ".join(
        f"{path}: {range_in_words(parameter)} (first {own[path]})" for path, parameter in ranges.items()
    )


def _named(name: str, lines: Sequence[str]) -> list[Line]:
    return [("" if place else name, words) for place, words in enumerate(lines)]
