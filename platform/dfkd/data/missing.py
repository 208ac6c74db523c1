"""What is said when real images are not where they were looked for."""

from __future__ import annotations

from pathlib import Path

from dfkd.settings.experiment import DatasetSettings


def data_folder(settings: DatasetSettings) -> Path:
    """Return the path of the settings, with ``~`` resolved."""
    assert settings.path is not None, "DatasetSettings checks it"
    return Path(settings.path).expanduser()


def missing_data(settings: DatasetSettings, expected: str) -> ValueError:
    """Return the error for images that are not there.

    Args:
        settings: of the data set.
        expected: what was looked for, e.g. "files train*.parquet".
    """
    folder = data_folder(settings).absolute()
    came = "it does not exist" if not folder.exists() else f"it holds {_listing(folder)}"
    return ValueError(
        f"dataset.path: expected {expected} in {folder}, but {came}. Point to your copy with "
        "`--set dataset.path=DIR`. Any image data set of the Hugging Face hub can be stored as train*.parquet, "
        "val*.parquet and test*.parquet (columns image and label); with a network, dataset.name: torchvision, "
        "dataset.torchvision_name: CIFAR10 and dataset.download: true fetch the original."
    )


def _listing(folder: Path, limit: int = 5) -> str:
    if not folder.is_dir():
        return "a file, not a folder"
    names = sorted(child.name for child in folder.iterdir())
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more if names else "nothing"
