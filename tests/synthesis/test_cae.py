import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dfkd.domain import Domain
from dfkd.losses.contrastive import cncl_pairs, contrast
from dfkd.settings.synthesis import (
    CategoryAwareSettings,
    CategoryEmbeddingNoise,
    ContrastSettings,
    GeneratorSettings,
    LabelNoiseLayer,
)
from dfkd.synthesis.cae import CategoryAware
from dfkd.synthesis.protocol import Gather, SingleWorker, StudentLoss, StudentOutput, SyntheticBatch
from dfkd.teacher_student import TeacherStudent

TINY = CategoryAwareSettings(
    batch_size=80,
    generator_steps=2,
    warm_up_epochs=1,
    warm_up_rounds=1,
    rounds_per_epoch=1,
    reset_generator_every=2,
    generator=GeneratorSettings(width=4),
    contrast=ContrastSettings(kind="bank", width=8),
)
Build = Callable[..., CategoryAware]


@pytest.fixture
def build(tiny_network: Callable[..., nn.Module], tiny_domain: Callable[..., Domain]) -> Build:
    def make(seed: int = 0, *, crop_padding: int = 1, kind: str = "bank", **changes: Any) -> CategoryAware:
        pair = TeacherStudent(tiny_network(0), tiny_network(1))
        settings = dataclasses.replace(TINY, contrast=ContrastSettings(kind=kind, width=8))
        settings = dataclasses.replace(settings, **changes)
        random = torch.Generator().manual_seed(seed)
        return CategoryAware(settings, pair, tiny_domain(crop_padding=crop_padding), random)

    return make


def stored(method: CategoryAware) -> tuple[Tensor, Tensor, Tensor]:
    state = method.bank.state_dict()
    return tuple(state[name] for name in ("images", "labels", "sources"))


def test_a_batch_holds_every_drawn_class_under_every_source(build: Build) -> None:
    method = build()
    method.synthesize(0, 0.0)
    _, labels, sources = stored(method)
    cells = torch.bincount(labels * 4 + sources, minlength=40)
    assert cells.tolist() == [2] * 40  # 80 images over 10 classes and 4 sources


@pytest.mark.parametrize("num_sources", [3, 6])
def test_a_batch_that_sources_do_not_divide_is_still_full(build: Build, num_sources: int) -> None:
    method = build(noise=CategoryEmbeddingNoise(num_sources=num_sources))
    method.synthesize(0, 0.0)
    _, labels, sources = stored(method)
    assert len(labels) == 80
    assert torch.bincount(sources, minlength=num_sources).min() > 0


def test_classes_follow_the_prior(build: Build) -> None:
    method = build(class_prior=(0.5, 0.2) + (0.0375,) * 8)
    method.synthesize(0, 0.0)
    assert (torch.bincount(stored(method)[1], minlength=10)[:2] - torch.tensor([40, 16])).abs().max() <= 4


def test_warm_up_fills_the_bank_without_student_or_adversary(build: Build) -> None:
    method = build(warm_up_rounds=3)
    assert method.rounds(0, steps_per_epoch=7).student_steps == 0
    assert method.rounds(1, steps_per_epoch=7).student_steps == 7
    assert "adversarial" not in method.synthesize(0, 0.0)
    assert len(method.bank) == 3 * 80
    assert "adversarial" in method.synthesize(1, 0.0)
    assert len(method.bank) == 4 * 80


def test_synthesis_does_not_change_the_student_it_argues_with(build: Build) -> None:
    method = build()
    student = method.pair.student.train()
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    method.synthesize(1, 0.0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in student.state_dict().items())  # BN's buffers too
    assert all(parameter.grad is None for parameter in student.parameters())


def test_an_adversarial_weight_of_zero_leaves_the_term_out(build: Build) -> None:
    weights = dataclasses.replace(TINY.weights, adversarial=0.0)
    method = build(weights=weights)
    method.synthesize(0, 0.0)
    assert "adversarial" not in method.synthesize(1, 0.0)


def test_the_batch_of_the_best_loss_is_kept(build: Build) -> None:
    # Without augmentation a step's loss belongs to its images; a wild learning rate makes every later step worse.
    once, often = (build(crop_padding=0, learning_rate=50.0, generator_steps=steps) for steps in (1, 4))
    lowest = [method.synthesize(0, 0.0)["generator_loss"] for method in (once, often)]
    assert torch.equal(lowest[0], lowest[1])
    assert torch.equal(stored(once)[0], stored(often)[0])


def test_a_better_later_batch_replaces_the_first(build: Build) -> None:
    once, often = (build(crop_padding=0, generator_steps=steps) for steps in (1, 10))
    assert float(often.synthesize(0, 0.0)["generator_loss"]) < float(once.synthesize(0, 0.0)["generator_loss"])
    assert not torch.equal(stored(once)[0], stored(often)[0])


def test_the_generator_starts_afresh_in_place_every_so_many_epochs(build: Build) -> None:
    method = build(reset_generator_every=2)
    pointers = [parameter.data_ptr() for parameter in method.generator.parameters()]
    optimizers = []
    for epoch in range(4):
        method.synthesize(epoch, 0.0)
        optimizers.append(method.optimizer)
    assert optimizers[0] is optimizers[1] and optimizers[1] is not optimizers[2] and optimizers[2] is optimizers[3]
    assert [parameter.data_ptr() for parameter in method.generator.parameters()] == pointers
    steps = [int(state["step"]) for state in method.optimizer.state.values()]
    assert set(steps) == {2 * TINY.generator_steps}  # of epochs 2 and 3


def test_moments_of_a_reinitialised_noise_layer_are_forgotten_each_round(build: Build) -> None:
    method = build(noise=LabelNoiseLayer(width=9), warm_up_rounds=3)
    method.synthesize(0, 0.0)
    steps = {name: int(method.optimizer.state[p]["step"]) for name, p in method.noise.named_parameters()}
    assert set(steps.values()) == {TINY.generator_steps}
    assert int(method.optimizer.state[method.generator.to_image.bias]["step"]) == 3 * TINY.generator_steps


def test_redrawn_noise_makes_another_batch(build: Build) -> None:
    kept, redrawn = build(redraw_noise=False), build(redraw_noise=True)
    for method in (kept, redrawn):
        method.synthesize(0, 0.0)
    assert not torch.equal(stored(kept)[0], stored(redrawn)[0])


def test_bank_batches_are_balanced_with_several_sources_a_class(build: Build) -> None:
    method = build(kind="bank")
    method.synthesize(0, 0.0)
    batch = method.sample(40)
    assert batch.labels is not None and batch.sources is not None
    assert torch.bincount(batch.labels, minlength=10).tolist() == [4] * 10
    assert all(len(batch.sources[batch.labels == label].unique()) == 4 for label in range(10))


def test_simclr_batches_hold_two_views_of_each_image_side_by_side(build: Build) -> None:
    method = build(kind="simclr")
    method.synthesize(0, 0.0)
    batch = method.sample(20)
    assert batch.labels is not None and batch.sources is not None
    assert torch.equal(batch.labels[0::2], batch.labels[1::2])
    assert torch.equal(batch.sources[0::2], batch.sources[1::2])
    assert batch.images.shape[0] == 20 and batch.images.min() >= 0 and batch.images.max() <= 1
    assert len(batch.images.flatten(1).unique(dim=0)) == 20  # no view is another


def test_simclr_views_differ_in_brightness_and_scale_not_by_a_shift_alone(build: Build) -> None:
    """What a shift and a flip leave as it is, would tell the two views together for nothing."""
    method = build(kind="simclr")
    one = torch.linspace(0.2, 0.8, 8).expand(1, 1, 8, 8)  # brightens from left to right
    views = method._views(one.repeat(200, 1, 1, 1))
    contrast = (
        views.mean(dim=2).diff(dim=-1).abs().mean(dim=(1, 2))
    )  # of neighbouring columns: smaller in a closer crop
    assert contrast.std() / contrast.mean() > 0.1
    assert views.mean(dim=(1, 2, 3)).std() > 0.05


def test_half_of_a_fresh_batch_comes_from_the_generator_at_this_moment(build: Build) -> None:
    method = build(kind="fresh")
    method.synthesize(0, 0.0)
    images = method.sample(41).images
    grey = images * 255
    whole = (grey - grey.round()).abs().flatten(1).amax(dim=1) < 1e-4  # what the bank's 8 bits leave
    assert whole.tolist() == [True] * 20 + [False] * 21
    assert not images.requires_grad


def projections(count: int) -> Tensor:
    return nn.functional.normalize(torch.randn(count, 8, generator=torch.Generator().manual_seed(5)))


def loss_of(method: CategoryAware, batch: SyntheticBatch, teacher_logits: Tensor) -> dict[str, float]:
    count = len(batch.images)
    output = StudentOutput(logits=torch.zeros(count, 10), projections=projections(count))
    found = method.student_loss(batch, teacher_logits, output, SingleWorker())
    return {name: float(value) for name, value in (found.terms | found.metrics).items()}


def test_the_contrast_term_carries_its_weight_and_counts_usable_anchors(build: Build) -> None:
    method = build(kind="bank")
    method.synthesize(0, 0.0)
    batch = method.sample(40)
    right = nn.functional.one_hot(batch.labels, 10).float()
    whole = loss_of(method, batch, right)
    assert (whole["usable_anchors"], whole["label_mismatch"]) == (1, 0)
    method.settings = dataclasses.replace(method.settings, contrast=ContrastSettings(kind="bank", weight=1.5, width=8))
    assert loss_of(method, batch, right)["contrast_bank"] == pytest.approx(3 * whole["contrast_bank"])


class SecondOfTwo:
    """A worker whose colleague has the same tensors, in front of its own."""

    rank = 1

    def __call__(self, tensor: Tensor) -> Tensor:
        return torch.cat([tensor, tensor])


def test_candidates_come_from_every_worker_unless_each_contrasts_its_own(build: Build) -> None:
    method = build(kind="bank")
    method.synthesize(0, 0.0)
    batch = method.sample(40)
    right = nn.functional.one_hot(batch.labels, 10).float()
    output = StudentOutput(logits=torch.zeros(40, 10), projections=projections(40))

    def term(gather: Gather, **changes: Any) -> float:
        changed = dataclasses.replace(method.settings.contrast, **changes)
        method.settings = dataclasses.replace(method.settings, contrast=changed)
        return float(method.student_loss(batch, right, output, gather).terms["contrast_bank"])

    alone = term(SingleWorker())
    assert term(SecondOfTwo()) > alone + 0.1  # twice the negatives
    assert term(SecondOfTwo(), across_workers=False) == alone


def test_only_matching_leaves_out_images_that_the_teacher_sees_otherwise(build: Build) -> None:
    method = build(kind="bank")
    method.synthesize(0, 0.0)
    batch = method.sample(40)
    assert batch.labels is not None
    half = torch.where(batch.labels < 5, batch.labels, (batch.labels + 1) % 10)  # classes 5 to 9 are seen as others
    logits = nn.functional.one_hot(half, 10).float()
    assert loss_of(method, batch, logits)["usable_anchors"] == 1
    contrast_settings = dataclasses.replace(method.settings.contrast, only_matching=True)
    method.settings = dataclasses.replace(method.settings, contrast=contrast_settings)
    found = loss_of(method, batch, logits)
    assert (found["usable_anchors"], found["label_mismatch"]) == (0.5, 0.5)
    seen = batch.labels < 5
    assert batch.sources is not None
    pairs = cncl_pairs(*(2 * (batch.labels[seen], batch.sources[seen])), torch.eye(int(seen.sum()), dtype=torch.bool))
    alone = contrast(projections(40)[seen], projections(40)[seen], *pairs, temperature=contrast_settings.temperature)
    assert found["contrast_bank"] == pytest.approx(contrast_settings.weight * float(alone), rel=1e-5)
    nobody = nn.functional.one_hot((batch.labels + 1) % 10, 10).float()
    assert loss_of(method, batch, nobody)["contrast_bank"] == 0


def test_without_contrast_there_is_no_head_and_no_term(build: Build) -> None:
    method = build(kind="none")
    method.synthesize(0, 0.0)
    assert method.student_head is None
    output = StudentOutput(logits=torch.zeros(4, 10))
    assert method.student_loss(method.sample(4), torch.zeros(4, 10), output, SingleWorker()) == StudentLoss({}, {})


def test_a_preview_shows_the_newest_images(build: Build) -> None:
    method = build()
    assert method.preview() is None
    method.synthesize(0, 0.0)
    preview = method.preview()
    assert preview is not None and preview.dtype == torch.uint8
    assert torch.equal(preview, stored(method)[0][-len(preview) :])
