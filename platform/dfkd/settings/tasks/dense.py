"""Settings of the tasks whose answers lie in the image: segmentation, detection, depth; and of their data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dfkd.settings.checks import check_at_least, check_choice, check_each, check_positive, check_seed
from dfkd.settings.tasks.training import TrainingSettings

#: Sources that each task can be trained on. ``scenes`` are drawn by a seeded generator, for tests of the plumbing.
MASKS = ("parquet", "voc", "ade20k", "nyuv2")
BOXES = ("voc", "coco", "scenes")
DEPTHS = ("nyuv2", "scenes")
NORM_GROUPS = 32  # of torchvision's FCOS head
SCENES = "scenes"  # no scores on it are a result


@dataclass(frozen=True, kw_only=True, slots=True)
class AnnotatedImagesSettings:
    """Images with a mask, boxes or a depth map each.

    ``parquet``: a folder of ``train*.parquet``, ``val*`` and ``test*`` with columns ``image`` and ``mask``. ``voc``: a
    folder VOC2012 or VOC2007. ``coco``: a folder with ``annotations/instances_<split>2017.json`` and the images.
    ``ade20k``: the folder ADEChallengeData2016. ``nyuv2``: folders ``image``, ``seg13`` and ``depth``, each with
    ``train`` and ``test``. All images are decoded into memory, at one size.
    """

    name: Literal["parquet", "voc", "coco", "ade20k", "nyuv2", "scenes"]
    path: str | None = None
    title: str | None = None  # how tables call it, e.g. "CamVid"
    image_size: tuple[int, int] | None = None  # height and width; None keeps the first image's, and all must have it
    channels: Literal[1, 3] = 3
    horizontal_flip: bool = True  # whether a mirrored image is as good as the image
    max_images: int | None = None  # a split's first ones; None: all
    seed: int = 0  # of scenes

    def __post_init__(self) -> None:
        if self.name != SCENES and not self.path:
            raise ValueError(f"path: '{self.name}' needs a folder, got none.")
        for side in self.image_size or ():
            check_at_least("image_size", side, 8)
        if self.max_images is not None:
            check_at_least("max_images", self.max_images, 1)
        check_seed("seed", self.seed)


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadSettings(TrainingSettings):
    """A light head on the multi-scale features of a backbone, and how the two are trained.

    Source: Lin et al., Feature Pyramid Networks, CVPR 2017, for how maps of several resolutions are joined; learning
    rate of the backbone and weight decay are those of the public ADE20K recipes (0.01, 5e-4). Deviation: a cosine in
    place of their polynomial decay, and a new head ten times as fast as the backbone.
    """

    batch_size: int = 8
    backbone_learning_rate: float = 0.01  # 0 freezes the backbone, BatchNorm included
    head_learning_rate: float = 0.1
    width: int = 64  # channels of the pyramid
    finest_stride: int = 2  # maps finer than this fraction of the image are left out

    def __post_init__(self) -> None:
        TrainingSettings.__post_init__(self)
        check_at_least("backbone_learning_rate", self.backbone_learning_rate, 0)
        check_positive("head_learning_rate", self.head_learning_rate)
        check_each(self, lambda name, value: check_at_least(name, value, 1), "width", "finest_stride")


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentationSettings(HeadSettings):
    """Semantic segmentation.

    Source: the head adds up all levels of the pyramid, as in Kirillov et al., Panoptic Feature Pyramid Networks, CVPR
    2019. Deviation: one interpolation a level in place of stages of convolutions.
    """

    task: Literal["segmentation"] = "segmentation"
    dataset: AnnotatedImagesSettings
    epochs: int = 60

    def __post_init__(self) -> None:
        HeadSettings.__post_init__(self)
        check_choice("dataset.name", self.dataset.name, MASKS)


@dataclass(frozen=True, kw_only=True, slots=True)
class DetectionSettings(HeadSettings):
    """Object detection without anchors.

    Source: Tian et al., FCOS, ICCV 2019, as torchvision has it. Deviation: ``num_convolutions`` in each branch of the
    head instead of four, and as many levels as the backbone has resolutions.
    """

    task: Literal["detection"] = "detection"
    dataset: AnnotatedImagesSettings
    epochs: int = 26  # torchvision's reference recipe
    backbone_learning_rate: float = 0.001
    head_learning_rate: float = 0.01
    num_convolutions: int = 1
    score_threshold: float = 0.05  # detections below are dropped
    max_detections: int = 100  # an image

    def __post_init__(self) -> None:
        HeadSettings.__post_init__(self)
        check_choice("dataset.name", self.dataset.name, BOXES)
        check_each(self, lambda name, value: check_at_least(name, value, 1), "num_convolutions", "max_detections")
        check_at_least("score_threshold", self.score_threshold, 0)
        if self.width % NORM_GROUPS:
            raise ValueError(
                f"width: FCOS normalises channels in {NORM_GROUPS} groups, so expected a multiple of it, "
                f"got {self.width}."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class DepthSettings(HeadSettings):
    """Monocular depth: the head of segmentation, with the logarithm of the depth as its one channel.

    Source: scale-invariant loss of Eigen et al., Depth Map Prediction from a Single Image, NeurIPS 2014, equation 4.
    """

    task: Literal["depth"] = "depth"
    dataset: AnnotatedImagesSettings
    epochs: int = 30
    head_learning_rate: float = 0.03
    scale_invariance: float = 0.5  # the paper's lambda

    def __post_init__(self) -> None:
        HeadSettings.__post_init__(self)
        check_choice("dataset.name", self.dataset.name, DEPTHS)
        if not 0 <= self.scale_invariance <= 1:
            raise ValueError(f"scale_invariance: expected a number in [0, 1], got {self.scale_invariance!r}.")
