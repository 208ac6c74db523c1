"""Deliver to MLflow what a search could not: `python experiments/deliver.py <journal folder>`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from _bootstrap import find_package

find_package()

from dfkd.tracking.delivery import deliver_journal  # noqa: E402


def main() -> int:
    """Parse, deliver, print."""
    parser = argparse.ArgumentParser(description="Deliver the events of a search's journal to MLflow.")
    parser.add_argument("journal", type=Path, help="the folder that the search named: <home>/tracking/<search>")
    parser.add_argument("--tracking-uri", help="where to, if not to where the search was tracked")
    arguments = parser.parse_args()
    try:
        undelivered = deliver_journal(arguments.journal, tracking_uri=arguments.tracking_uri)
    except (OSError, ValueError) as error:  # ConnectionError and BlockingIOError are OSErrors
        undelivered = str(error)
    print(undelivered or f"All events of {arguments.journal} are in MLflow.", file=sys.stderr if undelivered else None)
    return 1 if undelivered else 0


if __name__ == "__main__":
    sys.exit(main())
