"""A run of two workers on the cluster of a test, which tells its epochs to a file. Arguments: address, folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import ray
import torch

from dfkd.cluster import data_parallel


def main(address: str, folder: Path) -> None:
    """Run to the end."""
    ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    inputs = torch.load(folder / "inputs.pt", weights_only=False)

    def on_report(report: dict[str, Any]) -> None:
        with (folder / "epochs.txt").open("a") as file:
            print(report["epoch"], file=file)

    data_parallel.RESTARTS = 0  # a machine that is taken back counts as none
    uri = str(folder / "checkpoints")
    data_parallel.run_data_parallel_here(
        inputs["settings"], inputs["materials"], uri, image_every=0, on_report=on_report
    )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
