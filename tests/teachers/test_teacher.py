import dataclasses
import hashlib

import pytest
import torch
from torch import nn

from dfkd.teachers import Teacher, check_classes, hash_teacher, require_batch_norm


def without_batch_norm(teacher):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    return dataclasses.replace(teacher, model=model, architecture="lenet5", hash="")


def hashed(model, **changes):
    facts = {"mean": (0.5,), "std": (0.25,), "image_shape": (1, 1, 1), "num_classes": 1}
    return hash_teacher(model, **facts | changes)


def test_hash_is_the_sha256_of_expectations_and_sorted_names_and_bytes():
    model = nn.Linear(1, 1)
    nn.init.constant_(model.weight, 1.0)
    nn.init.constant_(model.bias, 0.0)

    expectations = b"([0.5], [0.25], [1, 1, 1], 1)"
    by_hand = hashlib.sha256(expectations + b"bias" + bytes(4) + b"weight" + b"\x00\x00\x80\x3f").hexdigest()

    assert hashed(model) == by_hand
    assert hashed(model, mean=[0.5], image_shape=[1, 1, 1]) == by_hand


@pytest.mark.parametrize(
    "change", [{"mean": (0.4,)}, {"std": (0.2,)}, {"image_shape": (1, 2, 2)}, {"num_classes": 2}], ids=str
)
def test_a_teacher_that_expects_something_else_is_another(change):
    model = nn.Linear(1, 1)

    assert hashed(model, **change) != hashed(model)


def test_hash_does_not_see_the_memory_layout_but_every_weight(teacher):
    channels_last = teacher.model.to(memory_format=torch.channels_last)

    assert dataclasses.replace(teacher, model=channels_last, hash="").hash == teacher.hash
    teacher.model.norms[0].running_mean[0] += 1e-3
    assert dataclasses.replace(teacher, hash="").hash != teacher.hash


def test_a_teacher_without_batch_norm_is_refused_unless_the_weight_is_zero(teacher):
    plain = without_batch_norm(teacher)

    require_batch_norm(teacher, 10.0)
    require_batch_norm(plain, 0.0)
    with pytest.raises(
        ValueError,
        match=r"synthesis.weights.batch_norm: is 10, but the teacher 'lenet5'.*Set it to 0, or take a method .*: dafl",
    ):
        require_batch_norm(plain, 10.0)


def test_batch_norm_without_statistics_does_not_count(teacher):
    model = nn.Sequential(nn.BatchNorm2d(1, track_running_stats=False), nn.Flatten(), nn.Linear(64, 3))

    with pytest.raises(ValueError, match="has no BatchNorm layer"):
        require_batch_norm(dataclasses.replace(teacher, model=model), 1.0)


def test_class_names_may_differ_in_case_alone():
    check_classes(("Cat", "dog "), ("cat", "DOG"))


def test_numbers_in_place_of_names_fit_as_many_classes_of_any_name(tiny_teacher: Teacher) -> None:
    numbered = tiny_teacher.without_class_names()
    assert numbered.class_names == ("class 0", "class 1", "class 2") and numbered.hash == tiny_teacher.hash
    check_classes(numbered.class_names, ("cat", "dog", "eel"))
    with pytest.raises(ValueError, match="knows 3 classes"):
        check_classes(numbered.class_names, ("cat", "dog"))


def test_another_number_of_classes_is_refused_with_both():
    with pytest.raises(ValueError, match=r"knows 2 classes \(cat, dog\), but the data have 3 \(cat, dog, eel\)"):
        check_classes(("cat", "dog"), ("cat", "dog", "eel"))


def test_another_order_of_classes_is_refused_with_both():
    with pytest.raises(ValueError, match=r"class 1 is 'dog' to the teacher and 'eel' in the data"):
        check_classes(("cat", "dog", "eel"), ("cat", "eel", "dog"))


def test_normalisation_needs_one_value_a_channel(teacher):
    with pytest.raises(ValueError, match=r"teacher.mean and teacher.std: expected 1 values each .*, got 3 and 1"):
        Teacher(
            model=teacher.model,
            architecture="digits_student",
            class_names=teacher.class_names,
            image_shape=(1, 8, 8),
            mean=(0.1, 0.2, 0.3),
            std=(0.1,),
            provenance="",
        )
