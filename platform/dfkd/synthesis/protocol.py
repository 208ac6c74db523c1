"""What a DFKD method is, to the loop that trains the student."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn


class Gather(Protocol):
    """Collects a tensor of every worker: [B, ...] -> [workers * B, ...], with gradient, in the order of ranks."""

    rank: int

    def __call__(self, tensor: Tensor) -> Tensor:
        """Return everybody's tensor, this worker's at ``rank * B``."""
        ...


class SingleWorker:
    """The ``Gather`` of a run with one worker: everybody is this worker."""

    rank = 0

    def __call__(self, tensor: Tensor) -> Tensor:
        """Return the tensor itself."""
        return tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Rounds:
    """How one epoch alternates: ``per_epoch`` times synthesise, then take ``student_steps`` steps."""

    per_epoch: int
    student_steps: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SyntheticBatch:
    """Images to distil on.

    Attributes:
        images: [B, C, H, W] in [0, 1].
        labels: [B], the class each image was made for; None where a method has none.
        sources: [B], the noise source of each image.
        teacher_logits: [B, K] of these very images, where a method has them already: the teacher is not asked again.
    """

    images: Tensor
    labels: Tensor | None = None
    sources: Tensor | None = None
    teacher_logits: Tensor | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StudentOutput:
    """What the student (with its head) says of a batch: logits [B, K] and projections [B, P] of unit length."""

    logits: Tensor
    projections: Tensor | None = None


class StudentLoss(NamedTuple):
    """What a method adds to KD.

    Attributes:
        terms: weighted loss terms by name, added to KD.
        metrics: scalars that are only logged, by name.
        pace: how much a step counts, by its whole loss (a scalar without gradient); None: every step counts in full.
    """

    terms: dict[str, Tensor]
    metrics: dict[str, Tensor]
    pace: Callable[[Tensor], Tensor] | None = None


class Synthesizer(Protocol):
    """A method: it makes images, and may add a loss and a head to the student.

    The constructor takes ``(settings, pair, domain, generator)``; all randomness comes from that generator.
    """

    warm_up_epochs: int
    student_head: nn.Module | None
    augments: bool  # whether the student learns from shifted and mirrored views of what ``sample`` gives

    def rounds(self, epoch: int, steps_per_epoch: int) -> Rounds:
        """Say how epoch ``epoch`` (warm-up included) alternates, given the student steps that an epoch shall have."""
        ...

    def synthesize(self, epoch: int, progress: float) -> dict[str, Tensor]:
        """Improve generator and bank once; return scalar tensors to log.

        Args:
            epoch: counts from 0, warm-up included.
            progress: share of all student steps that lie behind, in [0, 1).
        """
        ...

    def sample(self, batch_size: int) -> SyntheticBatch:
        """Return images to distil on."""
        ...

    def watch(self) -> AbstractContextManager[object] | None:
        """Surround a student step's passes and ``student_loss``: hooks that the loss needs are there, then gone.

        None where nothing is hooked: the student then learns from a copy of the teacher without BatchNorm layers.
        A hook on the frozen teacher may start a graph (by giving on a map that asks for a gradient), and
        ``student_loss`` then gets teacher logits that it can differentiate. Nobody else does.
        """
        ...

    def student_loss(
        self, batch: SyntheticBatch, teacher_logits: Tensor, output: StudentOutput, gather: Gather
    ) -> StudentLoss:
        """Return the method's loss terms beside KD."""
        ...

    def preview(self) -> Tensor | None:
        """Return some of the newest images, uint8 [n, C, H, W]."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return all that a resumed run needs."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` gave."""
        ...
