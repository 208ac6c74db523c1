"""``Distillation``, the state of a run, and ``distill()``, the whole algorithm.

The loop yields after every epoch and the caller decides: a test makes a list of it, a laptop prints it, a Ray worker
reports it, a pruned trial stops pulling.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from dfkd.augmentation import augment
from dfkd.compilation import compile_frozen
from dfkd.domain import Domain
from dfkd.folding import fold_batch_norm
from dfkd.layer_random import LayerRandom
from dfkd.losses.kd import kd_loss, l1_loss
from dfkd.settings.distillation import DistillationSettings
from dfkd.stopwatch import Stopwatch
from dfkd.synthesis.banked import descend
from dfkd.synthesis.protocol import Gather, SingleWorker, StudentOutput, Synthesizer
from dfkd.teacher_student import TeacherStudent


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochReport:
    """What an epoch gave: ``epoch`` counts from 0, warm-up included; ``preview`` is uint8 [n, C, H, W] or None.

    ``seconds`` are split: ``synthesis`` is everything that makes images or draws them, ``distillation`` the rest of
    the student's steps.
    """

    epoch: int
    metrics: dict[str, float]
    preview: Tensor | None = field(repr=False)  # a printed report is to be read
    seconds: dict[str, float] = field(default_factory=dict, compare=False)  # no two runs take equally long


class StudentWithHead(nn.Module):
    """The student and the method's head as one module, so that data parallelism sees one forward pass."""

    def __init__(self, student: nn.Module, head: nn.Module | None) -> None:
        super().__init__()
        self.student, self.head = student, head

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Map normalised images [B, C, H, W] to logits [B, K] and projections [B, P] (None without a head)."""
        if self.head is None:
            return self.student(images), None
        features = self.student.forward_features(images)  # type: ignore[operator]
        return self.student.classify(features), self.head(features)  # type: ignore[operator]


class Distillation:
    """A run between two epochs: everything that decides how it goes on.

    Args:
        pair: teacher and student, on the training device.
        synthesizer: the method.
        domain: what is known of the real data.
        settings: batch size is that of this worker.
        generator: the source of all randomness, shared with the synthesizer.
        wrap: makes the student data-parallel; called once.
        gather: collects tensors of all workers.
    """

    def __init__(
        self,
        pair: TeacherStudent,
        synthesizer: Synthesizer,
        domain: Domain,
        settings: DistillationSettings,
        generator: torch.Generator,
        *,
        wrap: Callable[[nn.Module], nn.Module] = lambda module: module,
        gather: Gather | None = None,
    ) -> None:
        self.pair, self.synthesizer, self.domain, self.settings = pair, synthesizer, domain, settings
        self.random = generator
        self.layer_random = LayerRandom(generator.initial_seed(), pair.device)
        self.gather = gather or SingleWorker()
        self.network = StudentWithHead(pair.student, synthesizer.student_head)
        self.parallel_network = wrap(self.network)
        self.optimizer = make_optimizer(self.network, settings)
        self.stopwatch = Stopwatch(pair.device)
        # What the student learns from, where no method looks into the teacher: the same answers in less time.
        self.folded_teacher = fold_batch_norm(pair.teacher, (domain.channels, domain.height, domain.width))
        if settings.compile_teacher:
            self.folded_teacher = compile_frozen(self.folded_teacher)
        self.epoch = 0  # the next one

    @property
    def total_epochs(self) -> int:
        """Epochs of the whole run, warm-up included."""
        return self.synthesizer.warm_up_epochs + self.settings.epochs

    def progress(self, of_epoch: float) -> float:
        """Return the share of all student steps that lie behind, in [0, 1): 0 throughout warm-up.

        Args:
            of_epoch: share of the running epoch's steps that are done.
        """
        return max(0.0, self.epoch - self.synthesizer.warm_up_epochs + of_epoch) / self.settings.epochs

    def state_dict(self) -> dict[str, Any]:
        """Return all that a resumed run needs to give the same numbers."""
        return {
            "epoch": self.epoch,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "synthesizer": self.synthesizer.state_dict(),
            "random": self.random.get_state(),
            "layer_random": self.layer_random.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` gave."""
        self.epoch = state["epoch"]
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.synthesizer.load_state_dict(state["synthesizer"])
        self.random.set_state(state["random"].cpu())
        self.layer_random.set_state(state["layer_random"])


def distill(run: Distillation) -> Iterator[EpochReport]:
    """Run the epochs that are left, and yield after each.

    Raises:
        FloatingPointError: if a loss is not finite; the message names epoch and term.
    """
    while run.epoch < run.total_epochs:
        with run.layer_random.swapped_in():
            means = run_epoch(run)
        metrics = means.to_floats(run.epoch)
        run.epoch += 1
        seconds, preview = run.stopwatch.read(), run.synthesizer.preview()
        yield EpochReport(epoch=run.epoch - 1, metrics=metrics, preview=preview, seconds=seconds)


def run_epoch(run: Distillation) -> Means:
    """Alternate synthesis and student steps as the method wants it; return the means of what they gave."""
    means = Means()
    rounds = run.synthesizer.rounds(run.epoch, run.settings.steps_per_epoch)
    num_steps = rounds.per_epoch * rounds.student_steps
    step = 0
    for _ in range(rounds.per_epoch):
        progress = run.progress(step / max(num_steps, 1))
        with run.stopwatch.part("synthesis"):
            terms = run.synthesizer.synthesize(run.epoch, progress)
        means.add("synthesis", terms)
        for _ in range(rounds.student_steps):
            set_learning_rate(run, progress=run.progress(step / num_steps))
            with run.stopwatch.part("distillation"):
                terms = student_step(run)
            means.add("distillation", terms)
            step += 1
    return means


def student_step(run: Distillation) -> dict[str, Tensor]:
    """Take one step of the KD loss and the method's own terms; return them as device tensors."""
    with run.stopwatch.part("synthesis"):
        batch = run.synthesizer.sample(run.settings.batch_size)
    images = run.domain.normalise(_augmented(run, batch.images) if run.synthesizer.augments else batch.images)
    run.parallel_network.train()
    watching = run.synthesizer.watch()
    teacher = run.folded_teacher if watching is None else run.pair.teacher
    with nullcontext() if watching is None else watching:
        teacher_logits = batch.teacher_logits
        assert teacher_logits is None or not run.synthesizer.augments, "answers to other images than the student sees"
        if teacher_logits is None:
            teacher_logits = teacher(images)  # frozen: there is no graph but what a method's hooks start
        logits, projections = run.parallel_network(images)
        output = StudentOutput(logits=logits, projections=projections)
        distilled = _kd(run.settings, output.logits, teacher_logits.detach())
        extra = run.synthesizer.student_loss(batch, teacher_logits, output, run.gather)
    loss = sum(extra.terms.values(), start=distilled)
    terms = {"kd": distilled} | extra.terms | extra.metrics
    if extra.pace is not None:
        terms["pace"] = extra.pace(loss.detach())
        loss = terms["pace"] * loss
    descend(run.optimizer, loss, gradient_clip=run.settings.gradient_clip)
    return {name: term.detach() for name, term in terms.items()}


def _augmented(run: Distillation, images: Tensor) -> Tensor:
    return augment(
        images,
        crop_padding=run.domain.crop_padding,
        horizontal_flip=run.domain.horizontal_flip,
        generator=run.random,
    )


def _kd(settings: DistillationSettings, logits: Tensor, teacher_logits: Tensor) -> Tensor:
    if settings.loss == "l1":
        return settings.weight * l1_loss(logits, teacher_logits)
    return settings.weight * kd_loss(logits, teacher_logits, temperature=settings.temperature)


def make_optimizer(network: nn.Module, settings: DistillationSettings) -> torch.optim.Optimizer:
    """Return the student's optimiser."""
    parameters, rate, decay = network.parameters(), settings.learning_rate, settings.weight_decay
    fused = all(map(_is_dense, network.parameters()))
    if settings.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=rate, weight_decay=decay, fused=fused)
    return torch.optim.SGD(parameters, lr=rate, momentum=settings.momentum, weight_decay=decay, fused=fused)


def _is_dense(parameter: Tensor) -> bool:
    """Whether a gradient has the parameter's strides; a fused step on a CPU is wrong where it has not (torch 2.14)."""
    layouts = [torch.contiguous_format]
    if parameter.dim() == 4:
        layouts.append(torch.channels_last)
    return any(parameter.is_contiguous(memory_format=layout) for layout in layouts)


def set_learning_rate(run: Distillation, *, progress: float) -> None:
    """Set the learning rate for the step at ``progress`` in [0, 1) of all student steps."""
    rate = run.settings.learning_rate * run.settings.decay.share(progress)
    for group in run.optimizer.param_groups:
        group["lr"] = rate


class Means:
    """Means of scalar tensors over an epoch, kept on their device and converted once."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, prefix: str, values: dict[str, Tensor]) -> None:
        """Add one value to each mean ``prefix/name``."""
        for name, value in values.items():
            key = f"{prefix}/{name}"
            self._sums[key] = self._sums[key] + value if key in self._sums else value
            self._counts[key] = self._counts.get(key, 0) + 1

    def to_floats(self, epoch: int) -> dict[str, float]:
        """Return the means; raise FloatingPointError if one is not finite."""
        if not self._sums:
            return {}
        values = torch.stack([total.float() for total in self._sums.values()]).tolist()
        means = {key: value / self._counts[key] for key, value in zip(self._sums, values, strict=True)}
        for key, value in means.items():
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"epoch {epoch}: {key} is {value}. Lower the learning rate, or the weight of this term."
                )
        return means
