"""Settings of the tasks on another labelled set of images: probe, neighbours, few shots, fine-tuning.

``classes`` keeps some classes of a set, the first and the last one counted from 0: settings are tuned on other classes
than those that are reported. None keeps all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from dfkd.settings.checks import check_at_least, check_each, check_positive
from dfkd.settings.decay import Decay
from dfkd.settings.experiment import DatasetSettings
from dfkd.settings.tasks.training import TrainingSettings

Classes = tuple[int, int] | None


def check_labelled_images(dataset: DatasetSettings, classes: Classes) -> None:
    """Raise ValueError unless there can be images, of at least two classes."""
    if dataset.name == "none":
        raise ValueError("dataset.name: 'none' has no images, and this task needs labelled ones.")
    if classes is not None and not 0 <= classes[0] < classes[1]:
        raise ValueError(f"classes: expected the first and last index of at least two classes, got {list(classes)}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class LinearProbeSettings(TrainingSettings):
    """A linear classifier on frozen features.

    Source: the transfer protocol of Tian et al., Contrastive Representation Distillation, ICLR 2020, with the numbers
    of that line's public code: learning rate 0.05, times 0.1 at epochs 30, 60 and 90 of 120, batches of 64.
    """

    task: Literal["linear_probe"] = "linear_probe"
    dataset: DatasetSettings
    classes: Classes = None
    epochs: int = 120
    batch_size: int = 64
    learning_rate: float = 0.05
    decay: Decay = field(default_factory=lambda: Decay(kind="steps", milestones=(0.25, 0.5, 0.75)))
    augment: bool = True  # random crop and flip, as in the protocol; off: every feature is computed once
    standardise: bool = False  # every feature by its mean and deviation over train, so that its scale plays no part

    def __post_init__(self) -> None:
        TrainingSettings.__post_init__(self)
        check_labelled_images(self.dataset, self.classes)
        check_positive("learning_rate", self.learning_rate)


@dataclass(frozen=True, kw_only=True, slots=True)
class NearestNeighboursSettings:
    """A weighted vote of the nearest training images; nothing is trained.

    Source: Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination, CVPR 2018, section 3.4.
    Deviation: 20 neighbours as in Caron et al., Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021,
    not 200: small sets have few images a class.
    """

    task: Literal["nearest_neighbours"] = "nearest_neighbours"
    dataset: DatasetSettings
    classes: Classes = None
    num_neighbours: int = 20
    temperature: float = 0.07

    def __post_init__(self) -> None:
        check_labelled_images(self.dataset, self.classes)
        check_at_least("num_neighbours", self.num_neighbours, 1)
        check_positive("temperature", self.temperature)


@dataclass(frozen=True, kw_only=True, slots=True)
class FewShotSettings:
    """Logistic regression on the features of a few images a class, over random draws of them.

    Source: Tian et al., Rethinking Few-Shot Image Classification, ECCV 2020: features of unit length and logistic
    regression. Deviation: all classes and the whole exam at once, not episodes of five classes.
    """

    task: Literal["few_shot"] = "few_shot"
    dataset: DatasetSettings
    classes: Classes = None
    shots: tuple[int, ...] = (1, 5, 10, 20)  # images a class
    draws: int = 20
    inverse_regularisation: float = 1.0  # scikit-learn's C

    def __post_init__(self) -> None:
        check_labelled_images(self.dataset, self.classes)
        for shots in self.shots:
            check_at_least("shots", shots, 1)
        if not self.shots or len(set(self.shots)) != len(self.shots):
            raise ValueError(f"shots: expected different numbers of images a class, got {list(self.shots)}.")
        check_at_least("draws", self.draws, 2)
        check_positive("inverse_regularisation", self.inverse_regularisation)


@dataclass(frozen=True, kw_only=True, slots=True)
class FineTuningSettings(TrainingSettings):
    """All layers go on training, BatchNorm included, under a new classifier.

    Source: SGD under a cosine as in Kornblith et al., Do Better ImageNet Models Transfer Better?, CVPR 2019.
    Deviation: one fixed pair of learning rates in place of a grid for every network and data set.
    """

    task: Literal["fine_tuning"] = "fine_tuning"
    dataset: DatasetSettings
    classes: Classes = None
    epochs: int = 30
    batch_size: int = 64
    backbone_learning_rate: float = 0.01
    head_learning_rate: float = 0.1

    def __post_init__(self) -> None:
        TrainingSettings.__post_init__(self)
        check_labelled_images(self.dataset, self.classes)
        check_each(self, check_positive, "backbone_learning_rate", "head_learning_rate")
