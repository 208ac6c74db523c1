"""Write a trained network as files that run without this package: ONNX, int8 ONNX, torch.export, and a Python snippet.

Every file takes float32 images [B, C, H, W] in [0, 1], any B, and gives logits. Each is held against the network on
synthetic images, and on those of a config where one is named. Needs pip install -e '.[export]'.

Examples:
    python experiments/export.py models:/digits-student@champion --output exported
    python experiments/export.py models:/digits-student@champion search_spaces/digits_cae.yaml --output exported
    python experiments/export.py student.safetensors --output exported --no-int8
"""

from __future__ import annotations

import argparse

from _bootstrap import find_package

find_package()

from dfkd.config import apply_overrides, experiment_settings, read_yaml  # noqa: E402
from dfkd.jobs.command import EXIT_STATUS, run_command  # noqa: E402
from dfkd.jobs.export_options import ExportOptions  # noqa: E402
from dfkd.jobs.surroundings import REGISTRY, check_weights  # noqa: E402
from dfkd.tracking.connection import check_server_answers  # noqa: E402
from dfkd.tracking.home import open_home, resolve_tracking_uri  # noqa: E402


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXIT_STATUS, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="models:/name@alias, models:/name/3, or a .safetensors file")
    parser.add_argument("config", nargs="?", help="a search space, or its `experiment` part: real images to try it on")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="where to write the files")
    parser.add_argument("--no-int8", action="store_true", help="leave the 8-bit file out")
    parser.add_argument("--split", choices=("train", "validation", "test"), default="test", help="of the config's data")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="override a setting")
    parser.add_argument("--home", help="folder of everything that is kept (default: ~/.dfkd)")
    parser.add_argument("--tracking-uri", help="of MLflow (default: MLFLOW_TRACKING_URI, else a store in the home)")
    return parser.parse_args()


def main() -> None:
    """Check what can be checked at once, then export."""
    arguments = parse_arguments()
    with run_command(interrupted="interrupted") as console:
        settings = None
        if arguments.config is not None:
            raw = read_yaml(arguments.config)
            settings = experiment_settings(apply_overrides(raw.get("experiment", raw), arguments.set), arguments.config)
        elif arguments.set:
            raise ValueError("--set: overrides settings of a config, and none is named.")
        tracking_uri = resolve_tracking_uri(arguments.tracking_uri, home=open_home(arguments.home))
        if arguments.model.startswith(REGISTRY):
            check_server_answers(tracking_uri)
        check_weights(arguments.model, where="model")
        from dfkd.jobs.export import run_export

        options = ExportOptions(
            model=arguments.model,
            output=arguments.output,
            int8=not arguments.no_int8,
            split=arguments.split,
            home=arguments.home,
            tracking_uri=arguments.tracking_uri,
        )
        run_export(options, settings, console)


if __name__ == "__main__":
    main()
