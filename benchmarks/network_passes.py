"""The bare network passes of a config, on random images and untrained networks, and how many of them an epoch needs.

Neither pixels nor weights change how long a pass takes. Nothing is counted or timed here.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from dfkd.assembly import build_student
from dfkd.folding import fold_batch_norm
from dfkd.generators import build_generator
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.synthesis.method import OnlineSettings
from dfkd.teachers import Teacher, build_network

LATENT_WIDTH = 384  # of the packaged label embeddings; the first layer is a small part of a generator


def make_passes(
    settings: ExperimentSettings, shape: tuple[int, int, int], device: torch.device, *, bf16: bool
) -> dict[str, Callable[[], Tensor]]:
    """Return the passes of a student step and of a generator step as calls without arguments."""
    teacher, student = networks(settings, shape, device)
    folded = fold_batch_norm(teacher, shape)  # which answers the student; synthesis needs the BatchNorm layers
    batch, synthesis_batch = settings.distillation.batch_size, getattr(settings.synthesis, "batch_size", 0)
    images = on_device(torch.randn(batch, *shape), device)

    def precision() -> AbstractContextManager[Any]:
        return torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext()

    def teacher_pass() -> Tensor:
        with torch.no_grad(), precision():
            return folded(images)

    def student_pass() -> Tensor:
        student.train().requires_grad_(True).zero_grad(set_to_none=True)
        with precision():
            logits = student(images)
        logits.sum().backward()
        return logits

    passes: dict[str, Callable[[], Tensor]] = {"teacher": teacher_pass, "student": student_pass}
    if not hasattr(settings.synthesis, "generator"):
        return passes
    generator = build_generator(settings.synthesis.generator, latent_width=LATENT_WIDTH, image_shape=shape)
    generator = generator.to(device, memory_format=torch.channels_last)
    latents = torch.randn(synthesis_batch, LATENT_WIDTH, device=device)

    def synthesis_pass() -> Tensor:
        student.eval().requires_grad_(False)
        generator.zero_grad(set_to_none=True)
        with precision():
            made = generator(latents)
            loss = teacher(made).sum() + student(made).sum()
        loss.backward()
        return loss

    return passes | {"synthesis": synthesis_pass}


def networks(
    settings: ExperimentSettings, shape: tuple[int, int, int], device: torch.device
) -> tuple[nn.Module, nn.Module]:
    """Return an untrained teacher, frozen, and a student; what weights they have does not change their speed."""
    num_classes = len(settings.dataset.class_names or ()) or 10
    architecture = settings.teacher.architecture or architecture_in(settings.teacher.weights)
    teacher = build_network(architecture, num_classes=num_classes, in_channels=shape[0])
    named = Teacher(
        model=teacher,
        architecture=architecture,
        class_names=tuple(map(str, range(num_classes))),
        image_shape=shape,
        mean=(0.5,) * shape[0],
        std=(0.25,) * shape[0],
        provenance="untrained",
    )
    student = build_student(settings, named)
    for network in (teacher, student):
        network.to(device, memory_format=torch.channels_last)
    return teacher.eval().requires_grad_(False), student


def architecture_in(weights: str | None) -> str:
    """Return the architecture that a teacher's safetensors file names.

    Raises:
        ValueError: it names none, or is not there.
    """
    if weights is not None and weights.endswith(".safetensors") and Path(weights).exists():
        with safe_open(weights, framework="pt") as file:
            if (named := (file.metadata() or {}).get("architecture")) is not None:
                return str(named)
    raise ValueError(f"teacher.architecture: '{weights}' names none here; give it with --set teacher.architecture=...")


def on_device(images: Tensor, device: torch.device) -> Tensor:
    """Return images in the layout of a run."""
    return images.to(device).contiguous(memory_format=torch.channels_last)


def steps_of(settings: ExperimentSettings) -> int:
    """Return the student steps of an epoch."""
    return settings.distillation.steps_per_epoch


def generator_steps_of(settings: ExperimentSettings) -> int:
    """Return the generator steps of an epoch after warm-up."""
    synthesis = settings.synthesis
    if isinstance(synthesis, OnlineSettings):  # a turn of generator steps for so many student steps
        return synthesis.generator_steps * -(-steps_of(settings) // synthesis.student_steps)  # as `Online.rounds`
    return int(getattr(synthesis, "rounds_per_epoch", 1) * getattr(synthesis, "generator_steps", 0))
