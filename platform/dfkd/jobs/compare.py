"""Methods side by side, from a checked comparison to its leaderboard. Reads from top to bottom as it runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dfkd.cluster.resources import check_fits, concurrent_trials, uses_gpu
from dfkd.comparison.results import COMPLETE, ResultsFolder
from dfkd.config.comparison import Comparison
from dfkd.jobs.comparing import Comparing, TeacherOf
from dfkd.jobs.comparison_checks import load_checked_data
from dfkd.jobs.comparison_options import ComparisonOptions
from dfkd.jobs.comparison_report import Reporter
from dfkd.jobs.comparison_runs import execute_runs, plan_runs
from dfkd.jobs.console import Console
from dfkd.jobs.preparation import check_places, resolve_storage
from dfkd.jobs.ray_cluster import connected
from dfkd.jobs.surroundings import default_storage
from dfkd.jobs.teacher import obtain_teacher
from dfkd.jobs.tuning import TUNING, tune
from dfkd.settings.comparison import COLUMNS, RunName
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.objectives import ComparedObjective
from dfkd.tasks.further_objectives import check_teacher
from dfkd.tracking.connection import check_reachable
from dfkd.tracking.home import open_home, resolve_tracking_uri
from dfkd.tracking.mlflow_tracker import MlflowTracking


def run_comparison(comparison: Comparison, options: ComparisonOptions, console: Console) -> Path:
    """Run what is missing of a comparison, and write its leaderboard.

    Args:
        comparison: already checked.
        options: of the command line.
        console: what a person reads.

    Returns:
        The file of the leaderboard.

    Raises:
        ValueError: something that the user gave cannot work.
        ConnectionError: MLflow or Ray does not answer.
        OSError: a folder cannot be used.
    """
    folder = ResultsFolder(options.results)
    names = missing_runs(comparison, folder, options)
    if options.retry_failed:
        forget_failed(folder)
    teachers = {(name.pair, name.teacher): comparison.experiment(name) for name in names}
    home = open_home(options.home)
    transfer = comparison.settings.transfer
    with _comparing(comparison, options, folder, home, teachers, console, transfer=transfer) as (
        comparing,
        address,
    ):
        planned = plan_runs(comparing, names)
        comparison_id = str(folder.facts()["id"])
        with MlflowTracking(address, home, comparison_id) as tracking:
            told = home / "comparisons" / comparison_id / "told.json"
            reporter = Reporter(comparison, folder, tracking, told)
            parent = reporter.open(comparison_id)
            console.say(f"MLflow: {tracking.run_url()}")
            console.say(f"{len(planned)} runs to do, {comparing.at_once} at once; {len(folder.results())} are done")
            execute_runs(comparing, planned, reporter.hear)
            text = reporter.conclude(parent)
            parent.close("FINISHED")
    console.show(text)
    return folder.path / "leaderboard.md"


def run_tuning(comparison: Comparison, options: ComparisonOptions, console: Console) -> Path:
    """Search the tuned values of every row that has ranges; return the file that holds them.

    Raises:
        ValueError: something that the user gave cannot work.
        ConnectionError: MLflow or Ray does not answer.
        OSError: a folder cannot be used.
    """
    folder, tuning = ResultsFolder(options.results), comparison.settings.tuning
    assert tuning is not None
    home, pair = open_home(options.home), comparison.pairs[0]
    row = comparison.tuned_rows[0]
    settings = comparison.resolve(row, pair=pair, teacher=tuning.teacher, seed=tuning.seeds[0])
    teachers = {(pair, tuning.teacher): settings}
    transfer = {TUNING: tuning.transfer} if tuning.transfer is not None else {}
    with _comparing(comparison, options, folder, home, teachers, console, transfer=transfer) as (comparing, _):
        tune(comparing, home)
    return folder.path / "tuned.json"


def missing_runs(comparison: Comparison, folder: ResultsFolder, options: ComparisonOptions) -> list[RunName]:
    """Return the runs that are still to do, of those that are wanted now; what failed is, if it is to be retried."""
    failed = {result.run for result in folder.results() if result.status != COMPLETE} if options.retry_failed else ()
    return [run for run in wanted_runs(comparison, options) if run in failed or not folder.has(run)]


def wanted_runs(comparison: Comparison, options: ComparisonOptions) -> list[RunName]:
    """Return the runs of the rows and columns that are wanted now, whether they have ended or not."""
    rows, columns = options.only or tuple(comparison.settings.methods), options.columns or COLUMNS
    return [run for run in comparison.runs() if run.row in rows and run.column in columns]


def forget_failed(folder: ResultsFolder) -> None:
    """Remove the result of every run that failed."""
    for result in folder.results():
        if result.status != COMPLETE:
            folder.forget(result.run)


def runs_at_once(comparison: Comparison, options: ComparisonOptions) -> int | None:
    """Return how many runs are wanted at a time; None takes as many as fit."""
    return 1 if comparison.settings.budget.unit == "seconds" else options.at_once


@contextmanager
def _comparing(
    comparison: Comparison,
    options: ComparisonOptions,
    folder: ResultsFolder,
    home: Path,
    teachers: dict[TeacherOf, ExperimentSettings],
    console: Console,
    *,
    transfer: Mapping[str, ComparedObjective],
) -> Iterator[tuple[Comparing, str]]:
    """Give what every phase needs, and MLflow's address: a cluster, the data, and these teachers, made if needed."""
    first = next(comparison.runs())
    settings = comparison.resolve(first.row, pair=first.pair, teacher=first.teacher, seed=first.seed)
    tracking_uri = resolve_tracking_uri(options.tracking_uri, home=home)
    check_reachable(tracking_uri)
    with connected():
        check_fits(settings, 1)
        shared = options.storage or default_storage()
        check_places(tracking_uri=tracking_uri, storage=shared)
        data = load_checked_data(comparison, transfer)
        folder.claim(comparison)
        name = str(folder.facts()["id"])
        wanted = runs_at_once(comparison, options)
        obtained = {
            which: obtain_teacher(experiment, data, home=home, tracking_uri=tracking_uri, console=console)
            for which, experiment in teachers.items()
        }
        for teacher in obtained.values():
            check_teacher(transfer, teacher, where="transfer")
        yield (
            Comparing(
                comparison=comparison,
                folder=folder,
                storage=resolve_storage(shared or str(home / "comparisons"), name=f"{name}/checkpoints"),
                data=data,
                teachers=obtained,
                console=console,
                gpu=uses_gpu(settings),
                at_once=concurrent_trials(settings, 1, wanted=wanted),
            ),
            tracking_uri,
        )
