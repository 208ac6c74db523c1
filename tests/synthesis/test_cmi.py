import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dfkd.domain import Domain
from dfkd.settings.synthesis import (
    ContrastiveInversionSettings,
    GeneratorSettings,
    InstanceContrastSettings,
    SynthesisWeights,
)
from dfkd.synthesis import cmi
from dfkd.synthesis.cmi import ContrastiveInversion
from dfkd.teacher_student import TeacherStudent

TINY = ContrastiveInversionSettings(
    batch_size=20,
    generator_steps=2,
    latent_width=9,
    generator=GeneratorSettings(width=4),
    contrast=InstanceContrastSettings(width=8),
)
DESCEND = cmi.descend
Build = Callable[..., ContrastiveInversion]


@pytest.fixture
def build(tiny_network: Callable[..., nn.Module], tiny_domain: Callable[..., Domain]) -> Build:
    def make(**changes: Any) -> ContrastiveInversion:
        pair = TeacherStudent(tiny_network(0), tiny_network(1))
        settings = dataclasses.replace(TINY, **changes)
        return ContrastiveInversion(settings, pair, tiny_domain(), torch.Generator().manual_seed(0))

    return make


def test_two_rounds_are_those_of_the_public_code(
    public_run: Any, received: Any, assert_agrees: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second contrasts with what the first left. The local view is the image upside down in both."""
    public = public_run("cmi")
    settings = ContrastiveInversionSettings(
        weights=SynthesisWeights(one_hot=0.9, batch_norm=1.0, adversarial=0.5),
        contrast=InstanceContrastSettings(weight=0.8, temperature=0.2, width=4, num_remembered=16, memory_capacity=32),
        latent_width=6,
        batch_size=8,
        generator_steps=3,
        learning_rate=0.02,
        generator=GeneratorSettings(width=2),
    )
    method = ContrastiveInversion(settings, public.pair, public.domain, torch.Generator())
    method.generator.to(memory_format=torch.contiguous_format)  # the order in which its weights are drawn
    method.discriminator.head.load_state_dict(public.state("head"))
    method.bank = received
    losses: list[Tensor] = []
    monkeypatch.setattr(method, "local_view", lambda images: images.flip(2))
    monkeypatch.setattr(cmi, "descend", lambda optimizer, loss: losses.append(loss) or DESCEND(optimizer, loss))
    for turn in range(2):
        method.random.manual_seed(100 + turn)
        terms = method.synthesize(turn, 0.0)
        expected = public.state(str(turn))
        assert_agrees(torch.stack(losses).detach(), expected["losses"])
        assert_agrees(terms["one_hot"], expected["one_hot"][-1])
        assert_agrees(terms["contrast"], expected["contrast"][-1])
        assert_agrees(received.images[-1], expected["images"])
        assert_agrees(method.discriminator.memory.rows[-8:], expected["features"])
        for name, parameter in public.state(f"{turn}/head_after").items():
            assert_agrees(method.discriminator.head.get_parameter(name).detach(), parameter)
        losses.clear()
    assert "adversarial" in terms


def test_there_is_no_warm_up_and_the_adversarial_term_is_there_at_once(build: Build) -> None:
    method = build()
    assert method.rounds(0, steps_per_epoch=7).student_steps == 7
    assert "adversarial" in method.synthesize(0, 0.0)
    assert len(method.bank) == 20 == len(method.discriminator.memory.rows)


def test_every_round_has_a_new_generator_and_the_head_learns_on(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    method = build(rounds_per_epoch=2, generator_steps=3)
    starts: list[Tensor] = []
    reset = cmi.reset_layers_normally

    def note(module: nn.Module, generator: torch.Generator) -> None:
        reset(module, generator)
        starts.append(method.generator.project.weight.detach().clone())

    monkeypatch.setattr(cmi, "reset_layers_normally", note)
    method.synthesize(0, 0.0)
    assert len(starts) == 2 and not torch.equal(*starts)
    assert all(float(start.std()) == pytest.approx(0.02, rel=0.2) for start in starts)
    assert {int(state["step"]) for state in method.discriminator.optimizer.state.values()} == {6}


def test_latents_learn_with_the_generator(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Tensor] = []
    method = build(generator_steps=3)
    method.generator.register_forward_pre_hook(lambda _module, inputs: found.append(inputs[0].detach().clone()))
    method.synthesize(0, 0.0)
    torch.testing.assert_close((found[1] - found[0]).abs().max(), torch.tensor(TINY.learning_rate), rtol=0.05, atol=0)


def test_a_heavier_contrast_tells_images_further_apart(build: Build) -> None:
    found = []
    for weight in (0.0, 20.0):
        contrast = InstanceContrastSettings(width=8, weight=weight)
        weights = SynthesisWeights(one_hot=0.0, batch_norm=1.0, adversarial=0.0)
        method = build(contrast=contrast, weights=weights, generator_steps=15, learning_rate=0.02)
        found.append(float(method.synthesize(0, 0.0)["contrast"]))
    assert found[1] < found[0] - 0.1


def test_local_views_do_not_count_as_statistics(build: Build) -> None:
    method, other = build(generator_steps=1), build(generator_steps=1)
    other.local_view = lambda images: 5 * method.local_view(images) + 3  # type: ignore[method-assign]
    assert float(method.synthesize(0, 0.0)["batch_norm"]) == float(other.synthesize(0, 0.0)["batch_norm"])


def test_a_teacher_without_batch_norm_is_told_what_to_set(
    tiny_network: Callable[..., nn.Module], tiny_domain: Callable[..., Domain]
) -> None:
    pair = TeacherStudent(tiny_network(0, batch_norm=False), tiny_network(1))
    settings = dataclasses.replace(TINY, weights=SynthesisWeights(batch_norm=0.0))
    with pytest.raises(ValueError, match=r"synthesis\.contrast\.features: 'batch_norm'.*Take 'resolutions'"):
        ContrastiveInversion(settings, pair, tiny_domain(), torch.Generator())
    settings = dataclasses.replace(settings, contrast=InstanceContrastSettings(width=8, features="resolutions"))
    method = ContrastiveInversion(settings, pair, tiny_domain(), torch.Generator().manual_seed(0))
    assert method.synthesize(0, 0.0)["contrast"].isfinite()
