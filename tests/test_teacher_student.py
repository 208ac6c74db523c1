from collections.abc import Callable

import pytest
from torch import nn

from dfkd.teacher_student import TeacherStudent


def test_the_teacher_is_frozen_in_evaluation_mode(tiny_network: Callable[..., nn.Module]) -> None:
    pair = TeacherStudent(tiny_network(0).train(), tiny_network(1))
    assert not any(module.training for module in pair.teacher.modules())
    assert not any(parameter.requires_grad for parameter in pair.teacher.parameters())
    assert all(parameter.requires_grad for parameter in pair.student.parameters())


def test_one_network_cannot_be_both(tiny_network: Callable[..., nn.Module]) -> None:
    network = tiny_network()
    with pytest.raises(ValueError, match="expected a network of its own"):
        TeacherStudent(network, network)


def test_a_student_that_shares_a_weight_is_refused(tiny_network: Callable[..., nn.Module]) -> None:
    teacher, student = tiny_network(0), tiny_network(1)
    student.classifier = teacher.classifier
    with pytest.raises(ValueError, match="shares its weights"):
        TeacherStudent(teacher, student)


def test_the_student_is_frozen_for_the_length_of_a_block(tiny_network: Callable[..., nn.Module]) -> None:
    pair = TeacherStudent(tiny_network(0), tiny_network(1).train())
    with pytest.raises(RuntimeError, match="of the caller"), pair.frozen_student() as student:
        assert student is pair.student
        assert not any(module.training for module in student.modules())
        assert not any(parameter.requires_grad for parameter in student.parameters())
        raise RuntimeError("of the caller")
    assert all(module.training for module in pair.student.modules())
    assert all(parameter.requires_grad for parameter in pair.student.parameters())


def test_layers_that_were_frozen_before_stay_so(tiny_network: Callable[..., nn.Module]) -> None:
    student = tiny_network(1).train()
    student.features.eval().requires_grad_(False)
    with TeacherStudent(tiny_network(0), student).frozen_student():
        pass
    assert not any(parameter.requires_grad for parameter in student.features.parameters())
    assert all(parameter.requires_grad for parameter in student.classifier.parameters())
    assert student.training and not any(module.training for module in student.features.modules())
