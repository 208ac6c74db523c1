"""A distillation as it is told while it runs: its epochs in MLflow, in its curve and on the console."""

from __future__ import annotations

import base64
from collections.abc import Callable

from dfkd.cluster.worker import DEVICE_KEY, PREVIEW_KEY, WARNING_KEY, Report
from dfkd.jobs.console import Console, duration, percent
from dfkd.jobs.curve import Curve
from dfkd.tracking.protocol import Tracker


def make_listener(run: Tracker, console: Console, curve: Curve, *, total_epochs: int) -> Callable[[Report], None]:
    """Return what hears the epochs: it logs and prints them, with how long the rest will take at the same pace."""
    devices: set[str] = set()

    def listen(report: Report) -> None:
        metrics = {name: value for name, value in report.items() if "/" in name}
        curve.add(report["epoch"], metrics)
        if WARNING_KEY in report:
            console.say(report[WARNING_KEY])
        run.log_metrics(metrics, step=report["epoch"])
        device = report.get(DEVICE_KEY)  # none in what an earlier release left to go on with
        if device is not None and device not in devices:
            devices.add(device)
            run.set_tags({"device": device})
        if PREVIEW_KEY in report:
            run.log_image("synthetic images", base64.b64decode(report[PREVIEW_KEY]), step=report["epoch"])
        agreement, accuracy = metrics.get("probe/agreement"), metrics.get("val/accuracy/top1")
        done = report["epoch"] + 1
        left = metrics["time/elapsed_seconds"] / done * (total_epochs - done)
        console.say(
            f"epoch {done}/{total_epochs}: agreement on the probe {percent(agreement)}, "
            f"validation accuracy {percent(accuracy)}, {metrics['time/epoch_seconds']:.1f} s"
            + (f" | about {duration(left)} left" if left else "")
        )

    return listen
