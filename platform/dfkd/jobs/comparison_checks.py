"""What a comparison's data and networks are checked for before anything runs; none of it needs a cluster."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dfkd.config.comparison import Comparison
from dfkd.data import load_dataset
from dfkd.data.real_data import RealData
from dfkd.jobs.rehearsal import untrained_teacher
from dfkd.settings.objectives import ComparedObjective
from dfkd.tasks.further_objectives import check_data as check_transfer_data
from dfkd.teachers import build_network


def load_checked_data(comparison: Comparison, transfer: Mapping[str, ComparedObjective]) -> RealData:
    """Return all real images of a comparison, which suit it, its pairs and these transfer tasks.

    The data of transfer tasks are looked at now: their scores come last.

    Args:
        comparison: already checked.
        transfer: tasks that students will be put to, or measured by, by name.

    Raises:
        ValueError: data cannot be had, or do not suit.
    """
    (settings, *_) = comparison.experiments()
    data = load_dataset(settings.dataset)
    check_data(data, comparison)
    check_networks(comparison, data)
    student = untrained_teacher(settings.student.network, data)
    check_transfer_data(transfer, student, images=data.test, split="test", where="transfer")
    return data


def check_networks(comparison: Comparison, data: RealData) -> None:
    """Raise ValueError unless every pair's networks take the dataset's images; a teacher's own weights tell later."""
    images = torch.zeros(2, *data.image_shape)
    for pair, settings in zip(comparison.pairs, comparison.experiments(), strict=True):
        architectures = {"student": settings.student.architecture}
        if settings.teacher.weights is None:
            architectures["teacher"] = str(settings.teacher.architecture)
        for part, architecture in architectures.items():
            where = f"pairs.{pair}.{part}" if pair else f"experiment.{part}"
            try:
                network = build_network(architecture, num_classes=data.num_classes, in_channels=data.image_shape[0])
                with torch.inference_mode():
                    network.eval()(images)
            except (ValueError, RuntimeError) as error:
                shape = "x".join(map(str, data.image_shape))
                raise ValueError(
                    f"{where}.architecture: '{architecture}' does not take '{data.title}', images of {shape}: {error}"
                ) from None


def check_data(data: RealData, comparison: Comparison) -> None:
    """Raise ValueError unless there are labelled images to follow students on, to judge them by, and to learn from."""
    for split, images in (("validation", data.validation), ("test", data.test)):
        if images is None or images.labels is None:
            raise ValueError(f"dataset: a comparison needs labelled {split} images, and '{data.title}' has none.")
    for name, row in comparison.settings.methods.items():
        if row.student == "from_labels" and (data.train is None or data.train.labels is None):
            raise ValueError(f"methods.{name}: learns from labelled training images, and '{data.title}' has none.")
