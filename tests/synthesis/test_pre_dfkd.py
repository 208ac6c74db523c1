import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from dfkd.domain import Domain
from dfkd.losses.inversion import BatchNormStatistics
from dfkd.losses.replay import disagreement_loss
from dfkd.settings.schedules import SCHEDULES
from dfkd.settings.synthesis import GenerativeMemorySettings, GeneratorSettings, PreDfkdSettings, ReplayWeights
from dfkd.synthesis.pre_dfkd import PseudoReplay
from dfkd.synthesis.protocol import SingleWorker, StudentOutput
from dfkd.teacher_student import TeacherStudent

SETTINGS = PreDfkdSettings(
    batch_size=16, latent_width=7, learning_rate=1e-2, generator=GeneratorSettings(width=4),
    memory=GenerativeMemorySettings(width=4, steps=2), replay_share=0.25,
)  # fmt: skip
NONE = ReplayWeights(one_hot=0, information_entropy=0, activation=0, disagreement=0)
Make = Callable[..., PseudoReplay]


@pytest.fixture
def make(tiny_network: Callable[..., nn.Module], tiny_domain: Callable[..., Domain]) -> Make:
    def build(weights: ReplayWeights = SETTINGS.weights) -> PseudoReplay:
        pair = TeacherStudent(tiny_network(0), tiny_network(1))
        settings = dataclasses.replace(SETTINGS, weights=weights)
        return PseudoReplay(settings, pair, tiny_domain(), torch.Generator().manual_seed(0))

    return build


def lessons(method: PseudoReplay) -> list[tuple[int, int]]:
    """Collect (images shown, images rehearsed) of every lesson of the memory from now on."""
    found: list[tuple[int, int]] = []
    learn = method.memory.learn

    def noting(images: Tensor, *, rehearsed: int) -> Tensor:
        found.append((len(images), rehearsed))
        return learn(images, rehearsed=rehearsed)

    method.memory.learn = noting  # type: ignore[method-assign]
    return found


def test_loss_is_the_sum_of_four_terms(make: Make) -> None:
    method = make(ReplayWeights(one_hot=2, information_entropy=3, activation=5, disagreement=7))
    images = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    normalised, teacher = method.domain.normalise(images), method.pair.teacher
    with method.pair.frozen_student() as student:
        loss, terms = method.generator_loss(images, BatchNormStatistics(images.device))
        logits = teacher(normalised)
        disagreement = disagreement_loss(student(normalised), logits, temperature=3.0)
    mean = logits.softmax(dim=1).mean(dim=0)
    one_hot, entropy = F.cross_entropy(logits, logits.argmax(dim=1)), (mean * mean.log10()).sum()
    features = teacher.forward_features(normalised).abs().mean()  # type: ignore[operator]
    torch.testing.assert_close(loss, 2 * one_hot + 3 * entropy - 5 * features + 7 * disagreement)
    assert set(terms) == {"activation", "disagreement"}


def test_the_teacher_is_no_party_to_the_disagreement(make: Make) -> None:
    method = make(dataclasses.replace(NONE, disagreement=1.0))
    images = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    with method.pair.frozen_student() as student:
        (found,) = torch.autograd.grad(method.generator_loss(images, BatchNormStatistics(images.device))[0], images)
        normalised = method.domain.normalise(images)
        with torch.no_grad():
            logits = method.pair.teacher(normalised)
        (expected,) = torch.autograd.grad(disagreement_loss(student(normalised), logits, temperature=3.0), images)
    torch.testing.assert_close(found, expected)
    assert found.abs().max() > 0


def test_a_batch_holds_new_images_and_then_recalled_ones(make: Make) -> None:
    method = make()
    method.synthesize(0, 0.0)
    with torch.no_grad():
        method.generator.to_image.bias.fill_(30.0)  # white
        method.memory.decoder.to_image.bias.fill_(-30.0)  # black
    images = method.sample(16).images
    assert images.mean(dim=(1, 2, 3)).round().tolist() == [1] * 12 + [0] * 4
    assert not images.requires_grad
    assert method.sample(1).images.shape == (1, 1, 8, 8)  # too few to recall any


def test_the_memory_learns_half_of_the_new_images_in_the_first_steps_of_a_turn(make: Make) -> None:
    method = make()
    found = lessons(method)
    method.synthesize(0, 0.0)
    for _ in range(3):
        method.sample(16)
    assert found == [(6, 0)] * 2  # nothing to recall in the first turn
    method.synthesize(0, 0.5)
    method.sample(16)
    assert found[2:] == [(6, 4)]


def test_what_the_memory_learnt_reaches_the_next_batch_only(make: Make) -> None:
    method, without = make(), make()
    without.settings = dataclasses.replace(
        without.settings, memory=dataclasses.replace(without.settings.memory, steps=0)
    )
    for run in (method, without):
        run.synthesize(0, 0.0)
    assert torch.equal(method.sample(16).images, without.sample(16).images)
    assert not torch.equal(method.sample(16).images[12:], without.sample(16).images[12:])


def test_the_memorys_loss_is_logged_once_a_lesson(make: Make) -> None:
    method = make()
    method.synthesize(0, 0.0)
    output = StudentOutput(logits=torch.zeros(16, 10))
    found = []
    for _ in range(3):
        batch = method.sample(16)
        found.append(set(method.student_loss(batch, output.logits, output, SingleWorker()).metrics))
    assert found == [{"memory"}, {"memory"}, set()]
    assert method.student_loss(batch, output.logits, output, SingleWorker()).terms == {}


def test_features_are_asked_for_only_where_they_are_weighed(
    tiny_domain: Callable[..., Domain], tiny_network: Callable[..., nn.Module]
) -> None:
    teacher = nn.Sequential(nn.Conv2d(1, 10, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())  # ends in no Linear layer
    pair, random = TeacherStudent(teacher, tiny_network(1)), torch.Generator().manual_seed(0)
    with pytest.raises(ValueError, match="^synthesis.weights.activation looks at the teacher's penultimate features"):
        PseudoReplay(SETTINGS, pair, tiny_domain(), random)
    without = dataclasses.replace(SETTINGS, weights=dataclasses.replace(SETTINGS.weights, activation=0))
    terms = PseudoReplay(without, pair, tiny_domain(), random).synthesize(0, 0.0)
    assert "activation" not in terms and math.isfinite(float(terms["generator_loss"]))


def test_the_preset_is_the_public_codes_turn() -> None:
    preset: dict[str, Any] = SCHEDULES["pre_dfkd_cifar100"]
    settings, student = PreDfkdSettings(), preset["distillation"]
    assert round(settings.replay_share * student["batch_size"]) == 128
    assert student["batch_size"] - 128 == preset["synthesis"]["batch_size"] == settings.batch_size == 1024
    assert student["steps_per_epoch"] == 36 * settings.student_steps
    assert settings.memory.learning_rate == pytest.approx(settings.learning_rate / 40)
