"""Search for the best data-free student of a teacher, and register it.

Examples:
    python experiments/search.py
    python experiments/search.py search_spaces/cifar10_16px_cae.yaml --set dataset.path=/data/cifar10
    python experiments/search.py --resume --trials 20
    python experiments/search.py search_spaces/cifar10_cae.yaml --set dataset.path=/data/cifar10 --dry-run
    ray job submit -- python experiments/search.py
"""

from __future__ import annotations

import argparse

from _bootstrap import ROOT, find_package

find_package()

from dfkd.jobs.command import EXIT_STATUS, going_on, run_command  # noqa: E402
from dfkd.jobs.search_options import SearchOptions  # noqa: E402
from dfkd.jobs.surroundings import DRY_RUN_HELP, STORAGE_HELP, check_surroundings  # noqa: E402
from dfkd.search.load import load_space  # noqa: E402


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXIT_STATUS, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = ROOT / "search_spaces" / "digits_cae.yaml"
    parser.add_argument("space", nargs="?", default=str(default), help="a file of search_spaces/ (default: digits)")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="override a fixed setting")
    parser.add_argument(
        "--trials", type=int, help="number of trials in all, the runs of the default settings among them"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the newest search of this space")
    parser.add_argument("--dry-run", action="store_true", help=DRY_RUN_HELP)
    parser.add_argument("--retrain-teacher", action="store_true", help="train the teacher anew")
    parser.add_argument("--home", help="folder of everything that is kept (default: ~/.dfkd)")
    parser.add_argument("--tracking-uri", help="of MLflow (default: MLFLOW_TRACKING_URI, else a store in the home)")
    parser.add_argument("--storage", help=STORAGE_HELP)
    parser.add_argument("--json", metavar="FILE", help="write the outcome here, for other programs")
    return parser.parse_args()


def main() -> None:
    """Check what can be checked at once, then run the search."""
    arguments = parse_arguments()
    with run_command(interrupted=going_on()) as console:
        space = load_space(arguments.space, arguments.set, trials=arguments.trials)
        experiment = space.resolve({})
        check_surroundings(experiment, home=arguments.home, tracking_uri=arguments.tracking_uri, ray=True, embeds=True)
        options = SearchOptions(
            home=arguments.home,
            tracking_uri=arguments.tracking_uri,
            storage=arguments.storage,
            resume=arguments.resume,
            retrain_teacher=arguments.retrain_teacher,
            json_file=arguments.json,
        )
        console.say(f"{arguments.space}: checked; loading torch, Ray and MLflow")
        if arguments.dry_run:
            from dfkd.jobs.dry_run import show_search_plan

            show_search_plan(space, options, console)
            return
        from dfkd.jobs.search import run_search

        run_search(space, options, console)


if __name__ == "__main__":
    main()
