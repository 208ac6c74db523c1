"""Deliver to MLflow what a search could not.

Examples:
    python experiments/deliver.py ~/.dfkd/tracking/digits-student-20261122-120000-3fa2
    python experiments/deliver.py ~/.dfkd/tracking/digits-student-20261122-120000-3fa2 --tracking-uri http://head:5000
"""

from __future__ import annotations

import argparse
from pathlib import Path

from _bootstrap import find_package

find_package()

from dfkd.jobs.command import EXIT_STATUS, run_command  # noqa: E402
from dfkd.tracking.delivery import deliver_journal  # noqa: E402


def main() -> None:
    """Parse, deliver, print."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("journal", type=Path, help="the folder that the search named: <home>/tracking/<search>")
    parser.add_argument("--tracking-uri", help="where to, if not to where the search was tracked")
    arguments = parser.parse_args()
    with run_command(interrupted="interrupted: the same command delivers what is left") as console:
        undelivered = deliver_journal(arguments.journal, tracking_uri=arguments.tracking_uri)
        if undelivered:
            raise ConnectionError(undelivered)
        console.show(f"All events of {arguments.journal} are in MLflow.")


if __name__ == "__main__":
    main()
