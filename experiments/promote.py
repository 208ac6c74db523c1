"""Make a registered version the champion of its name.

Examples:
    python experiments/promote.py digits-student --version 3
    python experiments/promote.py digits-student --version 3 --require-acceptance

With `--require-acceptance` only one that `experiments/accept.py` accepted beside its own teacher.
"""

from __future__ import annotations

import argparse

from _bootstrap import find_package

find_package()

from dfkd.jobs.command import EXIT_STATUS, run_command  # noqa: E402
from dfkd.tracking.connection import check_reachable  # noqa: E402
from dfkd.tracking.home import open_home, resolve_tracking_uri  # noqa: E402


def main() -> None:
    """Parse, promote, print."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", help="of the registered model, e.g. digits-student")
    parser.add_argument("--version", type=int, required=True)
    parser.add_argument(
        "--require-acceptance", action="store_true", help="refuse a version that accept.py has not accepted"
    )
    parser.add_argument("--home", help="home folder (default ~/.dfkd)")
    parser.add_argument("--tracking-uri", help="MLflow (default: MLFLOW_TRACKING_URI, else the home folder's store)")
    arguments = parser.parse_args()
    with run_command(interrupted="interrupted") as console:
        home = open_home(arguments.home)
        tracking_uri = resolve_tracking_uri(arguments.tracking_uri, home=home)
        check_reachable(tracking_uri)
        from dfkd.tracking.abandoned import end_abandoned_runs
        from dfkd.tracking.acceptance_tags import require_acceptance
        from dfkd.tracking.registry import promote

        for line in end_abandoned_runs(home, tracking_uri):
            console.show(line)
        if arguments.require_acceptance:
            accepted = require_acceptance(tracking_uri, f"models:/{arguments.name}/{arguments.version}")
            console.show(f"accepted by {accepted}")
        console.show(promote(tracking_uri, arguments.name, arguments.version))


if __name__ == "__main__":
    main()
