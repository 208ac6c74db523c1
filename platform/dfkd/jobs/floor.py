"""The floor under a search: KD on random noise with the default settings' student steps, beside the trials."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import ray
from torch import Tensor, nn

from dfkd.assembly import Materials, build_student, choose_device
from dfkd.cluster.checkpoints import CheckpointStore
from dfkd.cluster.local_session import LocalSession
from dfkd.cluster.resources import uses_gpu
from dfkd.cluster.worker import Report, run_worker
from dfkd.jobs.console import Console, last_line
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.synthesis import RandomNoiseSettings
from dfkd.teachers import Teacher

NOISE_FLOOR = "noise_floor"  # in a search's storage: its checkpoints


@dataclass(frozen=True, kw_only=True)
class FloorRun:
    """A floor that is being computed on the cluster.

    Attributes:
        settings: of the floor's own student.
        reference: of the Ray task.
    """

    settings: ExperimentSettings
    reference: Any

    def wait(self, teacher: Teacher, console: Console) -> nn.Module | None:
        """Return the floor's student, or None where its run failed: the search does not depend on it."""
        if not ray.wait([self.reference], timeout=0)[0]:
            console.say("waiting for KD on random noise, the floor that the student is compared with")
        try:
            state: dict[str, Tensor] = ray.get(self.reference)
        except ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None) or error
            console.say(f"noise floor failed: {type(cause).__name__}: {last_line(cause)}")
            return None
        student = build_student(self.settings, teacher)
        student.load_state_dict(state)
        return student.eval()


def start_floor(settings: ExperimentSettings, materials: Materials, uri: str) -> FloorRun:
    """Start the floor of an experiment as one Ray task: same teacher, student, student steps, batch and seed.

    Args:
        settings: of the experiment.
        materials: of its trials.
        uri: where the floor keeps its checkpoints; it goes on with what lies there.
    """
    floor_settings = dataclasses.replace(settings, synthesis=RandomNoiseSettings(), workers=1)
    task = ray.remote(num_cpus=1, num_gpus=1 if uses_gpu(settings) else 0)(run_floor)
    needed = dataclasses.replace(materials, probe=None, validation=None, images=None)
    return FloorRun(settings=floor_settings, reference=task.remote(floor_settings, needed, uri))


def run_floor(settings: ExperimentSettings, materials: Materials, uri: str) -> dict[str, Tensor]:
    """Run KD on random noise and return the student's weights."""
    reports: list[Report] = []
    session = LocalSession(choose_device(settings), reports.append, CheckpointStore(uri))
    student = run_worker(settings, materials, session)
    return {name: value.cpu() for name, value in student.state_dict().items()}
