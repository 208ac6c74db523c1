import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dfkd.domain import Domain
from dfkd.settings.schedules import SCHEDULES
from dfkd.settings.synthesis import FastSettings, GeneratorSettings, SynthesisWeights
from dfkd.synthesis import fast_dfkd
from dfkd.synthesis.fast_dfkd import FastDfkd, add_inner_gradient, add_inner_path, zero_gradients
from dfkd.teacher_student import TeacherStudent

TINY = FastSettings(
    batch_size=20,
    generator_steps=3,
    warm_up_epochs=1,
    latent_width=9,
    reset_first_layer_in=2,
    generator=GeneratorSettings(width=4),
)
Build = Callable[..., FastDfkd]


@pytest.fixture
def build(tiny_network: Callable[..., nn.Module], tiny_domain: Callable[..., Domain]) -> Build:
    def make(**changes: Any) -> FastDfkd:
        pair = TeacherStudent(tiny_network(0), tiny_network(1))
        settings = dataclasses.replace(TINY, **changes)
        return FastDfkd(settings, pair, tiny_domain(), torch.Generator().manual_seed(0))

    return make


def weights(method: FastDfkd) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in method.generator.named_parameters()}


@pytest.mark.parametrize("meta", ["fomaml", "reptile"])
def test_two_rounds_are_those_of_the_public_code(
    public_run: Any, received: Any, assert_agrees: Any, meta: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = public_run("fast_dfkd")
    settings = FastSettings(
        meta=meta,  # type: ignore[arg-type]
        weights=SynthesisWeights(one_hot=0.4, batch_norm=10.0, adversarial=1.1),
        latent_width=6,
        latents_learning_rate=0.02,
        batch_size=8,
        generator_steps=3,
        learning_rate=0.01,
        warm_up_epochs=1,
        generator=GeneratorSettings(width=2),
    )
    method = FastDfkd(settings, public.pair, public.domain, torch.Generator())
    public.load_generator(method.generator, "generator")
    method.bank = received
    losses: list[Tensor] = []
    monkeypatch.setattr(fast_dfkd, "descend", lambda optimizer, loss: losses.append(loss) or DESCEND(optimizer, loss))
    for epoch in range(2):  # the second has an adversarial term, and former statistics to remember
        method.random.manual_seed(100 + epoch)
        terms = method.synthesize(epoch, 0.0)
        expected = public.state(f"{meta}/{epoch}")
        assert torch.equal(received.labels[-1], expected["labels"])
        assert_agrees(torch.stack(losses).detach(), expected["losses"])
        assert_agrees(terms["one_hot"], expected["one_hot"][-1])
        assert_agrees(terms["batch_norm"], expected["batch_norm"][-1])
        assert_agrees(received.images[-1], expected["images"])
        for name, gradient in public.state(f"{meta}/{epoch}/meta_gradient").items():
            assert_agrees(method.generator.get_parameter(name).grad, gradient)
        for name, parameter in public.state(f"{meta}/{epoch}/generator_after").items():
            assert_agrees(method.generator.get_parameter(name).detach(), parameter)
        losses.clear()
    assert "adversarial" in terms


DESCEND = fast_dfkd.descend


def test_fomaml_sums_the_inner_gradients_and_reptile_follows_the_inner_path() -> None:
    network, adapted = nn.Linear(2, 1, bias=False), nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[1.0, 2.0]]))
        adapted.weight.copy_(torch.tensor([[0.5, 4.0]]))
    zero_gradients(network)
    for inner in ([3.0, 1.0], [-1.0, 0.5]):
        adapted.weight.grad = torch.tensor([inner])
        add_inner_gradient(network, adapted)
    assert network.weight.grad is not None and network.weight.grad.tolist() == [[2.0, 1.5]]
    zero_gradients(network)
    add_inner_path(network, adapted)
    assert network.weight.grad.tolist() == [[67 * 0.5, 67 * -2.0]]  # descending moves towards the adapted weights


def test_a_round_moves_the_meta_generator_by_one_step_of_k_times_the_inner_rate(build: Build) -> None:
    method = build()
    before = weights(method)
    method.synthesize(0, 0.0)
    assert method.meta_optimizer.param_groups[0]["lr"] == pytest.approx(3 * TINY.learning_rate)
    moved = (method.generator.to_image.weight.detach() - before["to_image.weight"]).abs()
    torch.testing.assert_close(moved.max(), torch.tensor(3 * TINY.learning_rate), rtol=0.01, atol=0)  # Adam's first
    assert {int(state["step"]) for state in method.meta_optimizer.state.values()} == {1}


@pytest.mark.parametrize("meta", ["fomaml", "reptile"])
def test_a_few_inner_steps_reach_further_from_a_generator_that_has_learnt(build: Build, meta: str) -> None:
    method = build(meta=meta, warm_up_rounds=15, batch_norm_momentum=0.0, learning_rate=5e-3)
    torch.manual_seed(0)
    fresh = float(build(meta=meta, warm_up_rounds=1, batch_norm_momentum=0.0).synthesize(0, 0.0)["generator_loss"])
    method.synthesize(0, 0.0)
    method._schedule = dataclasses.replace(TINY, warm_up_rounds=1)
    assert float(method.synthesize(0, 0.0)["generator_loss"]) < 0.8 * fresh


def test_the_first_layer_is_drawn_anew_once(build: Build) -> None:
    method = build()  # one epoch of warm-up, then anew in the second with student steps: epoch 2
    for epoch in (0, 1, 3):
        before = weights(method)
        method.start_epoch(epoch)
        assert all(torch.equal(value, before[name]) for name, value in weights(method).items())
    method.start_epoch(2)
    after = weights(method)
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed == {"project.weight", "project.bias", "norm.weight"}  # norm.bias was 0 already
    assert float(after["project.weight"].std()) == pytest.approx(0.02, rel=0.1)
    assert float(after["norm.weight"].abs().max()) < 0.1  # around 0, and not around 1
    never = build(reset_first_layer_in=0)
    before = weights(never)
    never.start_epoch(0)
    assert all(torch.equal(value, before[name]) for name, value in weights(never).items())


def test_presets_are_the_published_ones() -> None:
    steps = {name: schedule["synthesis"].get("generator_steps") for name, schedule in SCHEDULES.items()}
    assert (steps["fast_2"], steps["fast_5_resnet34"], steps["fast_10_vgg11"]) == (2, 5, 10)
    synthesis, distillation = SCHEDULES["fast_2_resnet34"]["synthesis"], SCHEDULES["fast_2_resnet34"]["distillation"]
    assert (synthesis["learning_rate"], synthesis["latents_learning_rate"]) == (5e-3, 0.015)
    assert synthesis["weights"] == {"one_hot": 0.5, "batch_norm": 10.0, "adversarial": 1.33}
    assert synthesis["warm_up_epochs"] + distillation["epochs"] == 220
    assert synthesis["bank_capacity"] == 220 * synthesis["batch_size"]
