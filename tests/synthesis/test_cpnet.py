import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dfkd.domain import Domain
from dfkd.losses.adversarial import adversarial_loss
from dfkd.losses.label_alignment import alignment_loss, clamped_pseudo_inverse
from dfkd.settings.synthesis import CPNetSettings, CPNetWeights, LabelNoiseLayer
from dfkd.synthesis.cpnet import CPNet
from dfkd.teacher_student import TeacherStudent

TINY = CPNetSettings(
    noise=LabelNoiseLayer(width=9), batch_size=20, generator_steps=2, warm_up_epochs=1, warm_up_rounds=1,
    rounds_per_epoch=1, bank_capacity=60, reset_generator_every=2, cut_mix_probability=0.0,
    colour_jitter_probability=0.0,
)  # fmt: skip
Build = Callable[..., CPNet]


@pytest.fixture
def build(tiny_network: Callable[..., nn.Module], tiny_domain: Callable[..., Domain]) -> Build:
    def make(*, teacher: nn.Module | None = None, crop_padding: int = 0, **changes: Any) -> CPNet:
        pair = TeacherStudent(teacher or tiny_network(0), tiny_network(1))
        settings = dataclasses.replace(TINY, **changes)
        return CPNet(settings, pair, tiny_domain(crop_padding=crop_padding), torch.Generator().manual_seed(0))

    return make


def only(**weights: float) -> CPNetWeights:
    nothing = dict.fromkeys((field.name for field in dataclasses.fields(CPNetWeights)), 0.0)
    return CPNetWeights(**(nothing | weights))


def loss_of(method: CPNet, labels: Tensor, *, adversarial: bool) -> tuple[Tensor, Tensor, list[Tensor]]:
    """The loss of images that the generator makes of these labels; the images and the generator's maps."""
    method.noise.start_round(torch.Generator().manual_seed(1))
    images, maps = method.generator(method.noise(labels, method.noise.draw(labels, method.random)).flatten(0, 1))
    with method.pair.frozen_student(), method.statistics() as statistics:
        loss, _ = method._loss(images, maps, labels, statistics, adversarial=adversarial)
    return loss, images, maps


def test_the_generator_has_the_teachers_maps_backwards(build: Build) -> None:
    method = build()
    _, images, maps = loss_of(method, torch.arange(10), adversarial=False)
    assert [tuple(one.shape) for one in maps] == [(10, 8, 4, 4), (10, 8, 8, 8)]
    assert images.shape == (10, 1, 8, 8)


def test_coupling_is_the_distance_of_the_generators_maps_from_the_teachers_rescaled_inputs(build: Build) -> None:
    method = build(weights=only(coupling=2.0))
    loss, images, maps = loss_of(method, torch.arange(10), adversarial=False)
    entered: list[Tensor] = []
    layers = [module for module in method.pair.teacher.modules() if isinstance(module, nn.BatchNorm2d)]
    handles = [layer.register_forward_pre_hook(lambda _m, inputs: entered.append(inputs[0])) for layer in layers]
    with torch.no_grad():
        method.pair.teacher(method.domain.normalise(images))
    for handle in handles:
        handle.remove()
    expected = torch.tensor(0.0)
    for layer, seen, made in zip(layers, entered, reversed(maps), strict=True):
        variance, mean = torch.var_mean(seen, dim=(0, 2, 3), correction=0)
        assert layer.running_mean is not None and layer.running_var is not None
        standard = (seen - mean[:, None, None]) / (variance + layer.eps)[:, None, None].sqrt()
        target = standard * (layer.running_var + layer.eps)[:, None, None].sqrt() + layer.running_mean[:, None, None]
        expected += nn.functional.mse_loss(made.detach(), target)
    torch.testing.assert_close(loss.detach(), 2 * expected)


def test_coupling_moves_the_generator_below_a_map_and_not_by_way_of_the_teacher(build: Build) -> None:
    method = build(weights=only(coupling=1.0))
    loss, images, _ = loss_of(method, torch.arange(10), adversarial=False)
    images.retain_grad()
    loss.backward()
    assert images.grad is not None and images.grad.abs().max() == 0  # targets are constants
    assert method.generator.project.weight.grad.abs().max() > 0


def test_the_adversarial_term_has_the_students_divergence_and_the_alignment(build: Build) -> None:
    labels = torch.arange(20) % 10
    method = build(weights=only(adversarial=2.0, alignment=3.0))
    assert float(loss_of(method, labels, adversarial=False)[0].detach()) == 0
    loss, images, _ = loss_of(method, labels, adversarial=True)
    teacher, student = method.pair.teacher, method.pair.student.eval()
    with torch.no_grad():
        normalised = method.domain.normalise(images)
        features = teacher.forward_features(normalised)  # type: ignore[operator]
        swapped = adversarial_loss(teacher(normalised), student(normalised))  # KL(p_S || p_T), as in the public code
        inverse = clamped_pseudo_inverse(teacher.classifier.weight)  # type: ignore[arg-type, union-attr]
        bias = teacher.classifier.bias  # type: ignore[union-attr]
        alignment = alignment_loss(features, labels, bias, inverse, smoothing=0.1)  # type: ignore[arg-type]
    torch.testing.assert_close(loss.detach(), 2 * (swapped + 3 * alignment))


def test_mixed_images_are_asked_for_both_labels(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    method = build(weights=only(one_hot=1.0))
    partners = torch.arange(10).flip(0)
    share = torch.linspace(0, 0.9, 10)
    monkeypatch.setattr("dfkd.synthesis.cpnet.cut_mix", lambda views, **_: (views, partners, share))
    labels = torch.arange(10)
    loss, images, _ = loss_of(method, labels, adversarial=False)
    log = method.pair.teacher(method.domain.normalise(images)).detach().log_softmax(dim=1)
    expected = -((1 - share) * log[labels, labels] + share * log[labels, labels[partners]]).mean()
    torch.testing.assert_close(loss.detach(), expected)


def test_views_are_shifted_jittered_and_mixed(build: Build) -> None:
    labels = torch.arange(20) % 10
    plain = float(loss_of(build(weights=only(one_hot=1.0)), labels, adversarial=False)[0].detach())
    changes: list[dict[str, Any]] = [
        {"crop_padding": 2}, {"colour_jitter": 0.9, "colour_jitter_probability": 0.99}, {"cut_mix_probability": 0.99},
    ]  # fmt: skip
    for change in changes:
        method = build(weights=only(one_hot=1.0), **change)
        assert float(loss_of(method, labels, adversarial=False)[0].detach()) != plain, change


def test_statistics_are_remembered_once_a_round(build: Build) -> None:
    method = build(warm_up_rounds=2, statistics_momentum=0.9)
    assert method.remembered.state_dict() == {"earlier": {}}
    method.synthesize(0, 0.0)
    earlier = method.remembered.state_dict()["earlier"]
    assert list(earlier) == [0, 1]
    mean = earlier[0][0].clone()
    method.synthesize(1, 0.0)
    moved = method.remembered.state_dict()["earlier"][0][0]
    assert not torch.equal(moved, mean)
    assert float((moved - mean).norm()) < 0.5 * float(mean.norm())  # a tenth of the way


@pytest.mark.parametrize(("warm_up", "expected"), [(1, [0, 1, 2, 3, 4]), (2, [0, 2, 4])])
def test_the_generator_starts_afresh_counted_from_the_start_and_from_warm_up(
    build: Build, warm_up: int, expected: list[int]
) -> None:
    method = build(warm_up_epochs=warm_up)
    found = []
    for epoch in range(5):
        before = method.generator.project.weight.detach().clone()
        method.start_epoch(epoch)
        found += [] if torch.equal(method.generator.project.weight, before) else [epoch]
    assert found == expected


def test_teachers_that_it_cannot_invert_are_refused(build: Build, tiny_network: Callable[..., nn.Module]) -> None:
    with pytest.raises(ValueError, match="cpnet builds its generator as the inverse of the teacher"):
        build(teacher=tiny_network(batch_norm=False))
    convolution = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 10, 6), nn.Flatten())
    with pytest.raises(ValueError, match="cpnet reads the weights of the layer that gives the logits"):
        build(teacher=convolution)


def test_a_classifier_without_bias_is_served(build: Build) -> None:
    teacher = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 10, bias=False),
    )  # fmt: skip
    method = build(teacher=teacher)
    assert torch.isfinite(loss_of(method, torch.arange(10), adversarial=True)[0])
