"""Makes the tables of the README from the comparisons under benchmarks/results/.

Examples:
    python benchmarks/leaderboard_table.py
    python benchmarks/leaderboard_table.py --check
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "platform"))

from dfkd.jobs.comparison_readme import comparison_folders, readme_section, replaced  # noqa: E402


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, default=ROOT / "README.md", help="the page with the two marks")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the results")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if page and results disagree")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    page = arguments.page.read_text()
    made = replaced(page, readme_section(comparison_folders(arguments.results)))
    if arguments.check and made != page:
        raise SystemExit(f"{arguments.page.name} does not show the results; run python benchmarks/leaderboard_table.py")
    if not arguments.check:
        arguments.page.write_text(made)


if __name__ == "__main__":
    main()
