"""How dry runs say things: the lines that the plans of several commands have in common."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch

from dfkd.assembly import choose_device
from dfkd.cluster.resources import trials_that_fit
from dfkd.data.real_data import RealData
from dfkd.jobs.console import Console
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.search import CategoricalChoices, ParameterRange

Line = tuple[str, str]  # its name, "" where it goes on, and the words


def show_plan(title: str, lines: Sequence[Line], console: Console) -> None:
    """Print a plan."""
    console.show(f"{title}; nothing was started")
    show_lines(lines, console)


def show_lines(lines: Sequence[Line], console: Console) -> None:
    """Print lines of a plan."""
    console.show("\n".join(f"  {name:<10} {words}" for name, words in lines))


def data_in_words(data: RealData) -> str:
    """Return which images there are, and of what kind."""
    images = ", ".join(f"{name} {len(split):,}" for name, split in data.splits.items()) or "no images"
    return f"{data.title}: {images}; {'x'.join(map(str, data.image_shape))}, {data.num_classes} classes"


def epochs_in_words(settings: ExperimentSettings) -> str:
    """Return how long a run is."""
    steps = f"{settings.distillation.steps_per_epoch} steps of {settings.distillation.batch_size} images"
    return f"{settings.warm_up_epochs} of warm-up, {settings.distillation.epochs} of {steps}"


def range_in_words(parameter: ParameterRange) -> str:
    """Return what is tried of a parameter."""
    if isinstance(parameter, CategoricalChoices):
        return ", ".join(map(str, parameter.choices))
    return f"{parameter.low:g} to {parameter.high:g}, {parameter.type.replace('_', ' ')}"


def device_in_words(settings: ExperimentSettings) -> str:
    """Return what a worker of this machine gets."""
    return "a GPU" if _on_gpu(settings) else "a CPU"


def at_once_here(settings: ExperimentSettings, wanted: int | None) -> int | None:
    """Return how many runs go at a time on this machine; None where a cluster decides.

    ``cluster.resources.concurrent_trials`` asks Ray for the devices, which would have to be started.
    """
    if os.environ.get("RAY_ADDRESS"):
        return wanted
    devices = torch.cuda.device_count() if _on_gpu(settings) else os.cpu_count() or 1
    return trials_that_fit(devices, settings.workers, wanted=wanted)


def at_once_in_words(at_once: int | None) -> str:
    """Return what ``at_once_here`` says."""
    return f"{at_once} at a time here" if at_once else "as many at a time as the cluster allows"


def _on_gpu(settings: ExperimentSettings) -> bool:
    """Whether this machine has a GPU for it; ``cluster.resources.uses_gpu`` asks Ray what a worker gets."""
    return choose_device(settings).type == "cuda"
