"""``Teacher``: a trained network and what is known of the data it was trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from dfkd.domain import normalise
from dfkd.losses.inversion import has_batch_norm
from dfkd.settings.experiment import numbered_classes

#: Methods whose published settings serve any differentiable teacher.
WITHOUT_BATCH_NORM = ("dafl", "dfad", "mad", "pre_dfkd", "zskt")


@dataclass(frozen=True, kw_only=True, eq=False)
class Teacher:
    """A trained network and what is known of the data it was trained on.

    Attributes:
        model: maps normalised images [B, C, H, W] to logits [B, K].
        architecture: name in ``dfkd.models``, torchvision's or timm's with its prefix, or what it was loaded from
            ("pt2", "mlflow") where nobody can build it again, or "own" for a module that was given in Python.
        class_names: K names, in the order of the logits.
        image_shape: (C, H, W).
        mean: per channel, of images in [0, 1].
        std: per channel, of images in [0, 1].
        shifted: trained on other images than those it is judged by; tables say "shifted teacher".
        provenance: where it came from, for the card of its students.
        hash: of the network and what it expects, ``hash_teacher``; computed unless given.
    """

    model: nn.Module
    architecture: str = "own"
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    shifted: bool = False
    provenance: str = "an nn.Module given in Python"
    hash: str = ""

    def __post_init__(self) -> None:
        for name in ("class_names", "image_shape", "mean", "std"):  # in Python, lists come as easily
            object.__setattr__(self, name, tuple(getattr(self, name)))
        channels = self.image_shape[0]
        if len(self.mean) != channels or len(self.std) != channels:
            raise ValueError(
                f"teacher.mean and teacher.std: expected {channels} values each (one a channel), "
                f"got {len(self.mean)} and {len(self.std)}."
            )
        if not self.hash:
            hashed = hash_teacher(
                self.model,
                mean=self.mean,
                std=self.std,
                image_shape=self.image_shape,
                num_classes=len(self.class_names),
            )
            object.__setattr__(self, "hash", hashed)

    @property
    def label(self) -> str:
        """What every table calls this teacher."""
        return teacher_label(shifted=self.shifted)

    def without_class_names(self) -> Teacher:
        """Return the same teacher with numbers in place of class names."""
        return replace(self, class_names=numbered_classes(len(self.class_names)))

    def normalise(self, images: Tensor) -> Tensor:
        """Map images [B, C, H, W] in [0, 1] to what the network takes."""
        return normalise(images, self.mean, self.std)


def teacher_label(*, shifted: bool) -> str:
    """Return what every table calls a teacher: the scores of a shifted one say little of how well it was trained."""
    return "shifted teacher" if shifted else "teacher"


def hash_teacher(
    model: nn.Module,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    image_shape: Sequence[int],
    num_classes: int,
) -> str:
    """Return the SHA-256, in hexadecimal, of all that decides a teacher's answer to an image.

    It covers normalisation, image shape, number of classes, and names and bytes of the state dict, sorted by name.
    Corrected normalisation makes another teacher. Device and memory layout do not, and neither do names of classes.
    """
    digest = hashlib.sha256()
    digest.update(repr(([*map(float, mean)], [*map(float, std)], [*map(int, image_shape)], num_classes)).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def require_batch_norm(teacher: Teacher, weight: float) -> None:
    """Refuse a teacher without BatchNorm statistics, unless nothing is asked of them.

    Args:
        teacher: any.
        weight: ``synthesis.weights.batch_norm``.

    Raises:
        ValueError: if ``weight`` is not 0 and the network has no BatchNorm layer that remembers statistics.
    """
    require_statistics(teacher.model, weight, named=f"'{teacher.architecture}' ({teacher.provenance})")


def require_statistics(network: nn.Module, weight: float, *, named: str) -> None:
    """Do as ``require_batch_norm`` for a network that is no ``Teacher`` yet; ``named`` is what messages call it."""
    if weight and not has_batch_norm(network):
        raise ValueError(
            f"synthesis.weights.batch_norm: is {weight:g}, but the teacher {named} has no BatchNorm layer whose "
            "statistics could be matched. Set it to 0, or take a method that asks nothing of them: "
            f"{', '.join(WITHOUT_BATCH_NORM)}."
        )


def check_classes(teachers_classes: Sequence[str], data_classes: Sequence[str]) -> None:
    """Refuse a teacher whose classes are not those of the data, in the same order; upper and lower case are one.

    Numbers in place of names say how many classes there are, and no more.

    Raises:
        ValueError: with the first class that differs.
    """
    if len(teachers_classes) != len(data_classes):
        raise ValueError(
            f"teacher: knows {len(teachers_classes)} classes ({_shorten(teachers_classes)}), "
            f"but the data have {len(data_classes)} ({_shorten(data_classes)}). They must be the same."
        )
    if tuple(teachers_classes) == numbered_classes(len(teachers_classes)):
        return
    for index, (ours, theirs) in enumerate(zip(teachers_classes, data_classes, strict=True)):
        if ours.strip().casefold() != theirs.strip().casefold():
            raise ValueError(
                f"teacher: class {index} is '{ours}' to the teacher and '{theirs}' in the data. "
                f"Teacher: {_shorten(teachers_classes)}. Data: {_shorten(data_classes)}. If these are other names for "
                "the same classes in the same order, give the data's as teacher.class_names."
            )


def _shorten(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
