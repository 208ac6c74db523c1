import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from dfkd.domain import Domain
from dfkd.losses.inversion import batch_norm_statistics
from dfkd.losses.kd import kd_loss
from dfkd.losses.relation import ring_contrast
from dfkd.settings.schedules import SCHEDULES
from dfkd.settings.synthesis import AdaDfkdSettings, GeneratorSettings, RelationSettings, RelationWeights
from dfkd.synthesis.adadfkd import AdaDfkd, RelationHead
from dfkd.synthesis.protocol import SingleWorker, StudentOutput
from dfkd.teacher_student import TeacherStudent

SETTINGS = AdaDfkdSettings(
    batch_size=16, latent_width=7, learning_rate=1e-2, generator=GeneratorSettings(width=4),
    relation=RelationSettings(queue_length=40, ring_share=0.5),
)  # fmt: skip
NONE = RelationWeights(one_hot=0, batch_norm=0, information_entropy=0, adversarial=0, relation=0)
Make = Callable[..., AdaDfkd]


@pytest.fixture
def make(tiny_network: Callable[..., nn.Module], tiny_domain: Callable[..., Domain]) -> Make:
    def build(student_width: int = 8, **changes: Any) -> AdaDfkd:
        pair = TeacherStudent(tiny_network(0), tiny_network(1, width=student_width))
        settings = dataclasses.replace(SETTINGS, **changes)
        return AdaDfkd(settings, pair, tiny_domain(), torch.Generator().manual_seed(0))

    return build


def student_step(method: AdaDfkd, batch_size: int = 6) -> tuple[Tensor, Tensor, Any]:
    """Return features of the teacher, projections of the student and the student's loss on one batch."""
    batch = method.sample(batch_size)
    images = method.domain.normalise(batch.images)
    student: Any = method.pair.student
    with method.watch():
        with torch.no_grad():
            teacher_logits = method.pair.teacher(images)
        features = student.forward_features(images)
        output = StudentOutput(logits=student.classify(features), projections=method.student_head(features))
        loss = method.student_loss(batch, teacher_logits, output, SingleWorker())
    assert output.projections is not None
    return method.pair.teacher.forward_features(images), output.projections, loss  # type: ignore[operator]


def test_loss_is_the_sum_of_five_terms(make: Make) -> None:
    weights = RelationWeights(one_hot=2, batch_norm=3, information_entropy=5, adversarial=7, relation=11)
    method = make(weights=weights, entropy_temperature=4.0, adversarial_temperature=2.0)
    images = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    normalised, bank = method.domain.normalise(images), method.queue.features
    with method.pair.frozen_student() as student, batch_norm_statistics(method.pair.teacher) as statistics:
        loss, _ = method.generator_loss(images, statistics)
        logits, distance = method.pair.teacher(normalised), statistics.loss()
        features: list[Tensor] = [
            F.normalize(network.forward_features(normalised), dim=1)  # type: ignore[operator]
            for network in (method.pair.teacher, student)
        ]
        divergence = kd_loss(student(normalised), logits, temperature=2.0)
    mean = (logits / 4).softmax(dim=1).mean(dim=0)
    one_hot, entropy = F.cross_entropy(logits, logits.argmax(dim=1)), (mean * mean.log()).sum()
    relation = ring_contrast(*features, bank, start=0.0, share=0.5, temperature=0.07)
    torch.testing.assert_close(loss, 2 * one_hot + 3 * distance + 5 * entropy - 7 * divergence + 11 * relation)
    torch.testing.assert_close(method.queue.features[:6], features[1])  # queued after it was contrasted with the rest
    assert torch.equal(method.queue.features[6:], bank[6:])


@pytest.mark.parametrize("weight", ["one_hot", "batch_norm", "information_entropy", "adversarial"])
def test_the_generator_goes_down_what_is_weighed(make: Make, weight: str) -> None:
    method = make(weights=dataclasses.replace(NONE, **{weight: 1.0}))
    terms = [float(method.synthesize(0, 0.0)[weight]) for _ in range(40)]
    assert sum(terms[-5:]) < sum(terms[:5])


def test_the_generator_sets_its_images_apart_from_former_ones(make: Make) -> None:
    relation = dataclasses.replace(NONE, relation=1.0)
    losses = []
    for rate in (1e-12, 3e-2):
        method = make(weights=relation, learning_rate=rate)
        terms = [method.synthesize(0, 0.0)["relation"] for _ in range(60)]
        losses.append(float(torch.stack(terms[-30:]).mean()))  # the queue is full of student features by then
    assert losses[1] < 0.9 * losses[0]


def test_the_ring_starts_at_the_easiest_and_reaches_the_hardest_within_its_shares_of_the_run() -> None:
    relation = RelationSettings(ring_share=0.8, ring_moves=(0.25, 0.75))
    starts = [relation.ring_start(progress) for progress in (0.0, 0.25, 0.5, 0.75, 0.99)]
    assert starts == pytest.approx([0, 0, 0.1, 0.2, 0.2])


def test_the_ring_follows_the_run(make: Make) -> None:
    fixed = {"weights": dataclasses.replace(NONE, relation=1.0), "learning_rate": 1e-12}
    losses = [float(make(**fixed).synthesize(0, progress)["relation"]) for progress in (0.0, 0.5, 0.9)]
    assert losses == sorted(losses) and losses[0] < losses[-1]


def test_each_images_teacher_features_are_to_find_its_student_features(make: Make) -> None:
    method = make()
    method.synthesize(0, 0.0)
    features, projections, loss = student_step(method)
    similarity = F.normalize(features, dim=1) @ projections.mT / 0.07
    expected = 0.1 * F.cross_entropy(similarity, torch.arange(6))
    torch.testing.assert_close(loss.terms["contrast_relation"], expected)
    assert not any(module._forward_pre_hooks for module in method.pair.teacher.modules())


def test_easy_steps_count_in_full_and_the_threshold_rises_over_the_run(make: Make) -> None:
    method = make(pace_threshold=(1.0, 3.0))
    for progress, threshold in ((0.0, 1.0), (0.5, 2.0)):
        method.synthesize(0, progress)
        pace = student_step(method)[2].pace
        assert float(pace(torch.tensor(0.0))) == pytest.approx(1)
        assert float(pace(torch.tensor(threshold))) == pytest.approx((1 + math.exp(-threshold)) / 2)


def test_images_for_the_student_come_from_a_generator_in_evaluation_mode(make: Make) -> None:
    method = make()
    method.synthesize(0, 0.0)
    before = {name: tensor.clone() for name, tensor in method.generator.state_dict().items()}
    method.sample(6)
    assert all(torch.equal(tensor, before[name]) for name, tensor in method.generator.state_dict().items())
    assert all(module.training for module in method.generator.modules())


def test_a_student_of_another_width_is_projected_by_a_layer_that_learns(make: Make) -> None:
    assert not list(make().student_head.parameters())
    method = make(student_width=5)
    method.synthesize(0, 0.0)
    _, projections, loss = student_step(method)
    assert projections.shape == (6, 8)
    torch.testing.assert_close(projections.norm(dim=1), torch.ones(6))
    loss.terms["contrast_relation"].backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in method.student_head.parameters())
    assert RelationHead(5, 8).project.weight.shape == (8, 5)


def test_presets_follow_the_scripts() -> None:
    for name, rise in (("cifar10", 1e-4), ("cifar10_wrn", 1e-4), ("cifar100", 2e-5), ("cifar100_wrn", 2e-5)):
        preset = SCHEDULES[f"adadfkd_{name}"]
        low, high = preset["synthesis"]["pace_threshold"]
        steps = preset["distillation"]["epochs"] * preset["distillation"]["steps_per_epoch"]
        assert high - low == pytest.approx(rise * steps)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ring_share": 0.0}, "^ring_share: expected a share in \\(0, 1\\], got 0.0"),
        ({"ring_moves": (0.5, 0.5)}, "^ring_moves: expected two rising shares"),
        ({"queue_length": 0}, "^queue_length: expected a number of at least 1"),
    ],
)
def test_relations_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RelationSettings(**changes)
