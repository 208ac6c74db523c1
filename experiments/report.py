"""Write one HTML file on a search, a distillation or any run of them: scores, leaderboard, figures, images, settings.

It is read from MLflow, needs no network to look at, and holds synthetic images where these were recorded: whoever it is
sent to sees them. The figures lie beside it as SVG.

Examples:
    python experiments/report.py digits-student
    python experiments/report.py digits-student-20261122-120000-3fa2 --output report.html
    python experiments/report.py 0123456789abcdef0123456789abcdef --tracking-uri http://head:5000
"""

from __future__ import annotations

import argparse

from _bootstrap import find_package

find_package()

from dfkd.jobs.command import EXIT_STATUS, run_command  # noqa: E402
from dfkd.jobs.surroundings import check_surroundings  # noqa: E402


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXIT_STATUS, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "run", help="name of a search, a distillation or an experiment, or MLflow's identifier of a run"
    )
    parser.add_argument("--output", metavar="FILE", help="where to write it (default: report-<run>.html here)")
    parser.add_argument("--home", help="folder of everything that is kept (default: ~/.dfkd)")
    parser.add_argument("--tracking-uri", help="of MLflow (default: MLFLOW_TRACKING_URI, else a store in the home)")
    return parser.parse_args()


def main() -> None:
    """Check that MLflow answers, then write the report."""
    arguments = parse_arguments()
    with run_command(interrupted="interrupted") as console:
        check_surroundings(None, home=arguments.home, tracking_uri=arguments.tracking_uri)
        from dfkd.jobs.report import run_report

        run_report(
            arguments.run,
            output=arguments.output,
            home=arguments.home,
            tracking_uri=arguments.tracking_uri,
            console=console,
        )


if __name__ == "__main__":
    main()
