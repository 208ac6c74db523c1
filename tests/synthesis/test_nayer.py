import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from dfkd.domain import Domain
from dfkd.settings.schedules import SCHEDULES
from dfkd.settings.synthesis import GeneratorSettings, LabelNoiseLayer, NayerSettings, SynthesisWeights
from dfkd.synthesis import nayer
from dfkd.synthesis.nayer import Nayer
from dfkd.teacher_student import TeacherStudent

TINY = NayerSettings(
    batch_size=40,
    generator_steps=2,
    warm_up_epochs=1,
    warm_up_rounds=2,
    rounds_per_epoch=1,
    reset_generator_every=2,
    generator=GeneratorSettings(width=4),
    noise=LabelNoiseLayer(width=9),
)
DESCEND = nayer.descend
Build = Callable[..., Nayer]


@pytest.fixture
def build(tiny_network: Callable[..., nn.Module], tiny_domain: Callable[..., Domain]) -> Build:
    def make(seed: int = 0, **changes: Any) -> Nayer:
        pair = TeacherStudent(tiny_network(0), tiny_network(1))
        random = torch.Generator().manual_seed(seed)
        return Nayer(dataclasses.replace(TINY, **changes), pair, tiny_domain(), random)

    return make


def in_public_order(images: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Sort images as the public code has them: all classes once, then all once more."""
    occurrence = F.one_hot(labels, num_classes).cumsum(dim=0).gather(1, labels[:, None]).squeeze(1) - 1
    return images[(occurrence * num_classes + labels).argsort()]


def test_three_rounds_are_those_of_the_public_code(
    public_run: Any, received: Any, assert_agrees: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two in warm-up and one with an adversarial term, each epoch with a new generator."""
    public = public_run("nayer")
    settings = NayerSettings(
        weights=SynthesisWeights(one_hot=0.5, batch_norm=10.0, adversarial=1.33),
        noise=LabelNoiseLayer(width=6),
        batch_size=8,
        generator_steps=3,
        learning_rate=0.01,
        warm_up_epochs=1,
        warm_up_rounds=2,
        rounds_per_epoch=1,
        generator=GeneratorSettings(width=2),
    )
    method = Nayer(settings, public.pair, public.domain, torch.Generator().manual_seed(0))
    method.bank = received
    losses: list[Tensor] = []

    def start(random: torch.Generator) -> None:
        public.load_generator(method.generator, f"fresh/{0 if not received.images else 1}")

    def draw(random: torch.Generator) -> None:
        with torch.no_grad():
            method.noise.weights.copy_(public.tensors[f"{len(received.images)}/noise_weights"])
            method.noise.biases.zero_()

    monkeypatch.setattr(method.generator, "reset_parameters", start)
    monkeypatch.setattr(method.noise, "reset_weights", draw)
    monkeypatch.setattr(nayer, "descend", lambda optimizer, loss: losses.append(loss) or DESCEND(optimizer, loss))
    method.synthesize(0, 0.0)
    terms = method.synthesize(1, 0.0)
    for turn in range(3):
        expected = public.state(str(turn))
        found = in_public_order(received.images[turn], received.labels[turn], 4)
        assert_agrees(torch.stack(losses[3 * turn : 3 * turn + 3]).detach(), expected["losses"])
        assert_agrees(found, expected["images"])
    assert_agrees(terms["one_hot"], expected["one_hot"][-1])
    assert_agrees(terms["batch_norm"], expected["batch_norm"][-1])
    assert "adversarial" in terms


def test_latents_are_those_of_the_public_code(public_run: Any, assert_agrees: Any) -> None:
    public = public_run("nayer")
    expected = public.state("0")
    method = Nayer(
        NayerSettings(batch_size=8, noise=LabelNoiseLayer(width=6), generator=GeneratorSettings(width=2)),
        public.pair,
        public.domain,
        torch.Generator(),
    )
    with torch.no_grad():
        method.noise.weights.copy_(expected["noise_weights"])
        found = method.noise(expected["labels"], method.noise.draw(expected["labels"], method.random))
    assert_agrees(found.squeeze(0), expected["first_latents"])


def test_a_batch_has_every_class_equally_often(build: Build) -> None:
    method = build()
    method.synthesize(1, 0.0)
    labels = method.bank.state_dict()["labels"]
    assert isinstance(labels, Tensor) and torch.bincount(labels, minlength=10).tolist() == [4] * 10


def test_every_round_forgets_the_noisy_layer_and_the_moments_but_neither_generator_nor_batch_norm(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = build(warm_up_rounds=2, reset_generator_every=0)
    kept = (method.generator.to_image.weight, method.noise.norm.weight)
    before: list[list[Tensor]] = []  # each of the 2 x 2 steps: generator, BatchNorm and noise
    after: list[list[Tensor]] = []
    optimizers: list[torch.optim.Optimizer] = []

    def step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
        before.append([parameter.detach().clone() for parameter in (*kept, method.noise.weights)])
        DESCEND(optimizer, loss)
        after.append([parameter.detach().clone() for parameter in (*kept, method.noise.weights)])
        optimizers.append(optimizer)

    monkeypatch.setattr(nayer, "descend", step)
    method.synthesize(0, 0.0)
    moved = [(later - earlier).abs().mean() for later, earlier in zip(before[2], after[1], strict=True)]
    assert moved[:2] == [0, 0] and moved[2] > 0.5  # drawn anew from N(0, 1), not trained on
    assert all(not torch.equal(later, earlier) for later, earlier in zip(after[1], before[0], strict=True))
    assert optimizers[0] is optimizers[1] and optimizers[1] is not optimizers[2]


@pytest.mark.parametrize(("warm_up", "expected"), [(1, [0, 1, 2, 3, 4]), (2, [0, 2, 4]), (0, [0, 2, 4])])
def test_generator_and_batch_norm_start_afresh_counted_from_the_start_and_from_warm_up(
    build: Build, warm_up: int, expected: list[int]
) -> None:
    method = build(warm_up_epochs=warm_up)
    found = []
    for epoch in range(5):
        with torch.no_grad():
            method.noise.norm.weight.fill_(3)
        before = method.generator.project.weight.detach().clone()
        method.start_epoch(epoch)
        afresh = not torch.equal(method.generator.project.weight, before)
        assert afresh == (method.noise.norm.weight[0].item() == 1)
        found += [epoch] if afresh else []
    assert found == expected


def test_the_student_draws_uniformly_from_the_bank(build: Build) -> None:
    method = build()
    method.synthesize(0, 0.0)
    labels = method.sample(2000).labels
    assert labels is not None
    counts = torch.bincount(labels, minlength=10)  # 200 each, standard deviation 13.4: neither balanced nor skewed
    assert 130 < counts.min() < 200 < counts.max() < 270
    assert method.student_head is None


def test_presets_are_the_published_ones() -> None:
    for name, (steps, images) in {"nayer_cifar10": (30, 400), "nayer_cifar100": (40, 400)}.items():
        synthesis, distillation = SCHEDULES[name]["synthesis"], SCHEDULES[name]["distillation"]
        assert (synthesis["generator_steps"], synthesis["batch_size"], distillation["batch_size"]) == (
            steps,
            images,
            512,
        )
        rounds = 20 * synthesis["warm_up_rounds"] + distillation["epochs"] * synthesis["rounds_per_epoch"]
        assert rounds * images == synthesis["bank_capacity"]
    tiny = SCHEDULES["nayer_tiny_imagenet"]
    assert (tiny["synthesis"]["rounds_per_epoch"], tiny["distillation"]["learning_rate"]) == (4, 0.1)
