"""Settings -> live objects. The one module that knows every table."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from dfkd.baselines import BASELINES, StoredImages
from dfkd.data.image_set import ImageSet
from dfkd.data.real_data import RealData
from dfkd.distillation import Distillation
from dfkd.domain import Domain
from dfkd.label_embeddings import embed_labels
from dfkd.probe_set import ProbeSet, score_on_probe
from dfkd.settings.experiment import ExperimentSettings, LabelEmbeddingSettings
from dfkd.settings.synthesis import OnlineSettings, RoundsSettings, StoredImagesSettings, SynthesisSettings
from dfkd.settings.tasks import TransferSettings
from dfkd.synthesis import build_synthesizer
from dfkd.synthesis.protocol import Gather, Synthesizer
from dfkd.tasks import TaskInput, evaluate
from dfkd.tasks.protocol import predict_logits
from dfkd.teacher_student import TeacherStudent
from dfkd.teachers import Teacher, build_network, require_batch_norm


@dataclass(frozen=True, kw_only=True)
class Materials:
    """What every trial of a search shares: fetched once, then handed to each worker.

    Attributes:
        teacher: network and what is known of its data.
        probe: the teacher's synthetic exam; None skips it.
        validation: real images for reports during training; None where there are none.
        test: real images that a comparison follows the student on, to show what picking the best epoch on them would
            give; they choose nothing. None skips it.
        images: what a baseline on real images learns from, uint8 [N, C, H, W]; None for every other method.
        label_embeddings: vectors [K, E] by where they come from; what is missing is made where it is needed.
    """

    teacher: Teacher
    probe: ProbeSet | None = None
    validation: ImageSet | None = None
    test: ImageSet | None = None
    images: Tensor | None = None
    label_embeddings: Mapping[LabelEmbeddingSettings, Tensor] = field(default_factory=dict)


def load_images(settings: ExperimentSettings, data: RealData) -> Tensor | None:
    """Return the real images that the experiment's method learns from, uint8 [N, C, H, W]; None for a data-free one.

    Raises:
        ValueError: if they are not there.
    """
    load = BASELINES.get(settings.synthesis.method)
    return None if load is None else load(settings.synthesis, data)


def choose_device(settings: ExperimentSettings | TransferSettings) -> torch.device:
    """Return the device that the settings ask for; ``auto`` takes CUDA where there is one.

    Raises:
        ValueError: if CUDA is asked for and there is none.
    """
    return find_device(settings.device)


def find_device(name: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """Return the device of this name, as ``choose_device`` does."""
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device: 'cuda' was asked for, and torch sees no CUDA device here. Use 'auto' or 'cpu'.")
    return torch.device("cpu" if name == "cpu" or not torch.cuda.is_available() else "cuda")


def build_domain(settings: ExperimentSettings, teacher: Teacher, *, label_embeddings: Tensor | None = None) -> Domain:
    """Return all that the method may know: from the teacher's own description and the class names, not from images."""
    if label_embeddings is None:
        label_embeddings = embed_labels(settings.label_embeddings, teacher.class_names)
    channels, height, width = teacher.image_shape
    return Domain(
        channels=channels,
        height=height,
        width=width,
        mean=teacher.mean,
        std=teacher.std,
        class_names=teacher.class_names,
        label_embeddings=label_embeddings,
        crop_padding=settings.dataset.crop_padding,
        horizontal_flip=settings.dataset.horizontal_flip,
    )


def build_student(settings: ExperimentSettings, teacher: Teacher) -> nn.Module:
    """Return the untrained student; its weights depend on the experiment's seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return build_network(
            settings.student.network, num_classes=len(teacher.class_names), in_channels=teacher.image_shape[0]
        )


def build_distillation(
    settings: ExperimentSettings,
    teacher: Teacher,
    *,
    device: torch.device,
    images: Tensor | None = None,
    label_embeddings: Tensor | None = None,
    student: nn.Module | None = None,
    rank: int = 0,
    world_size: int = 1,
    wrap: Callable[[nn.Module], nn.Module] = lambda module: module,
    gather: Gather | None = None,
) -> Distillation:
    """Put one worker's run together.

    Args:
        settings: batch sizes are global; each worker takes its share.
        teacher: its network is copied, so that the caller's stays untouched.
        device: where this worker trains.
        images: of ``load_images``.
        label_embeddings: [K, E]; None makes them here.
        student: untrained; None builds the one of the settings.
        rank: of this worker.
        world_size: number of workers.
        wrap: makes the student data-parallel.
        gather: collects tensors of all workers.

    Raises:
        ValueError: if the settings do not fit the teacher or cannot be shared among the workers.
    """
    require_batch_norm(teacher, settings.synthesis.batch_norm_weight)
    layout = torch.channels_last  # up to 2.5 times faster convolutions on a CPU, and what tensor cores want
    network = copy.deepcopy(teacher.model).to(device, memory_format=layout)  # type: ignore[call-overload]
    student = build_student(settings, teacher) if student is None else student
    pair = TeacherStudent(network, student.to(device, memory_format=layout))  # type: ignore[call-overload]
    random = torch.Generator(device=device).manual_seed(settings.seed * 1009 + rank)
    domain = build_domain(settings, teacher, label_embeddings=label_embeddings)
    synthesizer = build_method(share_synthesis(settings.synthesis, world_size), pair, domain, random, images=images)
    batch_size = share_of(settings.distillation.batch_size, world_size, "distillation.batch_size")
    distillation = dataclasses.replace(settings.distillation, batch_size=batch_size)
    return Distillation(pair, synthesizer, domain, distillation, random, wrap=wrap, gather=gather)


def build_method(
    settings: SynthesisSettings,
    pair: TeacherStudent,
    domain: Domain,
    generator: torch.Generator,
    *,
    images: Tensor | None = None,
) -> Synthesizer:
    """Return a method of ``SYNTHESIZERS``, or a baseline of ``BASELINES`` on its real images.

    Raises:
        ValueError: if a baseline has no images: those of a search are loaded once, for the method of its fixed part.
    """
    if not isinstance(settings, StoredImagesSettings):
        return build_synthesizer(settings, pair, domain, generator)
    if images is None:
        raise ValueError(
            f"synthesis.method: '{settings.method}' learns from real images, and none were loaded. "
            "Set it in the fixed part: it cannot be one of several methods that a search tries."
        )
    return StoredImages(settings, pair, domain, generator, images)


def share_synthesis(settings: SynthesisSettings, world_size: int) -> SynthesisSettings:
    """Return the settings of one worker: its share of the synthesis batch and of the bank."""
    shares: dict[str, Any] = {}
    if isinstance(settings, RoundsSettings | OnlineSettings):
        shares["batch_size"] = share_of(settings.batch_size, world_size, "synthesis.batch_size")
    if isinstance(settings, RoundsSettings):
        shares["bank_capacity"] = -(-settings.bank_capacity // world_size)
    return dataclasses.replace(settings, **shares)


def share_of(batch_size: int, world_size: int, name: str) -> int:
    """Return one worker's part of a global batch; raise ValueError if it does not divide evenly."""
    if batch_size % world_size:
        raise ValueError(f"{name}: {batch_size} images do not split evenly over {world_size} workers.")
    return batch_size // world_size


class Judged(Protocol):
    """A student beside its teacher, and what is known of their images: a ``Distillation`` is one."""

    pair: TeacherStudent
    domain: Domain


class StudentEvaluation:
    """Scores the student of a run as it is, after every epoch; the teacher, which never changes, is asked once.

    Args:
        run: whose student.
        settings: its tasks.
        materials: probe set and real images.
    """

    def __init__(self, run: Judged, settings: ExperimentSettings, materials: Materials) -> None:
        self._run, self._tasks, self._materials = run, settings.tasks, materials
        self._teacher_logits: dict[str, Tensor] = {}  # by split

    def __call__(self) -> dict[str, float]:
        """Return scores on the probe set, on validation images under ``val/``, on test images under ``test/``."""
        metrics: dict[str, float] = {}
        if (probe := self._materials.probe) is not None:
            metrics |= score_on_probe(self._logits(self._run.pair.student, probe.images), probe)
        for split, images in (("val", self._materials.validation), ("test", self._materials.test)):
            if images is not None:
                scores = evaluate(self._tasks, self._task_input(split, images))
                metrics |= {f"{split}/{name}": value for name, value in scores.items()}
        return metrics

    def _task_input(self, split: str, images: ImageSet) -> TaskInput:
        pair = self._run.pair
        if split not in self._teacher_logits:
            self._teacher_logits[split] = self._logits(pair.teacher, images.images)
        return TaskInput(
            student=pair.student,
            teacher=pair.teacher,
            images=images,
            normalise=self._run.domain.normalise,
            device=pair.device,
            known_teacher_logits=self._teacher_logits[split],
        )

    def _logits(self, model: nn.Module, images: Tensor) -> Tensor:
        return predict_logits(model, images, normalise=self._run.domain.normalise, device=self._run.pair.device)
