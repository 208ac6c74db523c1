"""Runs one command under several seeds and writes every outcome, with mean and 95 % t-interval of the test scores.

Each seed is a process of its own, one after the other, alone on the machine. A seed whose outcome exists is skipped,
so that an interrupted benchmark goes on where it stopped.

Examples:
    python benchmarks/seeds.py digits --seeds 0 1 2 3 4 -- experiments/search.py search_spaces/digits_cae.yaml
    python benchmarks/seeds.py cifar10_16px --seeds 0 1 2 -- experiments/distill.py \
        search_spaces/cifar10_16px_cae.yaml --set dataset.path=/data/cifar10
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from scipy import stats

RESULTS = Path(__file__).parent / "results"


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="of the folder under benchmarks/results/")
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument(
        "--allow-mixed", action="store_true", help="summarise results of several or unclean commits, and say so"
    )
    return parser.parse_args(arguments)


def main() -> None:
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    arguments, command = parse_arguments(sys.argv[1:split]), sys.argv[split + 1 :]
    if not command:
        raise SystemExit("expected -- and then a script under experiments/ with its options; see --help")
    folder = RESULTS / arguments.name
    files = [folder / f"seed-{seed}.json" for seed in arguments.seeds]
    check_commits([file for file in files if file.exists()], allow_mixed=arguments.allow_mixed)  # before the work
    for seed, file in zip(arguments.seeds, files, strict=True):
        if not file.exists():
            subprocess.run([sys.executable, *command, "--set", f"seed={seed}", "--json", str(file)], check=True)
    code = check_commits(files, allow_mixed=arguments.allow_mixed)
    summary = summarise([json.loads(file.read_text()) for file in files])
    text = "\n".join([without_folders(command), f"seeds {arguments.seeds}", code, "", *summary])
    (folder / "summary.txt").write_text(text + "\n")
    print(text)


def check_commits(files: list[Path], *, allow_mixed: bool) -> str:
    """Return in words which code made the results; refuse those that no one commit made."""
    commits = {file: str(json.loads(file.read_text())["commit"]) for file in files}
    different = sorted(set(commits.values()))
    if len(different) < 2 and not any("+" in commit for commit in different):
        return f"commit {''.join(different)}"
    listed = ", ".join(f"{file.name} {commit}" for file, commit in commits.items())
    if allow_mixed:
        return f"NOT OF ONE COMMIT (+ had uncommitted changes): {listed}"
    raise SystemExit(
        f"{files[0].parent}: expected results of one commit without changes, got {listed}. Delete the files that are "
        "not, and they are made anew; or give --allow-mixed, and the summary says so."
    )


def summarise(outcomes: list[dict[str, Any]]) -> list[str]:
    """Return a line a score, with a teacher that was trained on other images called what it is."""
    shifted = " (shifted teacher)" if any(outcome.get("teacher") == "shifted teacher" for outcome in outcomes) else ""
    lines = []
    for part in ("test", "test_of_noise_floor"):
        for name in sorted({name for outcome in outcomes for name in outcome.get(part, {})}):
            label = shifted if "teacher" in name else ""
            lines.append(f"{part}/{name}{label}: {interval([outcome[part][name] for outcome in outcomes])}")
    return lines


def without_folders(command: list[str]) -> str:
    """Return the command as results show it: absolute paths cut to their last part."""
    return " ".join(re.sub(r"(?<![\w.])/\S*/", "…/", part) for part in command)


def interval(values: list[float]) -> str:
    """Return mean, half-width of the 95 % t-interval, and every value."""
    mean, each = statistics.fmean(values), " ".join(f"{value:.4f}" for value in values)
    if len(values) < 2:
        return f"{mean:.4f} (n = 1)"
    half = stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return f"{mean:.4f} +- {half:.4f} (n = {len(values)}: {each})"


if __name__ == "__main__":
    main()
