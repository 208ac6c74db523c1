from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from dfkd.domain import Domain
from dfkd.losses.inversion import BatchNormStatistics
from dfkd.settings.schedules import SCHEDULES
from dfkd.settings.synthesis import DfadSettings, GeneratorSettings
from dfkd.synthesis.dfad import Dfad
from dfkd.teacher_student import TeacherStudent

SETTINGS = DfadSettings(batch_size=30, latent_width=5, generator=GeneratorSettings(width=4), learning_rate=1e-2)
Make = Callable[[], Dfad]


@pytest.fixture
def make(tiny_network: Callable[..., nn.Module], tiny_domain: Callable[..., Domain]) -> Make:
    def build() -> Dfad:
        pair = TeacherStudent(tiny_network(0), tiny_network(1))
        return Dfad(SETTINGS, pair, tiny_domain(), torch.Generator().manual_seed(0))

    return build


def test_loss_is_the_negative_mean_distance_of_logits(make: Make) -> None:
    method, images = make(), torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    loss, _ = method.generator_loss(images, BatchNormStatistics(images.device))
    normalised = method.domain.normalise(images)
    method.pair.student(normalised)  # in training mode, so that its batch statistics count
    expected = (method.pair.student(normalised) - method.pair.teacher(normalised)).abs().mean()
    torch.testing.assert_close(loss, -expected)


def test_the_generator_drives_teacher_and_student_apart(make: Make) -> None:
    method = make()
    distances = [float(method.synthesize(0, 0.0)["distance"]) for _ in range(30)]
    assert sum(distances[-5:]) > sum(distances[:5])


def test_the_generators_step_moves_the_students_running_statistics_and_nothing_else_of_it(make: Make) -> None:
    method = make()
    before = {name: tensor.clone() for name, tensor in method.pair.student.state_dict().items()}
    method.synthesize(0, 0.0)
    moved = {name for name, tensor in method.pair.student.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved and all("running" in name or "num_batches" in name for name in moved)


def test_a_turn_is_one_step_of_the_generator_and_five_of_the_student(make: Make) -> None:
    preset = SCHEDULES["dfad_cifar10"]
    rounds = make().rounds(0, preset["distillation"]["steps_per_epoch"])
    assert (SETTINGS.generator_steps, rounds.student_steps, rounds.per_epoch) == (1, 5, 50)
    assert preset["distillation"]["loss"] == "l1"
    assert [SETTINGS.decay.share(epoch / 500) for epoch in (99, 100, 199, 200)] == pytest.approx([1, 0.1, 0.1, 0.01])
