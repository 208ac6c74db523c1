"""The floor under a search: KD on random noise with the same student steps, beside the trials."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import ray
from torch import Tensor

from dfkd.assembly import Materials, choose_device
from dfkd.cluster.local_session import LocalSession
from dfkd.cluster.resources import uses_gpu
from dfkd.cluster.worker import Report, run_worker
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.synthesis import RandomNoiseSettings


@dataclass(frozen=True, kw_only=True)
class FloorRun:
    """A floor that is being computed on the cluster."""

    reference: Any

    def student_state(self) -> dict[str, Tensor]:
        """Wait for the floor's student and return its weights."""
        state: dict[str, Tensor] = ray.get(self.reference)
        return state


def start_floor(settings: ExperimentSettings, materials: Materials) -> FloorRun:
    """Start the floor of an experiment as one Ray task: same teacher, student, student steps, batch and seed."""
    floor_settings = dataclasses.replace(settings, synthesis=RandomNoiseSettings(), workers=1)
    task = ray.remote(num_cpus=1, num_gpus=1 if uses_gpu(settings) else 0)(run_floor)
    return FloorRun(reference=task.remote(floor_settings, materials))


def run_floor(settings: ExperimentSettings, materials: Materials) -> dict[str, Tensor]:
    """Run KD on random noise and return the student's weights."""
    reports: list[Report] = []
    session = LocalSession(choose_device(settings), reports.append)
    student = run_worker(settings, dataclasses.replace(materials, probe=None, validation=None), session)
    return {name: value.cpu() for name, value in student.state_dict().items()}
