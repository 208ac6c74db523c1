"""What ``compare.py --dry-run`` does: every check that needs neither Ray nor MLflow, and the plan of what is to do.

Parts of runs are counted, as the command itself does it, and timed; nothing is trained, written or tracked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dfkd.comparison.results import ResultsFolder
from dfkd.config.comparison import Comparison
from dfkd.jobs.command import check_writable
from dfkd.jobs.compare import missing_runs, runs_at_once
from dfkd.jobs.comparing import Comparing, TeacherOf
from dfkd.jobs.comparison_checks import load_checked_data
from dfkd.jobs.comparison_kinds import Kind, kinds_of
from dfkd.jobs.comparison_options import ComparisonOptions
from dfkd.jobs.comparison_plan import plan_of_runs, plan_of_tuning, teacher_lines
from dfkd.jobs.comparison_runs import check_budgets, scale_runs
from dfkd.jobs.comparison_seconds import time_kinds, time_lines
from dfkd.jobs.console import Console
from dfkd.jobs.dry_run_checks import teacher_or_stand_in
from dfkd.jobs.epoch_seconds import limited_threads
from dfkd.jobs.plan_lines import Line, at_once_here, data_in_words, show_lines, show_plan
from dfkd.jobs.preparation import storage_uri, try_storage
from dfkd.jobs.surroundings import default_storage
from dfkd.jobs.teacher import try_given_teacher
from dfkd.jobs.tuning import TUNING, open_studies, scale_trials
from dfkd.search.tuning_ranges import own_point
from dfkd.settings.objectives import ComparedObjective
from dfkd.teachers import Teacher
from dfkd.tracking.credentials import without_credentials
from dfkd.tracking.home import open_home, resolve_tracking_uri


def show_comparison_plan(comparison: Comparison, options: ComparisonOptions, console: Console) -> None:
    """Print what is missing of a comparison and what it would take, the runs scaled to their budgets.

    Args:
        comparison: already checked.
        options: of the command line.
        console: what a person reads.

    Raises:
        ValueError: something that the user gave cannot work; where that is a budget, the plan stands above it.
        OSError: a place cannot be written.
    """
    names = missing_runs(comparison, ResultsFolder(options.results), options)
    teachers = {(name.pair, name.teacher): None for name in names}
    with limited_threads(1):  # as Ray gives a run
        comparing, words = _prepare(comparison, options, console, list(teachers), comparison.settings.transfer)
        planned = scale_runs(comparing, names)
        at_once = at_once_here(comparison.experiments()[0], runs_at_once(comparison, options))
        lines = plan_of_runs(comparing, options, planned, at_once=at_once)
        lines += teacher_lines(comparison, list(teachers), words)
        name = comparison.settings.name
        _show(comparing, f"plan of the comparison '{name}'", lines, options, tracked=f"experiment '{name}'")
        check_budgets(comparison, planned)
        transfer = bool(comparison.settings.transfer)
        _show_time(comparing, kinds_of(planned), at_once=at_once, transfer=transfer)


def show_tuning_plan(comparison: Comparison, options: ComparisonOptions, console: Console) -> None:
    """Print what a tuning would search and what it would take, by the row's own values, which are the first trial.

    Raises:
        ValueError: something that the user gave cannot work.
        OSError: a place cannot be written.
    """
    tuning = comparison.settings.tuning
    assert tuning is not None
    teacher = comparison.pairs[0], tuning.teacher
    transfer = {TUNING: tuning.transfer} if tuning.transfer is not None else {}
    with limited_threads(1):
        comparing, words = _prepare(comparison, options, console, [teacher], transfer)
        ended = {row: min(len(study.log), tuning.trials) for row, study in open_studies(comparing).items()}
        points = {row: own_point(comparison, row) for row in comparison.tuned_rows if ended[row] < tuning.trials}
        trials = kinds_of(scale_trials(comparing, points))
        kinds = [Kind(run=kind.run, count=kind.count * (tuning.trials - ended[kind.run.name.row])) for kind in trials]
        at_once = at_once_here(comparison.experiments()[0], runs_at_once(comparison, options))
        lines = plan_of_tuning(comparing, kinds, ended, at_once=at_once)
        lines += teacher_lines(comparison, [teacher], words)
        _show(comparing, f"plan of the tuning of '{comparison.settings.name}'", lines, options, tracked="its teacher")
        _show_time(comparing, kinds, at_once=at_once, transfer=bool(transfer))


def _prepare(
    comparison: Comparison,
    options: ComparisonOptions,
    console: Console,
    teachers: Sequence[TeacherOf],
    transfer: Mapping[str, ComparedObjective],
) -> tuple[Comparing, dict[str, str]]:
    """Return a comparison that runs nothing but parts, here, and each pair's teacher in words.

    A teacher that is to be trained has an untrained network in its place: what parts cost does not depend on weights.
    """
    home, folder = open_home(options.home), ResultsFolder(options.results)
    tracking_uri = resolve_tracking_uri(options.tracking_uri, home=home)
    shared = options.storage or default_storage()
    if shared is not None:
        try_storage(shared)
    check_writable(folder.path)
    data = load_checked_data(comparison, transfer)
    stand_ins: dict[str, Teacher] = {}
    words: dict[str, str] = {}
    for pair, settings in zip(comparison.pairs, comparison.experiments(), strict=True):
        is_new = settings.teacher.weights is None
        if not is_new:
            try_given_teacher(settings, tracking_uri)
        stand_ins[pair], words[pair], _ = teacher_or_stand_in(settings, data, tracking_uri, retrain=is_new)
    name = str(folder.facts().get("id", f"{comparison.settings.name}-<time>"))
    comparing = Comparing(
        comparison=comparison,
        folder=folder,
        storage=storage_uri(shared or str(home / "comparisons"), name=f"{name}/checkpoints"),
        data=data,
        teachers={(pair, seed): stand_ins[pair] for pair, seed in teachers},
        console=console,
        gpu=False,
        at_once=1,
        dry=True,
    )
    return comparing, words


def _show(comparing: Comparing, title: str, lines: Sequence[Line], options: ComparisonOptions, *, tracked: str) -> None:
    """Print the plan with where everything goes."""
    home = open_home(options.home)
    uri = without_credentials(resolve_tracking_uri(options.tracking_uri, home=home))
    places = [
        ("data", data_in_words(comparing.data)),
        ("MLflow", f"{tracked} at {uri}"),
        ("writes", f"{comparing.folder.path}; checkpoints under {comparing.storage}"),
    ]
    show_plan(title, [*lines, *places], comparing.console)


def _show_time(comparing: Comparing, kinds: Sequence[Kind], *, at_once: int | None, transfer: bool) -> None:
    """Time parts, once the plan is there to be read, and print how long it would take.

    Args:
        comparing: a comparison in a dry run.
        kinds: of the runs that are to do.
        at_once: runs at a time; None where a cluster decides.
        transfer: whether students are put to transfer tasks.
    """
    distilled = [kind for kind in kinds if kind.run.scaled is not None]
    if not distilled:
        return
    comparing.console.say("timing parts of each kind of run, for how long it would take; the plan is whole without it")
    is_left_out = {
        "the teachers that are to be trained": distilled[0].run.unscaled.teacher.weights is None,
        "students that are not distilled": any(not kind.run.is_distilled for kind in kinds),
        "transfer tasks": transfer,
        "counting parts and the start of Ray": True,
    }
    besides = ", ".join(words for words, left_out in is_left_out.items() if left_out)
    times = time_lines(time_kinds(comparing, distilled), at_once=at_once)
    show_lines([*times, ("", f"besides: {besides}")], comparing.console)
