"""Image files in folders: ``<split>/<class>/<image>``, or ``<class>/<image>`` for one training set.

Validation images may be without labels: ``validation/<image>``.
"""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from dfkd.data.decode import ExampleSource, decode_splits
from dfkd.data.missing import data_folder, missing_data
from dfkd.data.real_data import RealData
from dfkd.settings.checks import did_you_mean
from dfkd.settings.experiment import DatasetSettings

_SPLIT_FOLDERS = {
    "train": ("train",),
    "validation": ("validation", "valid", "val"),
    "test": ("test",),
}
_IMAGE_SUFFIXES = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"))


def load_image_folder(settings: DatasetSettings) -> RealData:
    """Return the images below the folder; files that are no images by their suffix are passed over.

    Classes have the order of their folders' names. If ``settings.class_names`` are those very names, their order
    counts; other names replace the folders', one for one.

    Raises:
        ValueError: if nothing is there, a class folder is empty, or a split has a class that train lacks.
    """
    folder = data_folder(settings)
    split_folders = _find_splits(folder)
    unlabelled = _unlabelled_validation(folder, split_folders)
    if unlabelled is None and not split_folders:
        split_folders = {"train": folder} if _class_folders(folder) else {}
    if unlabelled is None and not split_folders:
        raise missing_data(settings, "folders <split>/<class> or <class> with images")
    classes = {split: _class_folders(path) for split, path in split_folders.items()}
    names = _ordered_names(settings, classes) if classes else None
    sources = {split: _source(folders, names or ()) for split, folders in classes.items()}
    if unlabelled is not None:
        sources["validation"] = _unlabelled_source(unlabelled)
    return decode_splits(settings, sources, class_names=names, title=folder.absolute().name)


def _find_splits(folder: Path) -> dict[str, Path]:
    """Return the folders of the splits. A folder is a split only if it has folders itself: a class may be a 'train'."""
    found = {}
    for split, aliases in _SPLIT_FOLDERS.items():
        folders = [folder / alias for alias in aliases if _class_folders(folder / alias)]
        if len(folders) > 1:
            raise ValueError(
                f"dataset.path: expected one folder of the {split} split, got {folders[0]} and {folders[1]}."
            )
        if folders:
            found[split] = folders[0]
    return found


def _unlabelled_validation(folder: Path, labelled: dict[str, Path]) -> Path | None:
    """Return the validation folder if images lie in it without folders of classes.

    Beside folders of other classes, ``val`` is one of them: so it counts only beside other splits, or alone.
    """
    if "validation" in labelled:
        return None
    for alias in _SPLIT_FOLDERS["validation"]:
        candidate = folder / alias
        is_split = bool(labelled) or list(_class_folders(folder)) == [alias]
        if is_split and candidate.is_dir() and any(_is_image(path) for path in candidate.iterdir()):
            return candidate
    return None


def _class_folders(folder: Path) -> dict[str, Path]:
    """Return the folders in a folder by name, sorted; none if it does not exist."""
    if not folder.is_dir():
        return {}
    return {
        child.name: child for child in sorted(folder.iterdir()) if child.is_dir() and not child.name.startswith(".")
    }


def _ordered_names(settings: DatasetSettings, classes: dict[str, dict[str, Path]]) -> tuple[str, ...]:
    """Return the class folders' names, those of the first split, in the order of the labels."""
    first_split, folders = next(iter(classes.items()))
    for others in classes.values():
        for name in others:
            if name not in folders:
                raise ValueError(
                    f"{others[name]}: {first_split} has no class '{name}'.{did_you_mean(name, folders)} "
                    f"Its classes: {', '.join(list(folders)[:10])}."
                )
    wanted = settings.class_names
    return wanted if wanted is not None and sorted(wanted) == sorted(folders) else tuple(folders)


def _source(folders: dict[str, Path], names: tuple[str, ...]) -> ExampleSource:
    examples = [(path, names.index(name)) for name, folder in folders.items() for path in _images_in(folder)]

    def read(index: int) -> tuple[Image.Image, int]:
        path, label = examples[index]
        return Image.open(io.BytesIO(path.read_bytes())), label

    return ExampleSource(len(examples), read, describe=lambda index: str(examples[index][0]))


def _unlabelled_source(folder: Path) -> ExampleSource:
    paths = _images_in(folder)

    def read(index: int) -> tuple[Image.Image, int]:
        return Image.open(io.BytesIO(paths[index].read_bytes())), 0

    return ExampleSource(len(paths), read, describe=lambda index: str(paths[index]), labelled=False)


def _images_in(folder: Path) -> list[Path]:
    """Return the image files in a folder and below it, sorted."""
    paths = sorted(path for path in folder.rglob("*") if _is_image(path))
    if not paths:
        raise ValueError(f"{folder}: expected images ({', '.join(sorted(_IMAGE_SUFFIXES))}), found none.")
    return paths


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in _IMAGE_SUFFIXES and path.is_file() and not path.name.startswith(".")
