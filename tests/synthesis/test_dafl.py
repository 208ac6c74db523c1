from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from dfkd.domain import Domain
from dfkd.losses.inversion import BatchNormStatistics
from dfkd.settings.synthesis import DaflSettings, DaflWeights, GeneratorSettings
from dfkd.synthesis.dafl import Dafl
from dfkd.teacher_student import TeacherStudent

SETTINGS = DaflSettings(batch_size=30, latent_width=5, generator=GeneratorSettings(width=4), learning_rate=1e-2)
Make = Callable[..., Dafl]


@pytest.fixture
def make(tiny_network: Callable[..., nn.Module], tiny_domain: Callable[..., Domain]) -> Make:
    def build(weights: DaflWeights = SETTINGS.weights, teacher: nn.Module | None = None) -> Dafl:
        pair = TeacherStudent(teacher or tiny_network(0), tiny_network(1))
        settings = dataclasses.replace(SETTINGS, weights=weights)
        return Dafl(settings, pair, tiny_domain(), torch.Generator().manual_seed(0))

    return build


def loss_of(method: Dafl, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    return method.generator_loss(images, BatchNormStatistics(images.device))


def test_loss_is_the_sum_of_the_papers_three_terms(make: Make) -> None:
    weights = DaflWeights(one_hot=0.5, information_entropy=20, activation=0.1)
    method, images = make(weights), torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    loss, terms = loss_of(method, images)
    normalised = method.domain.normalise(images)
    logits, features = method.pair.teacher(normalised), method.pair.teacher.forward_features(normalised)
    mean = logits.softmax(dim=1).mean(dim=0)
    one_hot = F.cross_entropy(logits, logits.argmax(dim=1))
    entropy = (mean * mean.log10()).sum()
    torch.testing.assert_close(loss, 0.5 * one_hot + 20 * entropy - 0.1 * features.abs().mean())
    assert set(terms) == {"one_hot", "information_entropy", "activation"}
    assert not any(term.requires_grad for term in terms.values())


@pytest.mark.parametrize(
    ("weights", "term"),
    [
        (DaflWeights(one_hot=1, information_entropy=0, activation=0), "one_hot"),
        (DaflWeights(one_hot=0, information_entropy=1, activation=0), "information_entropy"),
        (DaflWeights(one_hot=0, information_entropy=0, activation=1), "activation"),
    ],
)
def test_the_generator_lowers_what_is_weighed(make: Make, weights: DaflWeights, term: str) -> None:
    method = make(weights)
    terms = [float(method.synthesize(0, 0.0)[term]) for _ in range(30)]
    assert sum(terms[-5:]) < sum(terms[:5])


def test_the_student_has_no_say_in_what_is_made(make: Make) -> None:
    one, other = make(), make()
    with torch.no_grad():
        other.pair.student.classifier.weight.add_(1)
    assert torch.equal(one.synthesize(0, 0.0)["generator_loss"], other.synthesize(0, 0.0)["generator_loss"])


def test_the_student_learns_from_the_images_of_the_generators_step(make: Make) -> None:
    method = make()
    seen: list[Tensor] = []
    method.generator.register_forward_hook(lambda _m, _i, output: seen.append(output.detach()))
    method.synthesize(0, 0.0)
    images = method.sample(30).images
    assert len(seen) == 1 and torch.equal(images, seen[0])
    assert not images.requires_grad


class LogitsAlone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(images.flatten(1))  # type: ignore[no-any-return]


def test_a_teacher_without_features_is_refused_unless_nothing_is_asked_of_them(make: Make) -> None:
    with pytest.raises(ValueError, match=r"^synthesis.weights.activation: is 0.01, .* \(LogitsAlone\) .* Set it to 0"):
        make(teacher=LogitsAlone())
    method = make(DaflWeights(activation=0), teacher=LogitsAlone())
    assert math.isfinite(float(method.synthesize(0, 0.0)["generator_loss"]))


def test_the_teachers_answers_to_the_generators_step_serve_the_students(make: Make) -> None:
    method = make()
    method.synthesize(0, 0.0)
    batch = method.sample(20)
    assert batch.teacher_logits is not None
    with torch.no_grad():
        expected = method.pair.teacher(method.domain.normalise(batch.images))
    torch.testing.assert_close(batch.teacher_logits, expected)
    method.synthesize(0, 0.5)  # new images, new answers
    again = method.sample(20)
    assert again.teacher_logits is not None and not torch.equal(again.teacher_logits, batch.teacher_logits)
