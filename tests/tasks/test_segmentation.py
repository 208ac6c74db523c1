import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from dfkd.data.annotated import MaskedImages
from dfkd.settings.tasks import SegmentationSettings
from dfkd.settings.tasks.dense import AnnotatedImagesSettings
from dfkd.tasks.segmentation import score_masks, segmentation
from dfkd.tasks.transfer import TransferInput

Given = Callable[..., TransferInput]


def encoded(pixels: Any) -> dict[str, Any]:
    stored = io.BytesIO()
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(stored, "PNG")
    return {"bytes": stored.getvalue(), "path": None}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., AnnotatedImagesSettings]:
    """Write 16x16 images whose bright block is class 1; the first row of every mask does not count."""

    def write_split(split: str, count: int, *, names: tuple[str, ...] = ("dark", "bright"), add: int = 0) -> Any:
        random, rows = np.random.default_rng(len(split)), []
        for _ in range(count):
            mask = np.zeros((16, 16))
            top, left = random.integers(0, 8, 2)
            mask[top : top + 8, left : left + 8] = 1
            pixels = 40 + 120 * mask[:, :, None] + random.integers(0, 40, (16, 16, 3))
            mask = mask + add
            mask[0] = 9
            rows.append({"image": encoded(pixels), "mask": encoded(mask)})
        table = pyarrow.Table.from_pylist(rows).replace_schema_metadata(
            {"class_names": json.dumps(names), "ignore_index": "9"}
        )
        pyarrow.parquet.write_table(table, tmp_path / f"{split}.parquet")
        return AnnotatedImagesSettings(name="parquet", path=str(tmp_path))

    return write_split


def settings(dataset: AnnotatedImagesSettings, **values: Any) -> SegmentationSettings:
    return SegmentationSettings(**({"dataset": dataset, "epochs": 4, "batch_size": 4, "width": 8} | values))


def test_brightness_is_learnt_and_the_network_stays_as_it_was(
    write: Any, given: Given, unchanged: Callable[[nn.Module], Callable[[], bool]]
) -> None:
    write("train", 16)
    dataset, network = write("test", 8), given()
    is_unchanged = unchanged(network.network.model)
    scores = segmentation(settings(dataset), network)
    assert scores["mean_iou"] > 0.5  # all of one class would be below 0.5
    assert scores["pixel_accuracy"] > 0.75
    assert is_unchanged()
    assert scores == segmentation(settings(dataset), given())


def test_scores_are_as_worked_by_hand_and_255_does_not_count(given: Given) -> None:
    class Known(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return nn.functional.one_hot(torch.tensor([[[0, 0, 1, 1, 2]]]), 3).permute(0, 3, 1, 2).float()

    masks = torch.tensor([[[0, 1, 1, 1, 255]]], dtype=torch.uint8)
    exam = MaskedImages(torch.zeros(1, 3, 1, 5, dtype=torch.uint8), masks, ("a", "b", "c"))
    dataset = AnnotatedImagesSettings(name="parquet", path="unused")
    scores = score_masks(Known(), exam, settings(dataset), given())  # type: ignore[arg-type]
    assert scores["pixel_accuracy"] == pytest.approx(3 / 4)
    assert scores["mean_iou"] == pytest.approx((1 / 2 + 2 / 3) / 2)  # 'c' stands in no mask that counts


def test_a_class_of_the_exam_that_train_lacks_is_named(write: Any, given: Given) -> None:
    names = ("dark", "bright", "brighter")
    write("train", 2, names=names)
    dataset = write("test", 2, names=names, add=1)
    with pytest.raises(ValueError, match="dataset: 'brighter' stands in masks of test and in none of train"):
        segmentation(settings(dataset), given())


def test_splits_with_other_classes_are_refused(write: Any, given: Given) -> None:
    write("train", 2)
    dataset = write("val", 2, names=("bright", "dark"))
    with pytest.raises(ValueError, match=r"train has the classes \('dark', 'bright'\), validation has"):
        segmentation(settings(dataset), given(exam="validation"))
