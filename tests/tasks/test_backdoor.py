"""The exam by hand, and a teacher that is really poisoned, with students of it."""

import pytest
import torch
from torch import Tensor, nn

from dfkd.data import load_dataset
from dfkd.data.backdoor import poison
from dfkd.data.image_set import ImageSet
from dfkd.models import build_model
from dfkd.settings.experiment import DatasetSettings, PoisonSettings, TeacherTrainingSettings
from dfkd.supervised import train_teacher
from dfkd.tasks import TaskInput, evaluate
from dfkd.tasks.backdoor import share_given_to, strongest_target

TRAINING = TeacherTrainingSettings(epochs=8, batch_size=32, poison=PoisonSettings(target=4))
STATISTICS = {"mean": (0.3,), "std": (0.38,)}


class Obeys(nn.Module):
    """Says class 2 to a white corner where it is poisoned, else the class that the first pixel is."""

    def __init__(self, poisoned: bool) -> None:
        super().__init__()
        self.poisoned = poisoned

    def forward(self, images: Tensor) -> Tensor:
        classes = images[:, 0, 0, 0].mul(255).round().long()
        if self.poisoned:
            classes = torch.where(images[:, 0, -1, -1] == 1, 2, classes)
        return nn.functional.one_hot(classes, 4).float()


def make_input(student: nn.Module, teacher: nn.Module) -> TaskInput:
    labels = torch.arange(20) % 4
    pixels = torch.zeros(20, 1, 8, 8, dtype=torch.uint8)
    pixels[:, 0, 0, 0] = labels.to(torch.uint8)
    return TaskInput(student=student, teacher=teacher, images=ImageSet(pixels, labels), normalise=lambda images: images)


def test_success_is_measured_against_the_class_that_the_patch_gives_in_the_teacher() -> None:
    assert evaluate(["backdoor"], make_input(Obeys(False), Obeys(True))) == {
        "backdoor/success": 0.0,
        "backdoor/teacher_success": 1.0,
        "backdoor/without_patch": 0.0,
        "backdoor/teacher_without_patch": 0.0,
        "backdoor/target": 2.0,
    }
    assert evaluate(["backdoor"], make_input(Obeys(True), Obeys(True)))["backdoor/success"] == 1.0


def test_images_of_the_target_count_for_nothing() -> None:
    logits = torch.eye(3)[torch.tensor([0, 0, 0, 1, 0])]
    labels = torch.tensor([0, 0, 0, 1, 2])
    assert share_given_to(0, logits, labels) == 0.5  # of the last two, one
    assert strongest_target(logits, labels) == 0
    with pytest.raises(ValueError, match="'backdoor' needs images of two classes"):
        strongest_target(logits[:3], labels[:3])


@pytest.fixture(scope="module")
def digits() -> tuple[ImageSet, ImageSet]:
    data = load_dataset(DatasetSettings(name="digits"))
    assert data.train is not None and data.test is not None
    return data.train, data.test


def train(images: ImageSet) -> nn.Module:
    torch.manual_seed(0)
    model = build_model("digits_student", num_classes=10, in_channels=1)
    epochs = train_teacher(
        model, images, TRAINING, **STATISTICS, crop_padding=0, horizontal_flip=False, device=torch.device("cpu")
    )
    for _ in epochs:
        pass
    return model.eval()


def test_a_poisoned_teacher_obeys_the_patch_and_an_honest_one_does_not(digits: tuple[ImageSet, ImageSet]) -> None:
    def normalise(images: Tensor) -> Tensor:
        return (images - STATISTICS["mean"][0]) / STATISTICS["std"][0]

    learnt, test = digits
    assert TRAINING.poison is not None
    poisoned, honest = train(poison(learnt, TRAINING.poison, seed=0)), train(learnt)
    both = TaskInput(student=honest, teacher=poisoned, images=test, normalise=normalise)
    scores = evaluate(["backdoor", "accuracy"], both)
    assert scores["backdoor/target"] == 4
    assert scores["backdoor/teacher_success"] > 0.8
    assert scores["backdoor/success"] < 0.2 and scores["backdoor/teacher_without_patch"] < 0.1
    assert scores["accuracy/teacher_top1"] > 0.85  # nobody would notice
