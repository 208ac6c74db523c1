"""What the benchmarks of one config share: their arguments, the shape of its images, and how their numbers are kept."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from dfkd.jobs.environment import commit, versions
from dfkd.settings.experiment import ExperimentSettings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every benchmark of one config takes."""
    parser.add_argument("config", help="a search space, or its `experiment` part in a file of its own")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="override a setting")
    parser.add_argument(
        "--image-shape",
        type=int,
        nargs=3,
        default=(3, 32, 32),
        metavar=("C", "H", "W"),
        help="where the config does not say it",
    )
    parser.add_argument("--json", metavar="FILE", help="write the numbers here")
    parser.add_argument("--seconds", type=float, default=60.0, help="roughly how long to measure")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out, which takes minutes")
    parser.add_argument("--bf16", action="store_true", help="autocast to bfloat16, as a run on a GPU may")


def shape_of(settings: ExperimentSettings, otherwise: Sequence[int]) -> tuple[int, int, int]:
    """Return (C, H, W) of the config's images, which need not be there."""
    channels, height, width = otherwise
    size = settings.dataset.image_size
    return settings.dataset.channels or channels, size or height, size or width


def surroundings(device: torch.device) -> dict[str, Any]:
    """Return what numbers of speed mean nothing without."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    return {
        "device": name,
        "threads": torch.get_num_threads(),
        "cpu_count": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "commit": commit(),
        "versions": versions(),
    }


def write(facts: Mapping[str, Any], file: str | None) -> None:
    """Print the numbers, and keep them in a file if one is named."""
    text = json.dumps(facts, indent=1)
    print(text)
    if file:
        Path(file).write_text(text + "\n")
