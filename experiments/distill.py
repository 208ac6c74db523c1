"""Distil one student by one config, without a search.

The config is a search space, of which ``experiment`` and ``tracking`` count, or a file that holds an ``experiment``
alone.

Examples:
    python experiments/distill.py search_spaces/digits_cae.yaml
    python experiments/distill.py search_spaces/cifar10_16px_cae.yaml --set seed=1 --set dataset.path=/data/cifar10
    python experiments/distill.py search_spaces/digits_cae.yaml --workers 2
    python experiments/distill.py search_spaces/digits_cae.yaml --compress-teacher
    python experiments/distill.py search_spaces/digits_cae.yaml --dry-run
"""

from __future__ import annotations

import argparse

from _bootstrap import find_package

find_package()

from dfkd.jobs.command import EXIT_STATUS, run_command  # noqa: E402
from dfkd.jobs.distill_options import DistillOptions  # noqa: E402
from dfkd.jobs.surroundings import DRY_RUN_HELP, STORAGE_HELP, check_surroundings  # noqa: E402
from dfkd.search.experiment_file import load_experiment  # noqa: E402
from dfkd.settings.checks import check_name  # noqa: E402

INTERRUPTED = "interrupted: everything reported so far is kept; the same command goes on from here if it has a --name"


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXIT_STATUS, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="a search space, or its `experiment` part in a file of its own")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="override a setting")
    parser.add_argument("--workers", type=int, help="data-parallel workers; more than one run on Ray Train")
    parser.add_argument("--home", help="folder of everything that is kept (default: ~/.dfkd)")
    parser.add_argument("--tracking-uri", help="of MLflow (default: MLFLOW_TRACKING_URI, else a store in the home)")
    parser.add_argument("--storage", help=STORAGE_HELP)
    parser.add_argument("--name", help="start under this name, and go on with it when started again")
    parser.add_argument(
        "--compress-teacher",
        action="store_true",
        help="also score the teacher itself, pruned and in int8, calibrated on the run's synthetic images",
    )
    parser.add_argument("--dry-run", action="store_true", help=DRY_RUN_HELP)
    parser.add_argument("--json", metavar="FILE", help="write the scores and the curve here")
    return parser.parse_args()


def main() -> None:
    """Check the config, then distil."""
    arguments = parse_arguments()
    with run_command(interrupted=INTERRUPTED) as console:
        workers = [] if arguments.workers is None else [f"workers={arguments.workers}"]
        settings, tracking = load_experiment(arguments.config, [*arguments.set, *workers])
        if arguments.name is not None:
            check_name("--name", arguments.name)
        check_surroundings(
            settings, home=arguments.home, tracking_uri=arguments.tracking_uri, ray=settings.workers > 1, embeds=True
        )
        options = DistillOptions(
            home=arguments.home,
            tracking_uri=arguments.tracking_uri,
            storage=arguments.storage,
            name=arguments.name,
            json_file=arguments.json,
            tracking=tracking,
            compress_teacher=arguments.compress_teacher,
        )
        if arguments.dry_run:
            from dfkd.jobs.dry_run import show_distillation_plan

            show_distillation_plan(settings, options, console)
            return
        from dfkd.jobs.distill import run_distillation

        run_distillation(settings, options, console)


if __name__ == "__main__":
    main()
