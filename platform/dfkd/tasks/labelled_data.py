"""The labelled images of a task: what is learnt from and what is scored, checked against each other."""

from __future__ import annotations

from dataclasses import dataclass

from dfkd.data import ImageSet, load_dataset
from dfkd.data.class_subset import keep_classes
from dfkd.settings.experiment import DatasetSettings
from dfkd.settings.tasks.classification import Classes
from dfkd.tasks.transfer import TransferInput


@dataclass(frozen=True, slots=True, eq=False)
class LabelledData:
    """Training images and the exam, both with labels of the same classes."""

    title: str
    class_names: tuple[str, ...]
    train: ImageSet
    exam: ImageSet


def load_labelled_data(dataset: DatasetSettings, classes: Classes, given: TransferInput) -> LabelledData:
    """Load the data of a task.

    Raises:
        ValueError: if a split or its labels are missing, a class of the exam has no training image, or the network
            takes images of other channels.
    """
    data = load_dataset(dataset)
    missing = {"train", given.exam} - set(data.splits)
    if missing:
        raise ValueError(f"{data.title}: this task needs {min(missing)} images; there are {', '.join(data.splits)}.")
    for split in ("train", given.exam):
        if data.splits[split].labels is None:
            raise ValueError(f"{data.title}: the {split} images have no labels, and this task needs them.")
    if classes is not None:
        data = keep_classes(data, *classes)
    train, exam = data.splits["train"], data.splits[given.exam]
    labels = exam.require_labels()
    known = train.require_labels().bincount(minlength=data.num_classes) > 0  # [K]
    if not known[labels].all():
        row = int((~known[labels]).nonzero()[0])
        name = data.class_names[int(labels[row])]
        raise ValueError(
            f"{data.title}: image {row} of {given.exam} is of class '{name}', and no training image is. Remove the "
            "class, or choose others with classes: [first, last]."
        )
    given.check_channels(train.images, data.title)
    return LabelledData(data.title, data.class_names, train, exam)
