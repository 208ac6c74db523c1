from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dfkd.domain import Domain
from dfkd.settings.synthesis import GenerativeMemorySettings, GeneratorSettings
from dfkd.synthesis.generative_memory import GenerativeMemory
from dfkd.teacher_student import TeacherStudent

Make = Callable[..., GenerativeMemory]


@pytest.fixture
def make(tiny_network: Callable[..., nn.Module], tiny_domain: Callable[..., Domain]) -> Make:
    def build(match: Callable[[Tensor], Tensor] = lambda logits: 0 * logits.sum(), **changes: Any) -> GenerativeMemory:
        return GenerativeMemory(
            GenerativeMemorySettings(**({"width": 4} | changes)),
            GeneratorSettings(width=4),
            latent_width=6,
            match=match,
            pair=TeacherStudent(tiny_network(0), tiny_network(1)),
            domain=tiny_domain(),
            random=torch.Generator().manual_seed(0),
        )

    return build


def dark_and_bright(count: int) -> Tensor:
    images = torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(1)) / 10
    images[count // 2 :] += 0.9
    return images


def test_it_learns_what_it_is_shown_and_recalls_the_like_of_it(make: Make) -> None:
    memory = make(learning_rate=1e-2)
    before = memory.recall(40).mean(dim=(1, 2, 3))
    losses = [float(memory.learn(dark_and_bright(16), rehearsed=0)) for _ in range(80)]
    assert losses[-1] < 0.5 * losses[0]
    assert memory.recall(40).mean(dim=(1, 2, 3)).std() > 3 * before.std()  # both dark images and bright ones


def test_it_rehearses_its_own_images_beside_those_it_is_shown(make: Make) -> None:
    memory, seen = make(), []
    memory.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    shown = dark_and_bright(6)
    memory.learn(shown, rehearsed=3)
    assert len(seen[0]) == 9
    assert torch.equal(seen[0][:6], memory.domain.normalise(shown))
    assert not seen[0].requires_grad
    memory.learn(shown, rehearsed=0)
    assert len(seen[1]) == 6


def test_recalled_latents_move_towards_what_is_asked_of_the_teacher_and_the_decoder_stays(make: Make) -> None:
    found = []
    for steps in (0, 30):
        memory = make(lambda logits: -100 * logits[:, 3].mean(), latent_steps=steps, latent_learning_rate=0.1)
        with torch.no_grad():
            memory.decoder.to_image.weight.mul_(50)  # an untrained decoder makes much the same of all latents
        start = {name: tensor.clone() for name, tensor in memory.decoder.state_dict().items()}
        images = memory.recall(20)
        found.append(float(memory.teacher(memory.domain.normalise(images))[:, 3].mean()))
        assert not images.requires_grad
        assert all(torch.equal(tensor, start[name]) for name, tensor in memory.decoder.state_dict().items())
        assert all(parameter.grad is None for parameter in memory.decoder.parameters())
    assert found[1] > found[0] + 1e-3


def test_a_step_of_the_latents_is_one_of_adam(make: Make) -> None:
    memory = make(latent_steps=1, latent_learning_rate=0.25)
    start = torch.randn(50, 6, generator=torch.Generator().manual_seed(2))
    moved = (memory._improve(start.clone()) - start).abs()
    torch.testing.assert_close(moved, torch.full_like(moved, 0.25), atol=1e-2, rtol=0)  # its first step has unit size


def test_it_works_where_gradients_are_off(make: Make) -> None:
    memory = make()
    with torch.no_grad():
        assert memory.recall(1).isfinite().all()
        assert memory.learn(dark_and_bright(2), rehearsed=1).isfinite()
