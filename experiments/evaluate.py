"""Score a trained model on real images: a registered one, or a teacher in a file.

The config says which data set, and which teacher the model is held against: the file or registered model that it
names, or the teacher that was trained with its settings. ``--teacher`` names another one.

Examples:
    python experiments/evaluate.py models:/digits-student@champion search_spaces/digits_cae.yaml
    python experiments/evaluate.py models:/digits-student/2 search_spaces/digits_cae.yaml --split validation
    python experiments/evaluate.py teacher.safetensors search_spaces/cifar10_cae.yaml --set dataset.path=/data/cifar10
"""

from __future__ import annotations

import argparse

from _bootstrap import find_package

find_package()

from dfkd.config import apply_overrides, experiment_settings, read_yaml  # noqa: E402
from dfkd.jobs.command import run_command  # noqa: E402
from dfkd.jobs.evaluate_options import EvaluateOptions, needs_registry  # noqa: E402
from dfkd.jobs.surroundings import check_surroundings, check_weights  # noqa: E402
from dfkd.settings.experiment import TASKS  # noqa: E402


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="models:/name@alias, models:/name/3, or a file of weights")
    parser.add_argument("config", help="a search space, or its `experiment` part in a file of its own")
    parser.add_argument("--split", choices=("train", "validation", "test"), default="test")
    parser.add_argument("--teacher", help="what to hold the model against, named as the model is")
    parser.add_argument(
        "--task", action="append", choices=TASKS, help="default: the config's; with 2 classes also binary"
    )
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="override a setting")
    parser.add_argument("--json", metavar="FILE", help="write the scores here")
    parser.add_argument("--home", help="folder of everything that is kept (default: ~/.dfkd)")
    parser.add_argument("--tracking-uri", help="of MLflow (default: MLFLOW_TRACKING_URI, else a store in the home)")
    return parser.parse_args()


def main() -> None:
    """Check the config, then evaluate."""
    arguments = parse_arguments()
    with run_command(interrupted="interrupted") as console:
        raw = read_yaml(arguments.config)
        settings = experiment_settings(apply_overrides(raw.get("experiment", raw), arguments.set), arguments.config)
        options = EvaluateOptions(
            model=arguments.model,
            split=arguments.split,
            teacher=arguments.teacher,
            tasks=tuple(arguments.task or ()),
            json_file=arguments.json,
            home=arguments.home,
            tracking_uri=arguments.tracking_uri,
        )
        check_surroundings(
            settings,
            home=options.home,
            tracking_uri=options.tracking_uri,
            mlflow=needs_registry(settings, options),
            teacher=options.teacher is None,
        )
        check_weights(options.model, where="model")
        check_weights(options.teacher, where="--teacher")
        from dfkd.jobs.evaluate import run_evaluation

        run_evaluation(settings, options, console)


if __name__ == "__main__":
    main()
