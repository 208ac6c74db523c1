from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from dfkd.domain import Domain
from dfkd.losses.inversion import batch_norm_statistics
from dfkd.losses.kd import kl_divergence
from dfkd.settings.synthesis import DfqSettings, DfqWeights, GeneratorSettings
from dfkd.synthesis.dfq import Dfq
from dfkd.teacher_student import TeacherStudent

SETTINGS = DfqSettings(batch_size=30, latent_width=5, generator=GeneratorSettings(width=4), learning_rate=1e-2)
NONE = DfqWeights(adversarial=0, batch_norm=0, one_hot=0, information_entropy=0)
Make = Callable[..., Dfq]


@pytest.fixture
def make(tiny_network: Callable[..., nn.Module], tiny_domain: Callable[..., Domain]) -> Make:
    def build(weights: DfqWeights = SETTINGS.weights, **teacher: bool) -> Dfq:
        pair = TeacherStudent(tiny_network(0, **teacher), tiny_network(1))
        settings = dataclasses.replace(SETTINGS, weights=weights)
        return Dfq(settings, pair, tiny_domain(), torch.Generator().manual_seed(0))

    return build


def test_loss_is_the_sum_of_four_terms(make: Make) -> None:
    method = make(DfqWeights(adversarial=2, batch_norm=3, one_hot=5, information_entropy=7))
    images = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    normalised = method.domain.normalise(images)
    with method.pair.frozen_student() as student, batch_norm_statistics(method.pair.teacher) as statistics:
        loss, terms = method.generator_loss(images, statistics)
        logits = method.pair.teacher(normalised)
        distance = statistics.loss()
        divergence = kl_divergence(student(normalised), logits).mean()
    mean = logits.softmax(dim=1).mean(dim=0)
    one_hot, entropy = F.cross_entropy(logits, logits.argmax(dim=1)), (mean * mean.log()).sum()
    torch.testing.assert_close(loss, -2 * divergence + 3 * distance + 5 * one_hot + 7 * entropy)
    assert float(terms["batch_norm"]) > 0 and float(terms["divergence"]) > 0


@pytest.mark.parametrize(
    ("weight", "term", "sign"),
    [
        ("adversarial", "divergence", -1),
        ("batch_norm", "batch_norm", 1),
        ("one_hot", "one_hot", 1),
        ("information_entropy", "information_entropy", 1),
    ],
)
def test_the_generator_moves_what_is_weighed_in_its_direction(make: Make, weight: str, term: str, sign: int) -> None:
    method = make(dataclasses.replace(NONE, **{weight: 1.0}))
    terms = [sign * float(method.synthesize(0, 0.0)[term]) for _ in range(30)]
    assert sum(terms[-5:]) < sum(terms[:5])


def test_the_teachers_batch_norm_is_asked_for_only_where_it_is_weighed(make: Make) -> None:
    assert SETTINGS.batch_norm_weight == 1
    assert dataclasses.replace(SETTINGS, weights=NONE).batch_norm_weight == 0
    terms = make(dataclasses.replace(SETTINGS.weights, batch_norm=0), batch_norm=False).synthesize(0, 0.0)
    assert float(terms["batch_norm"]) == 0


def test_a_turn_is_one_step_of_the_generator_and_ten_of_the_student(make: Make) -> None:
    rounds = make().rounds(0, steps_per_epoch=400)
    assert (SETTINGS.generator_steps, rounds.student_steps, rounds.per_epoch) == (1, 10, 40)
