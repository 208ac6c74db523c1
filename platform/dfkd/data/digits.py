"""scikit-learn's handwritten digits: 1,797 real images of 8x8 that come with the library."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dfkd.data.decode import ExampleSource, decode_splits
from dfkd.data.real_data import RealData
from dfkd.data.splits import stratified_split
from dfkd.settings.experiment import DatasetSettings

DIGIT_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_SPLIT_SIZES = {"train": 1077, "validation": 360, "test": 360}
_LARGEST_VALUE = 16  # of the library's pixels


def load_digits(settings: DatasetSettings) -> RealData:
    """Return the digits in one fixed stratified split: 1,077 / 360 / 360.

    Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998 (the
    test part, as scikit-learn ships it).
    """
    from sklearn import datasets

    digits = datasets.load_digits()
    pixels = np.rint(digits.images * (255 / _LARGEST_VALUE)).astype(np.uint8)  # [N, 8, 8]
    labels = torch.from_numpy(digits.target).long()
    parts = stratified_split(labels, tuple(_SPLIT_SIZES.values()))
    sources = {split: _source(pixels, labels, rows) for split, rows in zip(_SPLIT_SIZES, parts, strict=True)}
    return decode_splits(settings, sources, class_names=DIGIT_NAMES, title="digits")


def _source(pixels: NDArray[np.uint8], labels: Tensor, rows: Tensor) -> ExampleSource:
    row_of, label_of = rows.tolist(), labels[rows].tolist()
    return ExampleSource(
        num_examples=len(row_of),
        read=lambda index: (Image.fromarray(pixels[row_of[index]]), label_of[index]),
        describe=lambda index: f"scikit-learn's digits, row {row_of[index]}",
    )
