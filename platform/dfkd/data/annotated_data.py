"""Which format answers to which name: one table a kind of annotation."""

from __future__ import annotations

from collections.abc import Callable

from dfkd.data.ade20k import load_ade20k_masks
from dfkd.data.annotated import BoxedImages, DepthImages, MaskedImages
from dfkd.data.coco import load_coco_boxes
from dfkd.data.mask_parquet import load_parquet_masks
from dfkd.data.nyuv2 import load_nyuv2_depths, load_nyuv2_masks
from dfkd.data.scenes import load_scene_boxes, load_scene_depths
from dfkd.data.voc import load_voc_boxes, load_voc_masks
from dfkd.settings.tasks.dense import AnnotatedImagesSettings

#: From settings and a split (train, validation or test) to its images.
MASKS: dict[str, Callable[[AnnotatedImagesSettings, str], MaskedImages]] = {
    "parquet": load_parquet_masks,
    "voc": load_voc_masks,
    "ade20k": load_ade20k_masks,
    "nyuv2": load_nyuv2_masks,
}
BOXES: dict[str, Callable[[AnnotatedImagesSettings, str], BoxedImages]] = {
    "voc": load_voc_boxes,
    "coco": load_coco_boxes,
    "scenes": load_scene_boxes,
}
DEPTHS: dict[str, Callable[[AnnotatedImagesSettings, str], DepthImages]] = {
    "nyuv2": load_nyuv2_depths,
    "scenes": load_scene_depths,
}
