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

from scipy import stats

RESULTS = Path(__file__).parent / "results"


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="of the folder under benchmarks/results/")
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    return parser.parse_args(arguments)


def main() -> None:
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    arguments, command = parse_arguments(sys.argv[1:split]), sys.argv[split + 1 :]
    if not command:
        raise SystemExit("expected -- and then a script under experiments/ with its options; see --help")
    folder = RESULTS / arguments.name
    for seed in arguments.seeds:
        file = folder / f"seed-{seed}.json"
        if not file.exists():
            subprocess.run([sys.executable, *command, "--set", f"seed={seed}", "--json", str(file)], check=True)
    outcomes = [json.loads((folder / f"seed-{seed}.json").read_text()) for seed in arguments.seeds]
    lines = [without_folders(command), f"seeds {arguments.seeds}", ""]
    for part in ("test", "test_of_noise_floor"):
        names = sorted({name for outcome in outcomes for name in outcome.get(part, {})})
        lines += [f"{part}/{name}: {interval([outcome[part][name] for outcome in outcomes])}" for name in names]
    summary = "\n".join(lines)
    (folder / "summary.txt").write_text(summary + "\n")
    print(summary)


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
