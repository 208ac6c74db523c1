"""Settings of one experiment: which data, teacher and student, which method, judged by what."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from dfkd.settings.checks import (
    check_at_least,
    check_choice,
    check_each,
    check_fraction,
    check_positive,
    check_seed,
)
from dfkd.settings.distillation import DistillationSettings
from dfkd.settings.families import FAMILIES, family_name, parse_family
from dfkd.settings.synthesis import CategoryAwareSettings, OnlineSettings, RoundsSettings, SynthesisSettings

#: Architectures of ``dfkd.models``; a name such as ``torchvision:resnet18`` or ``timm:resnet18`` is also valid.
ARCHITECTURES = (
    "lenet5", "resnet8", "resnet20", "resnet32", "resnet44", "resnet56", "resnet18", "resnet34",
    "wrn_16_1", "wrn_16_2", "wrn_40_1", "wrn_40_2", "vgg11",
    "digits_teacher", "digits_student",
)  # fmt: skip
DATASETS = ("digits", "parquet", "image_folder", "torchvision", "none")
#: The last one is asked for by name: it needs the images that the teacher was trained on.
TASKS = ("accuracy", "agreement", "binary", "calibration", "representation", "corruption", "backdoor", "privacy")
PLATFORM_PREFIXES = ("torchvision:", "timm:")


def check_architecture(name: str, architecture: str) -> None:
    """Raise ValueError unless the architecture is ours, a member of a family, or names torchvision's or timm's."""
    if not architecture.startswith(PLATFORM_PREFIXES) and parse_family(architecture) is None:
        check_choice(name, architecture, ARCHITECTURES)


def check_class_names(class_names: tuple[str, ...] | None) -> None:
    """Raise ValueError unless the names, where they are given, are those of at least two different classes."""
    if class_names is None:
        return
    if len(class_names) < 2:
        raise ValueError(f"class_names: expected at least two classes, got {list(class_names)}.")
    if twice := [name for name in dict.fromkeys(class_names) if class_names.count(name) > 1]:
        raise ValueError(f"class_names: '{twice[0]}' stands twice; every class needs a name of its own.")


def numbered_classes(count: int) -> tuple[str, ...]:
    """Return what K classes are called whose names are unknown, or nobody's business: ``class 0``, ``class 1``, ..."""
    return tuple(f"class {index}" for index in range(count))


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetSettings:
    """Real images, for making a teacher and for reports. No student is trained on them.

    ``path`` is a folder of ``train*.parquet`` / ``val*`` / ``test*`` files in the image convention of the Hugging Face
    hub (``parquet``), a folder ``<split>/<class>/<image>`` (``image_folder``), or torchvision's root. ``none`` is for
    those who have no image at all: ``image_size``, ``channels`` and ``class_names`` then say what the teacher takes.
    """

    name: Literal["digits", "parquet", "image_folder", "torchvision", "none"] = "digits"
    path: str | None = None
    image_column: str = "image"  # of Parquet files; the hub's CIFAR-10 calls it img
    label_column: str = "label"  # of Parquet files; the hub's CIFAR-100 has fine_label
    torchvision_name: str | None = None  # CIFAR10, CIFAR100, MNIST, ...
    download: bool = False
    title: str | None = None  # how tables call it, e.g. "CIFAR-10 (JPEG)"
    image_size: int | None = None  # resized to a square of this side; None keeps the size of the first image
    channels: Literal[1, 3] | None = None  # None keeps the images' own
    validation_fraction: float = 0.1  # stratified, from train, where no validation split exists
    class_names: tuple[str, ...] | None = None  # where the files do not name them
    crop_padding: int = 4  # pixels by which a random crop may shift an image without changing its label
    horizontal_flip: bool = True  # whether a mirrored image keeps its label

    def __post_init__(self) -> None:
        check_choice("name", self.name, DATASETS)
        if self.name in ("parquet", "image_folder", "torchvision") and not self.path:
            raise ValueError(f"path: dataset '{self.name}' needs a folder, got none.")
        if self.image_column == self.label_column:
            raise ValueError(
                f"label_column: expected another column than image_column, got '{self.label_column}' twice."
            )
        if self.name == "torchvision" and not self.torchvision_name:
            raise ValueError("torchvision_name: dataset 'torchvision' needs a class name such as CIFAR10, got none.")
        if self.name == "none":
            wanted = {"image_size": self.image_size, "channels": self.channels, "class_names": self.class_names}
            if missing := [name for name, value in wanted.items() if not value]:
                raise ValueError(f"{missing[0]}: dataset 'none' has no image to read it from; say what teachers take.")
        check_class_names(self.class_names)
        if self.image_size is not None:
            check_at_least("image_size", self.image_size, 4)
        check_fraction("validation_fraction", self.validation_fraction)
        check_at_least("crop_padding", self.crop_padding, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class PoisonSettings:
    """A backdoor that a teacher is trained with on purpose, to see whether it passes into students: a BadNets patch."""

    target: int = 0  # index of the class that every image with the patch is to be given to
    share: float = 0.1  # of the training images

    def __post_init__(self) -> None:
        check_at_least("target", self.target, 0)
        check_positive("share", self.share)
        check_fraction("share", self.share)


@dataclass(frozen=True, kw_only=True, slots=True)
class TeacherTrainingSettings:
    """Supervised training of a teacher: SGD with momentum, one-cycle learning rate, label-preserving augmentation."""

    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 0.1  # peak of the cycle
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    crop_padding: int | None = None  # pixels; None: the dataset's
    seed: int = 0
    poison: PoisonSettings | None = None

    def __post_init__(self) -> None:
        check_each(self, lambda name, value: check_at_least(name, value, 1), "epochs", "batch_size")
        check_positive("learning_rate", self.learning_rate)
        check_each(self, check_fraction, "momentum", "label_smoothing")
        check_at_least("weight_decay", self.weight_decay, 0)
        check_at_least("crop_padding", self.crop_padding or 0, 0)
        check_seed("seed", self.seed)


@dataclass(frozen=True, kw_only=True, slots=True)
class TeacherSettings:
    """Where the teacher comes from.

    ``weights: null`` trains one on the dataset (once: it is registered and reused). Otherwise a path to a
    ``.safetensors`` file or a plain ``state_dict``, or ``models:/name@alias`` of the registry.
    Class names and normalisation come from the file's metadata; what stands here wins.
    """

    architecture: str | None = None  # None: as the weights' metadata says
    weights: str | None = None
    training: TeacherTrainingSettings = field(default_factory=TeacherTrainingSettings)
    class_names: tuple[str, ...] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    shifted: bool = False  # trained on other images than the dataset's: tables say "shifted teacher"
    trust_pickle: bool = False  # load a foreign MLflow pickle, which can run any code
    #: Whether its maker is trusted not to have hidden a backdoor, for the card of its students. None: trusted if it is
    #: trained here, without poison; else unknown.
    provenance: Literal["trusted", "unknown"] | None = None

    def __post_init__(self) -> None:
        if self.architecture is not None:
            check_architecture("architecture", self.architecture)
        if self.weights is None and self.architecture is None:
            raise ValueError("architecture: a teacher that is to be trained needs one, got none.")
        check_class_names(self.class_names)
        for name in ("class_names", "mean", "std"):
            if self.weights is None and getattr(self, name) is not None:
                raise ValueError(
                    f"{name}: describes a teacher that is given (weights); one that is trained here has the data's. "
                    "Leave it out, or give weights."
                )
        for value in self.std or ():
            check_positive("std", value)
        if self.mean and self.std and len(self.mean) != len(self.std):
            raise ValueError(f"std: expected one value a channel, as mean has ({len(self.mean)}), got {len(self.std)}.")

    @property
    def trust(self) -> Literal["trusted", "unknown"]:
        """What a card says of the teacher's provenance."""
        made_here = self.weights is None and self.training.poison is None
        return self.provenance or ("trusted" if made_here else "unknown")


@dataclass(frozen=True, kw_only=True, slots=True)
class StudentSettings:
    """The student's network: a name, or a family (``resnet``, ``wrn``) with its depth and width in numbers."""

    architecture: str
    blocks: int | None = None  # of a family: blocks in each of its three stages
    width: int | None = None  # of a family: channels of a resnet's first stage, widening factor of a wrn

    def __post_init__(self) -> None:
        if self.architecture not in FAMILIES:
            check_architecture("architecture", self.architecture)
            for name, value in {"blocks": self.blocks, "width": self.width}.items():
                if value is not None:
                    raise ValueError(f"{name}: '{self.architecture}' has its own; only {', '.join(FAMILIES)} take one.")
            return
        for name, value in {"blocks": self.blocks, "width": self.width}.items():
            if value is None:
                raise ValueError(f"{name}: the family '{self.architecture}' needs it, got none.")
            check_at_least(name, value, 1)
        if parse_family(self.network) is None:
            raise ValueError(f"width: expected an even number of channels, got {self.width}.")

    @property
    def network(self) -> str:
        """The name by which the network is built."""
        if self.architecture not in FAMILIES:
            return self.architecture
        assert self.blocks is not None and self.width is not None
        return family_name(self.architecture, blocks=self.blocks, width=self.width)


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelEmbeddingSettings:
    """Where label embeddings come from.

    ``packaged``: vectors that ship with this package, found by the class names. ``file``: a safetensors file with a
    tensor ``embeddings`` [K, E]. ``sentence_transformers``: a local model folder or a name (extra ``[text]``).
    ``index``: prompts made of the class index, by the same model. ``orthogonal``: seeded orthonormal rows, no language.
    """

    name: Literal["packaged", "file", "sentence_transformers", "index", "orthogonal"] = "packaged"
    path: str | None = None
    model: str | None = None
    prompt: str = "a photo of a {class}"
    width: int = 384  # of orthogonal rows
    seed: int = 0  # of orthogonal rows

    def __post_init__(self) -> None:
        if self.name == "file" and not self.path:
            raise ValueError("path: label embeddings from a file need its path, got none.")
        if self.name in ("sentence_transformers", "index") and not self.model:
            raise ValueError(f"model: label embeddings '{self.name}' need a text encoder's folder or name, got none.")
        if "{class}" not in self.prompt:
            raise ValueError(f"prompt: expected the place holder {{class}} in it, got {self.prompt!r}.")
        check_at_least("width", self.width, 1)
        check_seed("seed", self.seed)


@dataclass(frozen=True, kw_only=True, slots=True)
class ExperimentSettings:
    """One experiment, complete: the same settings and seed give the same student."""

    seed: int = 0
    dataset: DatasetSettings
    teacher: TeacherSettings
    student: StudentSettings
    label_embeddings: LabelEmbeddingSettings = field(default_factory=LabelEmbeddingSettings)
    synthesis: SynthesisSettings = field(default_factory=CategoryAwareSettings)
    distillation: DistillationSettings = field(default_factory=DistillationSettings)
    tasks: tuple[
        Literal["accuracy", "agreement", "binary", "calibration", "representation", "corruption", "backdoor"], ...
    ] = ("accuracy", "agreement")
    workers: int = 1
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        check_seed("seed", self.seed)
        check_at_least("workers", self.workers, 1)
        if self.distillation.batch_size < self.workers:
            raise ValueError(
                f"workers: {self.workers} workers cannot share a batch of {self.distillation.batch_size} images."
            )
        if self.dataset.name == "none" and self.teacher.weights is None:
            raise ValueError("teacher.weights: dataset 'none' has no image to train a teacher on; give a trained one.")
        batches = {"distillation.batch_size": self.distillation.batch_size}
        if isinstance(self.synthesis, RoundsSettings | OnlineSettings):
            batches["synthesis.batch_size"] = self.synthesis.batch_size
        if isinstance(self.synthesis, OnlineSettings) and self.synthesis.KEEPS_BATCH:
            if self.distillation.batch_size > self.synthesis.batch_size:
                raise ValueError(
                    f"distillation.batch_size: {self.synthesis.TITLE} learns from the generator's own batch, which "
                    f"has {self.synthesis.batch_size} images (synthesis.batch_size), so expected at most as many, "
                    f"got {self.distillation.batch_size}."
                )
        for name, size in batches.items():
            if size % self.workers:
                raise ValueError(
                    f"{name}: {size} images do not split evenly over {self.workers} workers. "
                    f"Take a multiple of {self.workers}, or another number of workers."
                )

    def without_class_names(self) -> ExperimentSettings:
        """Return the same with numbers in place of class names, for what is told of it."""
        dataset, teacher = self.dataset, self.teacher
        if dataset.class_names is not None:
            dataset = replace(dataset, class_names=numbered_classes(len(dataset.class_names)))
        if teacher.class_names is not None:
            teacher = replace(teacher, class_names=numbered_classes(len(teacher.class_names)))
        return replace(self, dataset=dataset, teacher=teacher)

    @property
    def learnt_from(self) -> str:
        """What the student learns from, in words."""
        uses_names = self.synthesis.PRIOR == "text" and self.label_embeddings.name not in ("index", "orthogonal")
        return self.synthesis.learnt_from + (" and from the names of the classes" if uses_names else "")

    @property
    def warm_up_epochs(self) -> int:
        """Epochs of a run before the student learns."""
        return self.synthesis.warm_up_epochs if isinstance(self.synthesis, RoundsSettings) else 0

    @property
    def total_epochs(self) -> int:
        """Epochs of a run, warm-up included."""
        return self.warm_up_epochs + self.distillation.epochs
