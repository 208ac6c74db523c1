"""Judge whether a student may take its teacher's place: non-inferiority on a labelled set that neither has seen.

The exit status is 0 if it is accepted, 3 if it is not, 2 if it could not be judged. The report is kept in MLflow, and
the verdict with a registered version, where `promote.py --require-acceptance` reads it.

Examples:
    python experiments/accept.py models:/digits-student@candidate search_spaces/digits_cae.yaml
    python experiments/accept.py models:/digits-student/2 search_spaces/digits_cae.yaml --set acceptance.margin=0.05
    python experiments/accept.py student.safetensors search_spaces/pneumonia_cae.yaml --teacher teacher.safetensors
    ... --set acceptance.metric=balanced_accuracy --set acceptance.minimum_sensitivity=0.8
"""

from __future__ import annotations

import argparse

from _bootstrap import find_package

find_package()

from dfkd.config import apply_overrides, experiment_settings, load_settings, read_yaml  # noqa: E402
from dfkd.jobs.command import run_command  # noqa: E402
from dfkd.jobs.evaluate_options import EvaluateOptions  # noqa: E402
from dfkd.jobs.surroundings import check_surroundings, check_weights  # noqa: E402
from dfkd.search.experiment_file import load_experiment  # noqa: E402
from dfkd.settings.acceptance import AcceptanceSettings  # noqa: E402
from dfkd.settings.experiment import ExperimentSettings  # noqa: E402
from dfkd.settings.search import TrackingSettings  # noqa: E402

ACCEPTANCE = "acceptance"


NOT_ACCEPTED = 3  # a status of its own: 1 is a defect


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="models:/name@alias, models:/name/3, or a file of weights")
    parser.add_argument(
        "config", help="a search space, or a file with the parts `experiment` and, if need be, `acceptance`"
    )
    parser.add_argument("--split", choices=("validation", "test"), default="test")
    parser.add_argument("--teacher", help="named as the model is (default: the config's)")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="override a setting")
    parser.add_argument("--json", metavar="FILE", help="write the report here, too")
    parser.add_argument("--home", help="folder of everything that is kept (default: ~/.dfkd)")
    parser.add_argument("--tracking-uri", help="of MLflow (default: MLFLOW_TRACKING_URI, else a store in the home)")
    return parser.parse_args()


def read_settings(config: str, overrides: list[str]) -> tuple[ExperimentSettings, AcceptanceSettings, TrackingSettings]:
    """Return what is judged on which images, by which rule, and what of it may be told."""
    raw = read_yaml(config)
    rules = [override for override in overrides if override.startswith(f"{ACCEPTANCE}.")]
    others = [override for override in overrides if override not in rules]
    rule = apply_overrides({ACCEPTANCE: raw.get(ACCEPTANCE) or {}}, rules)[ACCEPTANCE]
    if "experiment" in raw:
        settings, tracking = load_experiment(config, others)
    else:
        alone = {key: raw[key] for key in raw if key != ACCEPTANCE}
        tracking = TrackingSettings()
        settings = experiment_settings(apply_overrides(alone, others), config)
    return settings, load_settings(AcceptanceSettings, rule, where=f"{config}, {ACCEPTANCE}"), tracking


def main() -> None:
    """Check the config, then judge."""
    arguments = parse_arguments()
    with run_command(interrupted="interrupted") as console:
        settings, rule, tracking = read_settings(arguments.config, arguments.set)
        options = EvaluateOptions(
            model=arguments.model,
            split=arguments.split,
            teacher=arguments.teacher,
            json_file=arguments.json,
            home=arguments.home,
            tracking_uri=arguments.tracking_uri,
            tracking=tracking,
        )
        check_surroundings(settings, home=options.home, tracking_uri=options.tracking_uri)
        check_weights(options.model, where="model")
        check_weights(options.teacher, where="--teacher")
        from dfkd.jobs.accept import run_acceptance

        if not run_acceptance(settings, rule, options, console):
            raise SystemExit(NOT_ACCEPTED)


if __name__ == "__main__":
    main()
