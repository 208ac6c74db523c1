from collections.abc import Callable

import pytest
import torch
from torch import nn

from dfkd.data.image_set import ImageSet
from dfkd.tasks import TaskInput
from dfkd.tasks.protocol import evaluation_mode, predict_logits

MakeInput = Callable[..., TaskInput]


def test_networks_see_each_image_once(make_input: MakeInput) -> None:
    task_input = make_input(torch.eye(2), torch.eye(2), [0, 1])
    for _ in range(2):
        assert torch.equal(task_input.student_logits, torch.eye(2))
        assert torch.equal(task_input.teacher_logits, torch.eye(2))
    assert task_input.student.calls == task_input.teacher.calls == 1


def test_networks_take_normalised_images_in_unit_range() -> None:
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1, 1)
    logits = predict_logits(nn.Flatten(), images, normalise=lambda pixels: 2 * pixels - 1, device="cpu")
    torch.testing.assert_close(logits, torch.tensor([[-1.0], [-0.6], [1.0]]))


def test_logits_are_the_same_in_pieces() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.BatchNorm1d(3))
    images = torch.randint(0, 256, (1100, 1, 2, 2), dtype=torch.uint8)
    logits = predict_logits(model, images, normalise=lambda pixels: pixels, device="cpu")
    assert logits.shape == (1100, 3)
    torch.testing.assert_close(logits, model.eval()(images.float() / 255).detach())


def test_prediction_leaves_the_network_as_it_was() -> None:
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4), nn.Dropout(0.5))
    model[1].eval()  # a frozen BN in a network that trains
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images = torch.randint(0, 256, (8, 1, 2, 2), dtype=torch.uint8)
    predict_logits(model, images, normalise=lambda pixels: pixels, device="cpu")
    assert [module.training for module in model] == [True, False, True]
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_mode_is_restored_after_an_error() -> None:
    model = nn.Linear(1, 1)
    with pytest.raises(RuntimeError), evaluation_mode(model):
        assert not model.training
        raise RuntimeError
    assert model.training


def test_logits_can_be_changed_and_have_no_gradient() -> None:
    images = torch.zeros(1, 1, 2, 2, dtype=torch.uint8)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    logits = predict_logits(model, images, normalise=lambda pixels: pixels, device="cpu")
    assert not logits.requires_grad and not logits.is_inference()


def test_student_with_other_classes_than_the_teacher_is_refused(make_input: MakeInput) -> None:
    task_input = make_input(torch.eye(2), torch.eye(2, 3), [0, 1])
    with pytest.raises(ValueError, match="for the teacher's 3 classes, got them for 2"):
        _ = task_input.teacher_logits


def test_task_input_cannot_be_changed(make_input: MakeInput) -> None:
    task_input = make_input(torch.eye(2), torch.eye(2), [0, 1])
    with pytest.raises(AttributeError):
        task_input.images = ImageSet(torch.zeros(1, 1, 1, 1, dtype=torch.uint8), torch.tensor([0]))  # type: ignore[misc]
