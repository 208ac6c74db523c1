"""Train the teacher of a config on its real images and register it; a search with these settings then finds it.

Examples:
    python experiments/train_teacher.py search_spaces/cifar10_16px_cae.yaml --set dataset.path=/data/cifar10
    python experiments/train_teacher.py search_spaces/digits_cae.yaml --set teacher.training.seed=1
"""

from __future__ import annotations

import argparse

from _bootstrap import find_package

find_package()

from dfkd.jobs.command import EXIT_STATUS, run_command  # noqa: E402
from dfkd.jobs.surroundings import check_surroundings  # noqa: E402
from dfkd.search.experiment_file import load_experiment  # noqa: E402
from dfkd.settings.checks import check_name  # noqa: E402

INTERRUPTED = "interrupted: the same command goes on from the last epoch that was kept"


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXIT_STATUS, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="a search space, or its `experiment` part in a file of its own")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="override a setting")
    parser.add_argument("--name", help="registry name (default: the data set's title with -teacher)")
    parser.add_argument("--retrain", action="store_true", help="train anew even if it exists")
    parser.add_argument("--save", metavar="FILE", help="also write a .safetensors file")
    parser.add_argument("--json", metavar="FILE", help="write its scores and the seconds of training here")
    parser.add_argument("--home", help="folder of everything that is kept (default: ~/.dfkd)")
    parser.add_argument("--tracking-uri", help="of MLflow (default: MLFLOW_TRACKING_URI, else a store in the home)")
    return parser.parse_args()


def main() -> None:
    """Check the config, then train."""
    arguments = parse_arguments()
    with run_command(interrupted=INTERRUPTED) as console:
        settings, tracking = load_experiment(arguments.config, arguments.set)
        if arguments.name is not None:
            check_name("--name", arguments.name)
        check_surroundings(settings, home=arguments.home, tracking_uri=arguments.tracking_uri)
        from dfkd.jobs.train_teacher import TrainTeacherOptions, run_teacher_training

        options = TrainTeacherOptions(
            home=arguments.home,
            tracking_uri=arguments.tracking_uri,
            name=arguments.name,
            retrain=arguments.retrain,
            save=arguments.save,
            json_file=arguments.json,
            tracking=tracking,
        )
        run_teacher_training(settings, options, console)


if __name__ == "__main__":
    main()
