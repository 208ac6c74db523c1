from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from dfkd.distillation import EpochReport
from dfkd.interface import distill_student, probe_set_of, score_student
from dfkd.settings.distillation import DistillationSettings
from dfkd.settings.experiment import LabelEmbeddingSettings
from dfkd.settings.synthesis import AdaDfkdSettings, CategoryAwareSettings, DfadSettings, GeneratorSettings
from dfkd.synthesis import SYNTHESIZERS
from dfkd.teachers import Teacher

ORTHOGONAL = LabelEmbeddingSettings(name="orthogonal", width=12)
SMALL: dict[str, Any] = {
    "synthesis": CategoryAwareSettings(
        generator=GeneratorSettings(width=8), batch_size=24, generator_steps=2, bank_capacity=60,
        warm_up_epochs=1, warm_up_rounds=1, rounds_per_epoch=1,
    ),
    "distillation": DistillationSettings(epochs=2, steps_per_epoch=2, batch_size=16),
    "crop_padding": 1,
    "device": "cpu",
}  # fmt: skip
ONLINE: dict[str, Any] = SMALL | {"synthesis": DfadSettings(generator=GeneratorSettings(width=8), batch_size=16)}
Make = Callable[..., nn.Module]


def plain(num_classes: int = 3) -> nn.Sequential:
    """A network that shows no features."""
    layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 6, num_classes)]
    return nn.Sequential(*layers)


def own_teacher(model: nn.Module, names: tuple[str, ...] = ("cat", "sea eel", "犬")) -> Teacher:
    return Teacher(model=model, class_names=names, image_shape=(1, 8, 8), mean=(0.3,), std=(0.4,))


def test_a_module_with_names_in_any_language_is_distilled_and_stays_as_it_is(tiny_network: Make) -> None:
    model = tiny_network(num_classes=3).train()
    before, heard = copy.deepcopy(model.state_dict()), list[EpochReport]()
    result = distill_student(
        own_teacher(model), "digits_student", label_embeddings=ORTHOGONAL, on_epoch=heard.append, **SMALL
    )
    assert result.history == tuple(heard)
    assert [report.epoch for report in heard] == [0, 1, 2]
    assert "distillation/kd" in heard[-1].metrics and heard[-1].preview is not None
    assert not result.student.training and result.student(torch.zeros(2, 1, 8, 8)).shape == (2, 3)
    assert model.training and all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_the_same_seed_gives_the_same_student_and_another_one_another(tiny_network: Make) -> None:
    teacher = own_teacher(tiny_network(num_classes=3))
    weights = [
        distill_student(teacher, "digits_student", label_embeddings=ORTHOGONAL, seed=seed, **SMALL).student.state_dict()
        for seed in (0, 0, 1)
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert any(not torch.equal(weights[0][name], weights[2][name]) for name in weights[0])


def test_vectors_of_ones_own_tell_the_classes_and_have_one_row_a_class(tiny_network: Make) -> None:
    teacher = own_teacher(tiny_network(num_classes=3))
    assert distill_student(teacher, "digits_student", label_embeddings=torch.eye(3).long(), **SMALL).history
    with pytest.raises(ValueError, match=r"label_embeddings: expected \[K, E\] with K = 3 classes, got \[4, 4\]"):
        distill_student(teacher, "digits_student", label_embeddings=torch.eye(4), **SMALL)


def test_names_that_no_packaged_vector_knows_are_refused_with_the_ways_out(tiny_network: Make) -> None:
    with pytest.raises(ValueError, match="no packaged vectors for the 3 classes cat, sea eel, 犬 .*orthogonal"):
        distill_student(own_teacher(tiny_network(num_classes=3)), "digits_student", **SMALL)


def test_a_student_of_ones_own_is_trained_in_place(tiny_network: Make) -> None:
    student = plain()
    before = copy.deepcopy(student.state_dict())
    result = distill_student(own_teacher(tiny_network(num_classes=3)), student, label_embeddings=ORTHOGONAL, **ONLINE)
    assert result.student is student
    assert not torch.equal(before["0.weight"], student.state_dict()["0.weight"])


def test_a_student_without_features_is_refused_where_the_method_looks_at_them(tiny_network: Make) -> None:
    relational = SMALL | {"synthesis": AdaDfkdSettings(generator=GeneratorSettings(width=8), batch_size=16)}
    for settings, method in ((SMALL, "CAE-DFKD .*"), (relational, "AdaDFKD")):
        with pytest.raises(ValueError, match=f"student: {method} looks at features, and Sequential shows none"):
            distill_student(own_teacher(tiny_network(num_classes=3)), plain(), label_embeddings=ORTHOGONAL, **settings)


def test_a_defect_of_a_method_is_not_blamed_on_the_student(tiny_network: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: object) -> None:
        raise AttributeError("mine")

    monkeypatch.setitem(SYNTHESIZERS, "dfad", broken)
    with pytest.raises(AttributeError, match="mine"):
        distill_student(own_teacher(tiny_network(num_classes=3)), plain(), label_embeddings=ORTHOGONAL, **ONLINE)


def test_a_printed_report_shows_no_picture() -> None:
    report = EpochReport(epoch=0, metrics={"kd": 1.0}, preview=torch.zeros(9))
    assert repr(report) == "EpochReport(epoch=0, metrics={'kd': 1.0}, seconds={})"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (plain(4), r"the network: expected logits \[2, 3\], one a class, got \[2, 4\]"),
        (nn.Conv2d(3, 3, 3), "cannot take"),
    ],
    ids=["another number of classes", "other images"],
)
def test_a_teacher_that_is_not_what_is_said_of_it_is_refused(model: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        distill_student(own_teacher(model), "digits_student", label_embeddings=ORTHOGONAL, **SMALL)


def test_a_copy_of_the_teacher_passes_its_exam(tiny_network: Make) -> None:
    model = tiny_network(num_classes=3)
    teacher = own_teacher(model)
    probe = probe_set_of(teacher, size=40, steps=2, device="cpu")
    assert probe.images.device == probe.teacher_logits.device == torch.device("cpu")
    assert model.training and len(probe.images) == 40
    assert score_student(copy.deepcopy(model), teacher, probe)["probe/agreement"] == 1.0
    contrary = tiny_network(num_classes=3)
    with torch.no_grad():
        contrary.classifier.weight.neg_(), contrary.classifier.bias.neg_()  # type: ignore[operator,union-attr]
    assert score_student(contrary, teacher, probe)["probe/agreement"] == 0.0


def test_lists_describe_a_teacher_as_well() -> None:
    lists: dict[str, Any] = {"class_names": ["a", "b", "c"], "image_shape": [1, 8, 8], "mean": [0.3], "std": [0.4]}
    teacher = Teacher(model=plain(), **lists)
    assert (teacher.class_names, teacher.image_shape, teacher.std) == (("a", "b", "c"), (1, 8, 8), (0.4,))
