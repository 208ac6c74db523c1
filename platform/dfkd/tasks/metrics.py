"""The way to torchmetrics, an extra: importing it takes seconds, and most tasks do without."""

from __future__ import annotations

from typing import Any


def import_torchmetrics() -> Any:
    """Return the module ``torchmetrics``; raise ValueError that says how to install it."""
    try:
        import torchmetrics
    except ImportError as error:
        raise ValueError(
            f"tasks: this task is scored with torchmetrics: pip install -e '.[transfer]' ({error})."
        ) from None
    return torchmetrics


def mean_average_precision(max_detections: int) -> Any:
    """Return torchmetrics' mean average precision, which asks pycocotools."""
    import_torchmetrics()
    try:
        import pycocotools  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"tasks: detection is scored with pycocotools: pip install -e '.[transfer]' ({error})."
        ) from None
    from torchmetrics.detection import MeanAveragePrecision

    metric = MeanAveragePrecision(max_detection_thresholds=[1, 10, max_detections])
    metric.warn_on_many_detections = False  # the detector itself gives no more
    return metric
