"""Train the teacher of a config on its real images and register it; a search with these settings then finds it.

Examples:
    python experiments/train_teacher.py search_spaces/cifar10_16px_cae.yaml --set dataset.path=/data/cifar10
    python experiments/train_teacher.py search_spaces/digits_cae.yaml --set teacher.training.seed=1
"""

from __future__ import annotations

import argparse

from _bootstrap import find_package

find_package()

from dfkd.config import apply_overrides, experiment_settings, read_yaml  # noqa: E402
from dfkd.jobs.command import open_output, run_command  # noqa: E402
from dfkd.jobs.surroundings import check_surroundings  # noqa: E402


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="a search space, or its `experiment` part in a file of its own")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="override a setting")
    parser.add_argument("--name", help="registry name (default: the space's name with -teacher)")
    parser.add_argument("--retrain", action="store_true", help="train anew even if it exists")
    parser.add_argument("--save", metavar="FILE", help="also write a .safetensors file")
    parser.add_argument("--home", help="folder of everything that is kept (default: ~/.dfkd)")
    parser.add_argument("--tracking-uri", help="of MLflow (default: MLFLOW_TRACKING_URI, else a store in the home)")
    return parser.parse_args()


def main() -> None:
    """Check the config, then train."""
    arguments = parse_arguments()
    with run_command() as console:
        raw = read_yaml(arguments.config)
        settings = experiment_settings(apply_overrides(raw.get("experiment", raw), arguments.set), arguments.config)
        check_surroundings(settings, home=arguments.home, tracking_uri=arguments.tracking_uri)
        name = arguments.name or f"{raw.get('name', 'dfkd')}-teacher"
        from dfkd.data import load_dataset
        from dfkd.jobs.teacher import obtain_teacher
        from dfkd.teachers import save_teacher
        from dfkd.tracking.connection import check_reachable
        from dfkd.tracking.home import open_home, resolve_tracking_uri

        home = open_home(arguments.home)
        tracking_uri = resolve_tracking_uri(arguments.tracking_uri, home=home)
        save_file = open_output(arguments.save, option="--save")
        check_reachable(tracking_uri)
        data = load_dataset(settings.dataset)
        teacher = obtain_teacher(
            settings,
            data,
            name=name,
            home=home,
            tracking_uri=tracking_uri,
            console=console,
            retrain=arguments.retrain,
        )
        if save_file:
            save_teacher(save_file, teacher)
            console.say(f"teacher: written to {save_file}")


if __name__ == "__main__":
    main()
