"""Compare methods side by side: same teachers, budget, seeds and evaluation. Runs what is missing, and goes on.

Examples:
    python experiments/compare.py benchmarks/comparisons/digits.yaml
    python experiments/compare.py benchmarks/comparisons/cifar10_16px.yaml --set dataset.path=/data/cifar10 --at-once 2
    python experiments/compare.py benchmarks/comparisons/digits.yaml --columns preset --dry-run
    python experiments/compare.py benchmarks/comparisons/digits.yaml --tune
    ray job submit -- python experiments/compare.py benchmarks/comparisons/digits.yaml --results /shared/digits
"""

from __future__ import annotations

import argparse
from pathlib import Path

from _bootstrap import ROOT, find_package

find_package()

from dfkd.config import read_yaml  # noqa: E402
from dfkd.jobs.command import EXIT_STATUS, run_command  # noqa: E402
from dfkd.jobs.comparison_options import ComparisonOptions  # noqa: E402
from dfkd.jobs.load_comparison import prepare_comparison  # noqa: E402
from dfkd.jobs.surroundings import DRY_RUN_HELP, STORAGE_HELP, check_surroundings  # noqa: E402

INTERRUPTED = "interrupted: runs that ended are kept, and the same command goes on with the others where they stood"


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXIT_STATUS, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("comparison", help="a file of benchmarks/comparisons/")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="override a setting")
    parser.add_argument("--tune", action="store_true", help="search the values of the column 'tuned', and stop")
    parser.add_argument("--dry-run", action="store_true", help=f"{DRY_RUN_HELP}; nor is whether MLflow answers")
    parser.add_argument("--only", nargs="+", default=[], metavar="ROW", help="run these rows now, and not the others")
    parser.add_argument("--columns", nargs="+", default=[], metavar="COLUMN", help="run 'preset' or 'tuned' ones only")
    parser.add_argument("--at-once", type=int, help="runs at a time (default: as many as fit)")
    parser.add_argument("--retry-failed", action="store_true", help="run again what failed before")
    parser.add_argument(
        "--results", help="folder of the results (default: benchmarks/results/<name of the comparison>)"
    )
    parser.add_argument("--home", help="folder of everything else that is kept (default: ~/.dfkd)")
    parser.add_argument("--tracking-uri", help="of MLflow (default: MLFLOW_TRACKING_URI, else a store in the home)")
    parser.add_argument("--storage", help=STORAGE_HELP)
    return parser.parse_args()


def main() -> None:
    """Check what can be checked at once, then show the plan, tune or compare."""
    arguments = parse_arguments()
    with run_command(interrupted=INTERRUPTED) as console:
        name = str(read_yaml(arguments.comparison).get("name"))
        results = Path(arguments.results) if arguments.results else ROOT / "benchmarks" / "results" / name
        options = ComparisonOptions(
            results=results.expanduser().absolute(),
            home=arguments.home,
            tracking_uri=arguments.tracking_uri,
            storage=arguments.storage,
            at_once=arguments.at_once,
            only=tuple(arguments.only),
            columns=tuple(arguments.columns),
            retry_failed=arguments.retry_failed,
        )
        comparison = prepare_comparison(arguments.comparison, arguments.set, options, to_tune=arguments.tune)
        for experiment in comparison.experiments():
            check_surroundings(
                experiment,
                home=arguments.home,
                tracking_uri=arguments.tracking_uri,
                mlflow=not arguments.dry_run,
                ray=True,
                embeds=True,
            )
        console.say(f"{arguments.comparison}: checked; loading torch, Ray and MLflow")
        if arguments.dry_run:
            from dfkd.jobs.comparison_dry_run import show_comparison_plan, show_tuning_plan

            show = show_tuning_plan if arguments.tune else show_comparison_plan
            show(comparison, options, console)
            return
        from dfkd.jobs.compare import run_comparison, run_tuning

        done = run_tuning if arguments.tune else run_comparison
        console.say(f"written: {done(comparison, options, console)}")


if __name__ == "__main__":
    main()
