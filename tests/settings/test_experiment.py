from __future__ import annotations

from dataclasses import replace

import pytest

from dfkd.settings.distillation import DistillationSettings
from dfkd.settings.experiment import (
    DatasetSettings,
    ExperimentSettings,
    PoisonSettings,
    StudentSettings,
    TeacherSettings,
    TeacherTrainingSettings,
)
from dfkd.settings.synthesis import (
    CategoryAwareSettings,
    DaflSettings,
    DfadSettings,
    RandomNoiseSettings,
    ZsktSettings,
)

SETTINGS = ExperimentSettings(
    dataset=DatasetSettings(),
    teacher=TeacherSettings(architecture="digits_teacher"),
    student=StudentSettings(architecture="digits_student"),
    synthesis=CategoryAwareSettings(batch_size=48, warm_up_epochs=3),
    distillation=DistillationSettings(batch_size=64, epochs=7),
)


@pytest.mark.parametrize("workers", [1, 2, 4, 16])
def test_global_batches_that_split_evenly_are_taken(workers: int) -> None:
    assert replace(SETTINGS, workers=workers).workers == workers


def test_global_batches_that_do_not_split_evenly_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="^distillation.batch_size: 64 images do not split evenly over 3 workers"):
        replace(SETTINGS, workers=3)
    with pytest.raises(ValueError, match="^synthesis.batch_size: 48 images do not split evenly over 32 workers"):
        replace(SETTINGS, workers=32)
    replace(SETTINGS, synthesis=RandomNoiseSettings(), workers=32)  # makes its images for each batch


def test_more_workers_than_images_are_refused() -> None:
    with pytest.raises(ValueError, match="^workers: 128 workers cannot share a batch of 64 images"):
        replace(SETTINGS, workers=128)


@pytest.mark.parametrize("method", [DaflSettings, ZsktSettings])
def test_a_student_that_learns_from_the_generators_batch_cannot_have_a_larger_one(method: type) -> None:
    assert replace(SETTINGS, synthesis=method(batch_size=64)).distillation.batch_size == 64
    with pytest.raises(ValueError, match="^distillation.batch_size: .* has 48 images .* at most as many, got 64"):
        replace(SETTINGS, synthesis=method(batch_size=48))
    replace(SETTINGS, synthesis=DfadSettings(batch_size=48))  # new images in every step


@pytest.mark.parametrize("settings", [DistillationSettings, ZsktSettings])
def test_a_gradient_cannot_be_clipped_to_nothing(settings: type) -> None:
    assert settings(gradient_clip=None).gradient_clip is None
    with pytest.raises(ValueError, match="^gradient_clip: expected a number above 0, got 0"):
        settings(gradient_clip=0)


def test_a_warm_up_counts_among_the_epochs_of_a_run() -> None:
    assert (SETTINGS.warm_up_epochs, SETTINGS.total_epochs) == (3, 10)
    noise = replace(SETTINGS, synthesis=RandomNoiseSettings())
    assert (noise.warm_up_epochs, noise.total_epochs) == (0, 7)


def test_a_teacher_is_trusted_where_it_is_trained_here_or_said_to_be() -> None:
    poisoned = TeacherTrainingSettings(poison=PoisonSettings())
    assert TeacherSettings(architecture="resnet20").trust == "trusted"
    assert TeacherSettings(weights="somebody.safetensors").trust == "unknown"
    assert TeacherSettings(weights="somebody.safetensors", provenance="trusted").trust == "trusted"
    assert TeacherSettings(architecture="resnet20", training=poisoned).trust == "unknown"


@pytest.mark.parametrize("seed", [-1, 2**32, 1_764_300_000_000_000_000])
def test_a_seed_that_some_library_would_not_take_is_refused_at_once(seed: int) -> None:
    assert replace(SETTINGS, seed=2**32 - 1).seed == 2**32 - 1
    with pytest.raises(ValueError, match=f"^seed: expected a seed from 0 to 4294967295, got {seed}"):
        replace(SETTINGS, seed=seed)
    with pytest.raises(ValueError, match="^seed: expected a seed from 0"):
        TeacherTrainingSettings(seed=seed)


def test_what_describes_a_given_teacher_is_refused_for_one_that_is_trained() -> None:
    described = TeacherSettings(weights="teacher.safetensors", mean=(0.5,), std=(0.2,), class_names=("a", "b"))
    for name in ("mean", "std", "class_names"):
        alone = replace(described, **{other: None for other in {"mean", "std", "class_names"} - {name}})
        with pytest.raises(ValueError, match=f"^{name}: describes a teacher that is given"):
            replace(alone, architecture="resnet8", weights=None)
