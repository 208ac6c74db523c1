"""What would end every trial is a refusal before the first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from dfkd.assembly import Materials
from dfkd.data.image_set import ImageSet
from dfkd.data.real_data import RealData
from dfkd.jobs.rehearsal import embed_all, one_a_class, rehearse, rehearse_untrained
from dfkd.settings.experiment import ExperimentSettings, LabelEmbeddingSettings, StudentSettings, TeacherSettings

Make = Callable[..., ExperimentSettings]
NAMES = ("cat", "dog", "eel")


def data(labels: list[int], **splits: Any) -> RealData:
    images = ImageSet(torch.zeros(len(labels), 1, 8, 8, dtype=torch.uint8), torch.tensor(labels))
    return RealData(title="eels", class_names=NAMES, train=None, validation=images, test=splits.get("test", images))


@pytest.fixture
def materials(tiny_materials: Materials) -> Materials:
    return replace(tiny_materials, probe=None)


def test_an_experiment_that_can_run_passes_and_changes_nothing(tiny_settings: Make, materials: Materials) -> None:
    before = [value.clone() for value in materials.teacher.model.state_dict().values()]
    rehearse([tiny_settings(), tiny_settings(class_prior="teacher")], materials, data([0, 1, 2]))
    after = materials.teacher.model.state_dict().values()
    assert all(torch.equal(first, second) for first, second in zip(before, after, strict=True))


def test_class_names_without_vectors_are_refused() -> None:
    packaged = LabelEmbeddingSettings(name="packaged")
    experiment = type("Experiment", (), {"label_embeddings": packaged})()
    with pytest.raises(ValueError, match="label_embeddings"):
        embed_all([experiment], ("a platypus", "a wombat"))


def test_embeddings_are_made_once_a_source(tiny_settings: Make, materials: Materials) -> None:
    experiments = [tiny_settings(), tiny_settings(seed=1)]
    (vectors,) = embed_all(experiments, NAMES).values()
    known = replace(materials, label_embeddings={experiments[0].label_embeddings: 2 * vectors})
    rehearse(experiments, known, data([0, 1, 2]))  # they fit whoever takes them
    wrong = replace(materials, label_embeddings={experiments[0].label_embeddings: vectors[:2]})
    with pytest.raises(ValueError):
        rehearse(experiments, wrong, data([0, 1, 2]))


def test_a_prior_with_too_few_shares_is_refused(tiny_settings: Make, materials: Materials) -> None:
    with pytest.raises(ValueError, match=r"synthesis.class_prior: expected 3 shares \(one a class\), got 2"):
        rehearse([tiny_settings(), tiny_settings(class_prior=(0.5, 0.5))], materials, data([0, 1, 2]))


def test_a_teacher_without_batch_norm_is_refused_where_its_statistics_are_wanted(
    tiny_settings: Make, materials: Materials, tiny_network: Callable[..., nn.Module]
) -> None:
    plain = replace(materials.teacher, model=tiny_network(num_classes=3, batch_norm=False))
    with pytest.raises(ValueError, match="synthesis.weights.batch_norm: is .* has no BatchNorm layer"):
        rehearse([tiny_settings()], replace(materials, teacher=plain), data([0, 1, 2]))


def test_a_student_that_cannot_take_the_images_is_refused(tiny_settings: Make, materials: Materials) -> None:
    settings = replace(tiny_settings(), student=StudentSettings(architecture="lenet5"))
    with pytest.raises(ValueError, match="lenet5: expected images of 32x32 or 28x28 pixels, got 8x8"):
        rehearse([settings], materials, data([0, 1, 2]))


def test_a_task_that_does_not_suit_the_data_is_refused(tiny_settings: Make, materials: Materials) -> None:
    settings = replace(tiny_settings(), tasks=("accuracy", "binary"))
    with pytest.raises(ValueError, match=r"'binary' needs 2 classes, got 3.*\(on the validation images of eels\)"):
        rehearse([settings], materials, data([0, 1, 2]))


def test_what_a_teacher_would_be_trained_for_in_vain_is_told_before(tiny_settings: Make) -> None:
    settings, labelled = tiny_settings(), data([0, 1, 2])
    trainable = replace(labelled, train=labelled.validation)
    given = {"images": None, "label_embeddings": embed_all([settings], NAMES)}
    rehearse_untrained([settings], trainable, **given)
    unfit = replace(settings, student=StudentSettings(architecture="lenet5"))
    with pytest.raises(ValueError, match="lenet5: expected images of"):
        rehearse_untrained([unfit], trainable, **given)
    known = replace(unfit, teacher=TeacherSettings(architecture="digits_student", weights="models:/teacher/1"))
    rehearse_untrained([known], trainable, **given)  # with the teacher itself, then


def test_one_image_stands_for_each_class() -> None:
    images = ImageSet(torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1), torch.tensor([2, 0, 2, 4, 0, 4]))
    few = one_a_class(images)
    assert few.images.flatten().tolist() == [1, 0, 3]
    assert few.require_labels().tolist() == [0, 2, 4]
    assert len(one_a_class(ImageSet(images.images, None))) == 2
