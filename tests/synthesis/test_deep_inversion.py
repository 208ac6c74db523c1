import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dfkd.domain import Domain
from dfkd.losses.image_prior import total_variation, total_variation_l1
from dfkd.losses.inversion import batch_norm_statistics
from dfkd.losses.jensen_shannon import jensen_shannon
from dfkd.settings.synthesis import DeepInversionSettings, DeepInversionWeights
from dfkd.synthesis.deep_inversion import DeepInversion
from dfkd.teacher_student import TeacherStudent

TINY = DeepInversionSettings(
    batch_size=20, image_steps=8, jitter=1, warm_up_epochs=1, warm_up_rounds=2, rounds_per_epoch=1, bank_capacity=60
)
Build = Callable[..., DeepInversion]


@pytest.fixture
def build(tiny_network: Callable[..., nn.Module], tiny_domain: Callable[..., Domain]) -> Build:
    def make(*, batch_norm: bool = True, **changes: Any) -> DeepInversion:
        pair = TeacherStudent(tiny_network(0, batch_norm=batch_norm), tiny_network(1))
        settings = dataclasses.replace(TINY, **changes)
        return DeepInversion(settings, pair, tiny_domain(), torch.Generator().manual_seed(0))

    return make


def only(**weights: float) -> DeepInversionWeights:
    nothing = dict.fromkeys((field.name for field in dataclasses.fields(DeepInversionWeights)), 0.0)
    return DeepInversionWeights(**(nothing | weights))


def stored(method: DeepInversion) -> tuple[Tensor, Tensor]:
    state = method.bank.state_dict()
    images, labels = state["images"], state["labels"]
    assert isinstance(images, Tensor) and isinstance(labels, Tensor)
    return images.float() / 255, labels


def loss_of(method: DeepInversion, images: Tensor, labels: Tensor, *, adaptive: bool) -> float:
    with method.pair.frozen_student(), batch_norm_statistics(method.pair.teacher) as statistics:
        return float(method._loss(images, labels, statistics, adaptive=adaptive)[0].detach())


def test_a_round_adds_a_batch_of_balanced_labels_and_warm_up_has_its_own_number_of_rounds(build: Build) -> None:
    method = build()
    method.synthesize(0, 0.0)
    assert torch.bincount(stored(method)[1]).tolist() == [4] * 10  # two rounds of 20 for 10 classes
    method.synthesize(1, 0.0)
    assert len(method.bank) == 60


def sharpen(method: DeepInversion) -> None:
    """Make the untrained networks decided, so that there is something to optimise."""
    with torch.no_grad():
        for network in (method.pair.teacher, method.pair.student):
            network.classifier.weight.mul_(20)  # type: ignore[operator, union-attr]


def test_more_steps_make_images_that_the_teacher_takes_for_their_labels(build: Build) -> None:
    losses = []
    for steps in (1, 30):
        method = build(image_steps=steps, learning_rate=0.2, weights=only(one_hot=1.0))
        sharpen(method)
        losses.append(float(method.synthesize(0, 0.0)["one_hot"]))
    assert losses[1] < 0.7 * losses[0]


def test_pixels_stay_within_the_images_range_however_far_the_loss_drives_them(build: Build) -> None:
    method = build(learning_rate=5.0, weights=only(one_hot=1.0))
    method.synthesize(0, 0.0)
    images, _ = stored(method)
    assert images.min() == 0 and images.max() == 1
    assert 0.01 < float(((images > 0) & (images < 1)).float().mean())


def test_what_is_stored_is_the_normalised_pixels_mapped_back(build: Build) -> None:
    method = build(image_steps=1)  # the best of one step is the noise itself
    state = method.random.get_state()
    method.synthesize(1, 0.0)
    method.random.set_state(state)
    torch.rand(1, generator=method.random), torch.randperm(20, generator=method.random)  # what labels take
    noise = torch.randn(20, 1, 8, 8, generator=method.random)
    expected = (noise * 0.25 + 0.3).clamp(0, 1)  # the tiny domain's std and mean
    torch.testing.assert_close(stored(method)[0], expected, atol=0.6 / 255, rtol=0)


def test_every_weight_weighs_its_own_term(build: Build) -> None:
    images = torch.randn(20, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    labels = torch.arange(20) % 10
    teacher = build().pair.teacher
    with torch.no_grad(), batch_norm_statistics(teacher) as statistics:
        logits = teacher(images)
        expected = {
            "one_hot": nn.functional.cross_entropy(logits, labels),
            "batch_norm": statistics.loss(),
            "total_variation": total_variation(images),
            "total_variation_l1": total_variation_l1(images),
            "l2": images.square().sum().sqrt(),
        }
        student = build().pair.student.eval()
        expected["competition"] = 1 - jensen_shannon(student(images), logits, temperature=3.0)
    for name, value in expected.items():
        method = build(weights=only(**{name: 2.0}))
        assert loss_of(method, images, labels, adaptive=True) == pytest.approx(2 * float(value), rel=1e-4), name


def test_the_adaptive_term_drives_images_to_where_the_student_differs_and_only_after_warm_up(build: Build) -> None:
    losses = []
    for steps in (1, 30):
        method = build(image_steps=steps, learning_rate=0.2, weights=only(competition=1.0))
        sharpen(method)
        before = {name: value.clone() for name, value in method.pair.student.state_dict().items()}
        assert "competition" not in method.synthesize(0, 0.0)
        losses.append(float(method.synthesize(1, 0.0)["competition"]))
        assert all(torch.equal(value, before[name]) for name, value in method.pair.student.state_dict().items())
    assert losses[1] < 0.95 * losses[0]  # of 1 - JS: they agree less


def test_a_batch_is_rolled_and_mirrored_as_one(build: Build) -> None:
    method = build(jitter=2, horizontal_flip=True)
    pixels = torch.arange(64.0).view(1, 1, 8, 8).repeat(3, 1, 1, 1)
    pixels[1:] += 100
    expected = {
        tuple(torch.roll(mirrored, (down, right), (0, 1)).flatten().tolist())
        for mirrored in (pixels[0, 0], pixels[0, 0].flip(1))
        for down in range(-2, 3)
        for right in range(-2, 3)
    }
    found = set()
    for _ in range(300):
        moved = method._move(pixels)
        assert torch.equal(moved[1], moved[0] + 100) and torch.equal(moved[1], moved[2])
        found.add(tuple(moved[0, 0].flatten().tolist()))
    assert found <= expected and len(found) > 40  # of 50
    still = build(jitter=0)
    assert torch.equal(still._move(pixels), pixels)


def test_a_teacher_without_batch_norm_is_refused_unless_nothing_is_asked_of_it(build: Build) -> None:
    with pytest.raises(ValueError, match="deep_inversion matches the statistics that BatchNorm layers remember"):
        build(batch_norm=False)
    method = build(batch_norm=False, weights=DeepInversionWeights(batch_norm=0.0))
    assert float(method.synthesize(0, 0.0)["batch_norm"]) == 0
