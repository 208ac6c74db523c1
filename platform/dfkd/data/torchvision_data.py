"""Any classification data set of torchvision, by its class name; downloaded if the settings allow it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from dfkd.data.decode import ExampleSource, decode_splits
from dfkd.data.missing import data_folder, missing_data
from dfkd.data.real_data import RealData
from dfkd.settings.checks import check_choice
from dfkd.settings.experiment import DatasetSettings

_SPLIT_ARGUMENTS = {"train": ("train",), "validation": ("val", "valid"), "test": ("test",)}


def load_torchvision(settings: DatasetSettings) -> RealData:
    """Return the splits that the torchvision class offers: by ``train=``, by ``split=``, or all of it as train.

    Raises:
        ValueError: if torchvision has no such data set, or the files are missing and ``download`` is false.
    """
    from torchvision import datasets

    name = settings.torchvision_name
    check_choice("dataset.torchvision_name", name, datasets.__all__)
    dataset_class = getattr(datasets, str(name))
    opened = _open_splits(settings, dataset_class)
    if "train" not in opened:
        raise ValueError(
            f"dataset.torchvision_name: {name} has no split for training; use its files as an image folder."
        )
    names = getattr(opened["train"], "classes", None)
    return decode_splits(
        settings,
        {split: _source(f"torchvision's {name}, {split}", dataset) for split, dataset in opened.items()},
        class_names=tuple(str(class_name) for class_name in names) if names else None,
        title=str(name),
    )


def _open_splits(settings: DatasetSettings, dataset_class: Callable[..., Any]) -> dict[str, Any]:
    """Return torchvision's objects by split name."""
    parameters = inspect.signature(dataset_class).parameters
    arguments = {"download": settings.download} if "download" in parameters else {}
    if "train" in parameters:
        chosen = {"train": {"train": True}, "test": {"train": False}}
        return {split: _open(settings, dataset_class, **arguments, **choice) for split, choice in chosen.items()}
    if "split" not in parameters:
        return {"train": _open(settings, dataset_class, **arguments)}
    opened = {}
    for split, values in _SPLIT_ARGUMENTS.items():
        for value in values:
            try:
                opened[split] = _open(settings, dataset_class, **arguments, split=value)
                break
            except _UnknownSplitError:
                continue
    return opened


class _UnknownSplitError(Exception):
    """The data set has no split of this name."""


def _open(settings: DatasetSettings, dataset_class: Callable[..., Any], **arguments: Any) -> Any:
    try:
        return dataset_class(str(data_folder(settings)), **arguments)
    except (RuntimeError, OSError) as error:
        raise missing_data(settings, f"torchvision's {settings.torchvision_name} ({error})") from error
    except ValueError as error:
        if "split" in arguments and "split" in str(error):
            raise _UnknownSplitError from error
        raise


def _source(title: str, dataset: Any) -> ExampleSource:
    return ExampleSource(
        len(dataset), read=lambda index: dataset[index], describe=lambda index: f"{title}, image {index}"
    )
