"""Distil one student by one config, without a search.

The config is the ``experiment`` part of a search space, or a file that holds such a part alone.

Examples:
    python experiments/distill.py search_spaces/digits_cae.yaml
    python experiments/distill.py search_spaces/cifar10_16px_cae.yaml --set seed=1 --set dataset.path=/data/cifar10
    python experiments/distill.py search_spaces/digits_cae.yaml --workers 2
"""

from __future__ import annotations

import argparse

from _bootstrap import find_package

find_package()

from dfkd.config import apply_overrides, experiment_settings, read_yaml  # noqa: E402
from dfkd.jobs.command import run_command  # noqa: E402
from dfkd.jobs.surroundings import check_surroundings  # noqa: E402
from dfkd.settings.checks import check_name  # noqa: E402

INTERRUPTED = "interrupted: everything reported so far is kept; the same command goes on from here if it has a --name"


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="a search space, or its `experiment` part in a file of its own")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="override a setting")
    parser.add_argument("--workers", type=int, help="data-parallel workers; more than one run on Ray Train")
    parser.add_argument("--home", help="folder of everything that is kept (default: ~/.dfkd)")
    parser.add_argument("--tracking-uri", help="of MLflow (default: MLFLOW_TRACKING_URI, else a store in the home)")
    parser.add_argument("--name", help="start under this name, and go on with it when started again")
    parser.add_argument("--json", metavar="FILE", help="write the scores and the curve here")
    return parser.parse_args()


def main() -> None:
    """Check the config, then distil."""
    arguments = parse_arguments()
    with run_command(interrupted=INTERRUPTED) as console:
        raw = read_yaml(arguments.config)
        workers = [] if arguments.workers is None else [f"workers={arguments.workers}"]
        experiment = apply_overrides(raw.get("experiment", raw), [*arguments.set, *workers])
        settings = experiment_settings(experiment, arguments.config)
        if arguments.name is not None:
            check_name("--name", arguments.name)
        check_surroundings(settings, home=arguments.home, tracking_uri=arguments.tracking_uri, ray=settings.workers > 1)
        from dfkd.jobs.distill import DistillOptions, run_distillation

        options = DistillOptions(
            home=arguments.home, tracking_uri=arguments.tracking_uri, name=arguments.name, json_file=arguments.json
        )
        run_distillation(settings, options, console)


if __name__ == "__main__":
    main()
