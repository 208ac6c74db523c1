"""How long the epochs of a run take here, from one of each kind."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from dfkd.assembly import Judged, Materials, StudentEvaluation, build_distillation, choose_device
from dfkd.distillation import distill
from dfkd.settings.experiment import ExperimentSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochSeconds:
    """Seconds of an epoch.

    Attributes:
        warm_up: that fills the bank; 0 where a method has none.
        learning: with student steps.
        judging: after each of either.
    """

    warm_up: float
    learning: float
    judging: float

    def of_run(self, settings: ExperimentSettings, *, learning_epochs: int | None = None) -> float:
        """Return the seconds of a run of these settings: a whole one, or as far as some epochs of learning."""
        learning = learning_epochs or settings.distillation.epochs
        own = settings.warm_up_epochs * self.warm_up + learning * self.learning
        return own + (settings.warm_up_epochs + learning) * self.judging

    def sentence(self) -> str:
        """Return them in words."""
        warm_up = f"{self.warm_up:.1f} s an epoch of warm-up, " if self.warm_up else ""
        return f"by one epoch here: {warm_up}{self.learning:.1f} s one of learning, {self.judging:.1f} s to judge it"


def time_epochs(settings: ExperimentSettings, materials: Materials, *, threads: int | None = None) -> EpochSeconds:
    """Run one warm-up epoch, one with student steps and one evaluation, as a worker would, and drop what they gave.

    Args:
        settings: of several workers, one's share is timed.
        materials: the probe set may be missing: its share of the judging is then too.
        threads: of the CPU, as Ray gives a worker one; None: all.
    """
    run = build_distillation(
        settings,
        materials.teacher,
        device=choose_device(settings),
        images=materials.images,
        label_embeddings=materials.label_embeddings.get(settings.label_embeddings),
        world_size=settings.workers,
    )
    epochs = distill(run)
    with limited_threads(threads):
        warm_up = _seconds(lambda: next(epochs)) if settings.warm_up_epochs else 0.0
        run.epoch = settings.warm_up_epochs
        learning = _seconds(lambda: next(epochs))
        return EpochSeconds(warm_up=warm_up, learning=learning, judging=time_judging(run, settings, materials))


def time_judging(run: Judged, settings: ExperimentSettings, materials: Materials) -> float:
    """Return the seconds of one evaluation of the student after an epoch; not of the first, which asks the teacher.

    Args:
        run: whose student.
        settings: its tasks.
        materials: real images, and the probe set where it is to be judged on that too.
    """
    evaluate = StudentEvaluation(run, settings, materials)
    evaluate()
    return _seconds(evaluate)


def _seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


@contextmanager
def limited_threads(number: int | None) -> Iterator[None]:
    """Have torch use so many threads of the CPU for as long as the block lasts; None: as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
