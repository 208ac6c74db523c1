"""Score a model on real images: a registered one, one in a file, or a published or untrained network.

The config says which data set, and which teacher the model is held against: the file or registered model that it
names, or the teacher that was trained with its settings. ``--teacher`` names another one; whether that is a shifted
teacher, trained on other images than the data set's, is still what the config says (``--set teacher.shifted=true``).

Examples:
    python experiments/evaluate.py models:/digits-student@champion search_spaces/digits_cae.yaml
    python experiments/evaluate.py models:/digits-student/2 search_spaces/digits_cae.yaml --split validation
    python experiments/evaluate.py teacher.safetensors search_spaces/cifar10_cae.yaml --set dataset.path=/data/cifar10
    python experiments/evaluate.py models:/digits-student@champion search_spaces/digits_cae.yaml --task corruption
    python experiments/evaluate.py untrained:resnet8 search_spaces/digits_cae.yaml --task representation

The config may also be a file of tasks on other data (``transfer:``), to which any network with features is put.

    python experiments/evaluate.py models:/cifar10-16px-student@champion benchmarks/transfer/tiny_imagenet_50.yaml
    python experiments/evaluate.py untrained:resnet8 benchmarks/transfer/tiny_imagenet_50.yaml --task linear_probe
    python experiments/evaluate.py torchvision:resnet18 benchmarks/transfer/camvid.yaml --set seed=1
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from _bootstrap import find_package

find_package()

from dfkd.config import apply_overrides, load_settings, read_yaml  # noqa: E402
from dfkd.jobs.command import EXIT_STATUS, run_command  # noqa: E402
from dfkd.jobs.console import Console  # noqa: E402
from dfkd.jobs.evaluate_options import REGISTRY, EvaluateOptions, needs_registry  # noqa: E402
from dfkd.jobs.surroundings import check_surroundings, check_weights  # noqa: E402
from dfkd.search.experiment_file import load_experiment  # noqa: E402
from dfkd.settings.checks import check_choice  # noqa: E402
from dfkd.settings.experiment import TASKS  # noqa: E402
from dfkd.settings.tasks import TransferSettings  # noqa: E402

INTERRUPTED = "interrupted: the same command goes on with a task that trains from where it was"


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXIT_STATUS, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "model",
        help="models:/name@alias, models:/name/3, a file of weights, untrained:<architecture>, torchvision:<name> or "
        "timm:<name> (their published weights: features are scored, and answers in the data's classes alone)",
    )
    parser.add_argument(
        "config", help="a search space, its `experiment` part in a file, or a file of tasks (`transfer`)"
    )
    parser.add_argument("--split", choices=("train", "validation", "test"), default="test")
    parser.add_argument("--teacher", help="what to hold the model against, named as the model is")
    parser.add_argument(
        "--task",
        action="append",
        metavar="NAME",
        help=f"{', '.join(TASKS)}, or a name in the file of tasks; default: the config's, with 2 classes also binary",
    )
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="override a setting")
    parser.add_argument("--json", metavar="FILE", help="write the scores here")
    parser.add_argument("--home", help="folder of everything that is kept (default: ~/.dfkd)")
    parser.add_argument("--tracking-uri", help="of MLflow (default: MLFLOW_TRACKING_URI, else a store in the home)")
    return parser.parse_args()


def main() -> None:
    """Check the config, then evaluate."""
    arguments = parse_arguments()
    with run_command(interrupted=INTERRUPTED) as console:
        raw = read_yaml(arguments.config)
        options = EvaluateOptions(
            model=arguments.model,
            split=arguments.split,
            teacher=arguments.teacher,
            tasks=tuple(arguments.task or ()),
            json_file=arguments.json,
            home=arguments.home,
            tracking_uri=arguments.tracking_uri,
        )
        if "transfer" in raw:
            transfer_to_other_data(raw, arguments, options, console)
        else:
            evaluate_on_own_data(arguments, options, console)


def evaluate_on_own_data(arguments: argparse.Namespace, options: EvaluateOptions, console: Console) -> None:
    """Score the model on images of its own classes."""
    settings, tracking = load_experiment(arguments.config, arguments.set)
    options = replace(options, tracking=tracking)
    for task in options.tasks:
        check_choice("--task", task, TASKS)
    needed = settings if options.teacher is None else None  # else another one takes its teacher's place
    check_surroundings(
        needed, home=options.home, tracking_uri=options.tracking_uri, mlflow=needs_registry(settings, options)
    )
    check_weights(options.model, where="model")
    check_weights(options.teacher, where="--teacher")
    from dfkd.jobs.evaluate import run_evaluation

    run_evaluation(settings, options, console)


def transfer_to_other_data(
    raw: dict[str, Any], arguments: argparse.Namespace, options: EvaluateOptions, console: Console
) -> None:
    """Put the model to the tasks of a file."""
    settings = load_settings(TransferSettings, apply_overrides(raw, arguments.set), where=arguments.config)
    for task in options.tasks:
        check_choice("--task", task, tuple(settings.transfer))
    registry = options.model.startswith(REGISTRY)
    check_surroundings(None, home=options.home, tracking_uri=options.tracking_uri, mlflow=registry)
    check_weights(options.model, where="model")
    from dfkd.jobs.transfer import run_transfer

    run_transfer(settings, options, console)


if __name__ == "__main__":
    main()
