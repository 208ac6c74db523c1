from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from dfkd.domain import Domain
from dfkd.losses.inversion import BatchNormStatistics
from dfkd.settings.decay import Decay
from dfkd.settings.synthesis import GeneratorSettings, OnlineSettings
from dfkd.synthesis.online import Online
from dfkd.teacher_student import TeacherStudent

SETTINGS = OnlineSettings(batch_size=12, latent_width=5, generator=GeneratorSettings(width=4), learning_rate=0.1)


class WithBatchNorm(OnlineSettings):
    batch_norm_weight = 1.0


class Bright(Online):
    """Its generator learns to make bright images; it notes what it is asked."""

    def generator_loss(self, images: Tensor, statistics: BatchNormStatistics) -> tuple[Tensor, dict[str, Tensor]]:
        self.seen = images
        self.student_was_training = [module.training for module in self.pair.student.modules()]
        self.pair.teacher(images)
        self.statistics = statistics.loss().detach()
        return -100 * images.mean(), {"brightness": images.mean().detach()}


class Keeping(Bright):
    def keep(self, latents: Tensor, images: Tensor) -> Tensor:
        self.latents = latents
        return images


class WithStudentTraining(Bright):
    student_trains = True


Make = Callable[..., Bright]


@pytest.fixture
def make(tiny_network: Callable[..., nn.Module], tiny_domain: Callable[..., Domain]) -> Make:
    def build(method: type[Bright] = Bright, settings: OnlineSettings = SETTINGS) -> Bright:
        pair = TeacherStudent(tiny_network(0), tiny_network(1))
        return method(settings, pair, tiny_domain(), torch.Generator().manual_seed(0))

    return build


def weights(module: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def test_only_the_generator_learns_and_it_goes_down_its_loss(make: Make) -> None:
    method = make(settings=dataclasses.replace(SETTINGS, generator_steps=5))
    student, generator = weights(method.pair.student), weights(method.generator)
    first = method.synthesize(0, 0.0)["brightness"]
    assert method.synthesize(0, 0.0)["brightness"] > first
    assert torch.equal(weights(method.pair.student), student)
    assert not torch.equal(weights(method.generator), generator)


def test_a_turn_ends_with_the_steps_of_the_student_and_an_epoch_with_a_turn(make: Make) -> None:
    rounds = make(settings=dataclasses.replace(SETTINGS, student_steps=5)).rounds(0, steps_per_epoch=11)
    assert (rounds.per_epoch, rounds.student_steps) == (3, 5)


def test_images_of_student_steps_are_new_unless_the_method_keeps_those_of_the_turn(make: Make) -> None:
    fresh, keeping = make(), make(Keeping)
    for method, same in ((fresh, False), (keeping, True)):
        method.synthesize(0, 0.0)
        images = [method.sample(8).images for _ in range(2)]
        assert torch.equal(*images) == same
        assert not any(batch.requires_grad for batch in images)
    assert torch.equal(keeping.sample(8).images, keeping.seen[:8].detach())
    before = keeping.sample(12).images
    keeping.synthesize(0, 0.0)
    assert not torch.equal(keeping.sample(12).images, before)  # the next turn has its own


def test_a_method_is_told_the_latents_of_what_it_may_keep(make: Make) -> None:
    method = make(Keeping, dataclasses.replace(SETTINGS, learning_rate=1e-12))
    method.synthesize(0, 0.0)
    torch.testing.assert_close(method.generator(method.latents), method.seen)


@pytest.mark.parametrize("method", [Bright, WithStudentTraining])
def test_the_student_is_in_the_methods_mode_while_the_generator_learns(make: Make, method: type[Bright]) -> None:
    run = make(method)
    run.pair.student.train()
    run.synthesize(0, 0.0)
    assert set(run.student_was_training) == {method.student_trains}
    assert all(module.training for module in run.pair.student.modules())


def test_statistics_of_the_teacher_are_taken_where_they_are_weighed(make: Make) -> None:
    plain = make()
    weighed = make(settings=WithBatchNorm(**{f.name: getattr(SETTINGS, f.name) for f in dataclasses.fields(SETTINGS)}))
    for method in (plain, weighed):
        method.synthesize(0, 0.0)
        assert not any(module._forward_pre_hooks for module in method.pair.teacher.modules())
    assert float(plain.statistics) == 0
    assert float(weighed.statistics) > 0


def test_the_generators_learning_rate_falls_and_its_gradient_is_clipped(make: Make) -> None:
    clipped = dataclasses.replace(SETTINGS, decay=Decay(kind="cosine"), gradient_clip=0.01)
    lengths = []
    for method in (make(), make(settings=clipped)):
        method.synthesize(0, 0.5)
        gradients = [parameter.grad for parameter in method.generator.parameters() if parameter.grad is not None]
        lengths.append(float(torch.cat([gradient.flatten() for gradient in gradients]).norm()))
    assert lengths[0] > 0.1
    assert lengths[1] == pytest.approx(0.01, rel=1e-3)
    assert method.optimizer.param_groups[0]["lr"] == pytest.approx(0.05)
