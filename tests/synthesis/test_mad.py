from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from dfkd.domain import Domain
from dfkd.losses.inversion import BatchNormStatistics
from dfkd.losses.kd import kl_divergence
from dfkd.settings.synthesis import GeneratorSettings, MadSettings, MadWeights
from dfkd.synthesis.mad import MomentumAdversarial
from dfkd.teacher_student import TeacherStudent

TINY: dict[str, Any] = {
    "batch_size": 20, "latent_width": 7, "pretraining_steps": 0, "generator": GeneratorSettings(width=4),
}  # fmt: skip
Make = Callable[..., MomentumAdversarial]


@pytest.fixture
def make(tiny_network: Callable[..., nn.Module], tiny_domain: Callable[..., Domain]) -> Make:
    def build(**changes: Any) -> MomentumAdversarial:
        pair = TeacherStudent(tiny_network(0), tiny_network(1))
        random = torch.Generator().manual_seed(0)
        return MomentumAdversarial(MadSettings(**(TINY | changes)), pair, tiny_domain(), random)

    return build


def weights(module: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def test_loss_is_adversarial_up_to_a_bound_and_asks_for_classes(make: Make) -> None:
    method = make(adversarial_bound=0.2, weights=MadWeights(one_hot=2, adversarial=3, embedding_norm=5))
    assert method.embeddings is not None
    images = method.generator(method.draw(20))
    labels, normalised = method.labels, method.domain.normalise(images)
    with method.pair.frozen_student() as student:
        loss, terms = method.generator_loss(images, BatchNormStatistics(images.device))
        logits = method.pair.teacher(normalised)
        divergence = kl_divergence(student(normalised), logits).clamp_max(0.2).mean()
    excess = (method.embeddings.weight.square().mean(dim=1) - 1).relu().mean()
    torch.testing.assert_close(loss, -3 * divergence + 2 * F.cross_entropy(logits, labels) + 5 * excess)
    assert set(terms) == {"adversarial", "one_hot", "embedding_norm", "label_match"}


def test_without_classes_the_loss_is_the_adversarial_term_alone(make: Make) -> None:
    method = make(class_conditional=False)
    images = method.generator(method.draw(20))
    with method.pair.frozen_student():
        loss, terms = method.generator_loss(images, BatchNormStatistics(images.device))
    assert set(terms) == {"adversarial"}
    torch.testing.assert_close(loss, terms["adversarial"])
    assert method.sample(6).labels is None


def test_latents_are_noise_around_the_embedding_of_the_class_they_are_for(make: Make) -> None:
    method = make()
    assert method.embeddings is not None
    latents = method.draw(4000)
    assert method.labels is not None
    centres = torch.stack([latents[method.labels == label].mean(dim=0) for label in range(10)])
    torch.testing.assert_close(centres, method.embeddings.weight, atol=0.25, rtol=0)  # 5 / sqrt(400)
    assert torch.bincount(method.labels, minlength=10).min() > 300


def test_the_average_follows_the_generator_after_every_step_by_what_the_momentum_leaves(make: Make) -> None:
    method = make(ema_momentum=0.75, generator_steps=2)
    start = weights(method.generator)
    assert torch.equal(weights(method.ema_generator), start)
    stations = []
    method.optimizer.register_step_post_hook(lambda *_: stations.append(weights(method.generator)))
    method.synthesize(0, 0.0)
    expected = 0.75 * (0.75 * start + 0.25 * stations[0]) + 0.25 * stations[1]
    torch.testing.assert_close(weights(method.ema_generator), expected)
    assert not torch.equal(stations[1], start)


def test_a_batch_is_shared_by_the_generator_and_its_average(make: Make) -> None:
    method = make(ema_share=0.25)
    with torch.no_grad():
        method.generator.to_image.bias.fill_(30.0)  # white
        method.ema_generator.to_image.bias.fill_(-30.0)  # black
    batch = method.sample(8)
    assert batch.images.mean(dim=(1, 2, 3)).round().tolist() == [1] * 6 + [0] * 2
    assert batch.labels is not None and batch.labels.shape == (8,)
    assert not batch.images.requires_grad
    assert make(ema_share=0.0).sample(8).images.shape == (8, 1, 8, 8)


def test_before_the_first_turn_alone_the_generator_learns_its_classes_without_the_student(make: Make) -> None:
    method, without = make(pretraining_steps=40, learning_rate=1e-2), make(learning_rate=1e-2)
    for run in (method, without):
        run.pair.teacher.classifier.weight.mul_(30)  # an untrained teacher says the same of every image
    trained, untrained = (run.synthesize(0, 0.0)["one_hot"] for run in (method, without))
    assert trained < 0.8 * untrained
    steps: list[int] = []
    method.optimizer.register_step_post_hook(lambda *_: steps.append(1))
    method.synthesize(0, 0.5)
    method.synthesize(1, 0.6)
    assert len(steps) == 2  # one a turn
    student = weights(method.pair.student)
    method.synthesize(0, 0.0)
    assert torch.equal(weights(method.pair.student), student)


def test_class_embeddings_learn_and_a_resumed_run_has_them(make: Make) -> None:
    method, other = make(), make(ema_momentum=0.5)
    assert method.embeddings is not None and other.embeddings is not None
    start = method.embeddings.weight.detach().clone()
    method.synthesize(0, 0.0)
    assert not torch.equal(method.embeddings.weight, start)
    other.load_state_dict(method.state_dict())
    assert torch.equal(other.embeddings.weight, method.embeddings.weight)
    assert torch.equal(weights(other.ema_generator), weights(method.ema_generator))


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="^pretraining_steps: a generator without classes has nothing .* got 200"):
        MadSettings(class_conditional=False)
    with pytest.raises(ValueError, match="^ema_momentum: expected a fraction"):
        MadSettings(ema_momentum=1.0)
    with pytest.raises(ValueError, match="^adversarial_bound: expected a number above 0"):
        MadSettings(adversarial_bound=0)
