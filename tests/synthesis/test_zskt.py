from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable, Iterator

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from dfkd.distillation import Distillation, distill, student_step
from dfkd.domain import Domain
from dfkd.losses.attention import attention_transfer_loss
from dfkd.losses.inversion import BatchNormStatistics
from dfkd.losses.kd import kl_divergence
from dfkd.settings.distillation import DistillationSettings
from dfkd.settings.synthesis import GeneratorSettings, ZsktSettings
from dfkd.synthesis.protocol import SyntheticBatch
from dfkd.synthesis.zskt import Zskt
from dfkd.teacher_student import TeacherStudent

SETTINGS = ZsktSettings(
    batch_size=24, latent_width=5, student_steps=3, generator=GeneratorSettings(width=4), learning_rate=1e-2
)
STUDENT = DistillationSettings(
    epochs=2, steps_per_epoch=6, batch_size=24, optimizer="adam", learning_rate=2e-3, weight_decay=0, temperature=1
)
CLASSES = 10
Start = Callable[..., Distillation]


@pytest.fixture
def start(tiny_network: Callable[..., nn.Module], tiny_domain: Callable[..., Domain]) -> Start:
    def make(
        settings: ZsktSettings = SETTINGS,
        wrap: Callable[[nn.Module], nn.Module] = lambda module: module,
        student: nn.Module | None = None,
    ) -> Distillation:
        pair = TeacherStudent(tiny_network(0), student or tiny_network(1, width=6))
        random, domain = torch.Generator().manual_seed(0), tiny_domain()
        return Distillation(pair, Zskt(settings, pair, domain, random), domain, STUDENT, random, wrap=wrap)

    return make


@pytest.fixture
def process_group() -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def hooks(*networks: nn.Module) -> int:
    return sum(len(module._forward_hooks) for network in networks for module in network.modules())


def method_of(run: Distillation) -> Zskt:
    assert isinstance(run.synthesizer, Zskt)
    return run.synthesizer


def test_the_generators_loss_is_the_negative_divergence_of_the_student_from_the_teacher(start: Start) -> None:
    method, images = method_of(start()), torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with method.pair.frozen_student() as student:
        loss, _ = method.generator_loss(images, BatchNormStatistics(images.device))
        normalised = method.domain.normalise(images)
        expected = kl_divergence(student(normalised), method.pair.teacher(normalised)).mean()
    torch.testing.assert_close(loss, -expected)
    assert float(expected) > 0


def test_the_generator_drives_teacher_and_student_apart(start: Start) -> None:
    method = method_of(start())
    divergences = [float(method.synthesize(0, 0.0)["divergence"]) for _ in range(30)]
    assert sum(divergences[-5:]) > sum(divergences[:5])


def test_student_steps_of_a_turn_share_what_the_improved_generator_makes_of_the_turns_latents(start: Start) -> None:
    method = method_of(start())
    seen: list[tuple[Tensor, Tensor]] = []
    method.generator.register_forward_hook(lambda _m, inputs, output: seen.append((inputs[0], output.detach())))
    method.synthesize(0, 0.0)
    images = [method.sample(24).images for _ in range(3)]
    (latents, before), (again, after) = seen
    assert torch.equal(latents, again) and not torch.equal(before, after)
    assert all(torch.equal(batch, after) for batch in images)
    method.synthesize(0, 0.0)
    assert not torch.equal(seen[2][0], latents)  # the next turn has latents of its own


def test_the_student_loss_is_beta_times_the_sum_over_shared_resolutions(start: Start) -> None:
    run = start()
    method = method_of(run)
    method.synthesize(0, 0.0)
    images = run.domain.normalise(method.sample(24).images)
    expected = torch.zeros(())
    teacher, student = run.pair.teacher, copy.deepcopy(run.pair.student)
    for last in (3, 6):  # up to the ReLU of the first and of the second convolution: 8x8 and 4x4
        expected += attention_transfer_loss(student.features[:last](images), teacher.features[:last](images)).detach()
    terms = student_step(run)
    assert method.sizes == [(8, 8), (4, 4)]
    assert set(terms) == {"kd", "attention"}
    torch.testing.assert_close(terms["attention"], 250 * CLASSES * expected)


def test_attention_teaches_the_student(start: Start) -> None:
    gradients = []
    for weight in (0.0, 250.0):
        run = start(dataclasses.replace(SETTINGS, attention_weight=weight))
        run.synthesizer.synthesize(0, 0.0)
        assert ("attention" in student_step(run)) == (weight > 0)
        gradients.append(run.pair.student.features[0].weight.grad)
    assert not torch.allclose(*gradients, rtol=0.01)


def test_hooks_and_maps_are_there_in_student_steps_alone(start: Start) -> None:
    run = start()
    networks, method = (run.pair.teacher, run.pair.student), method_of(run)
    counts: list[int] = []
    run.network.register_forward_pre_hook(lambda *_: counts.append(hooks(*networks)))
    assert hooks(*networks) == 0
    for _ in distill(run):
        assert hooks(*networks) == 0 and not any(maps.latest for maps in method.maps)
    assert counts and min(counts) == 6  # three resolutions each, 1x1 among them
    method.synthesize(0, 0.0)
    assert hooks(*networks) == 0


def test_a_student_step_that_fails_leaves_no_hook(start: Start) -> None:
    run = start()
    run.synthesizer.synthesize(0, 0.0)
    run.pair.student.classifier = nn.Linear(1, 1)
    with pytest.raises(RuntimeError):
        student_step(run)
    assert hooks(run.pair.teacher, run.pair.student) == 0


def test_the_student_copies_pickles_and_saves_as_one_without_hooks(
    start: Start, tiny_network: Callable[..., nn.Module]
) -> None:
    run, images = start(), torch.randn(3, 1, 8, 8)
    reports = distill(run)
    next(reports)
    student = run.pair.student
    restored = tiny_network(5, width=6)
    restored.load_state_dict(student.state_dict())
    expected = student.eval()(images)
    for other in (copy.deepcopy(student), pickle.loads(pickle.dumps(student)), restored):
        assert torch.equal(other.eval()(images), expected)
    assert not any(maps.latest for maps in method_of(run).maps)


def test_a_student_in_data_parallel_learns_the_same(start: Start, process_group: None) -> None:
    plain, wrapped = start(), start(wrap=DistributedDataParallel)
    for ours, theirs in zip(distill(plain), distill(wrapped), strict=True):
        assert ours.metrics == theirs.metrics
        assert ours.metrics["distillation/attention"] > 0
    state = wrapped.network.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in plain.network.state_dict().items())


class Flat(nn.Module):
    """A student without any feature map."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(images.flatten(1))  # type: ignore[no-any-return]


def test_networks_without_a_common_resolution_are_refused_unless_attention_has_no_weight(start: Start) -> None:
    with pytest.raises(ValueError, match="^synthesis.attention_weight: expected .* of one size, got .* Set it to 0"):
        start(student=Flat())
    run = start(dataclasses.replace(SETTINGS, attention_weight=0.0), student=Flat())
    assert "distillation/attention" not in next(distill(run)).metrics


def test_the_teacher_is_asked_once_a_turn_and_the_student_learns_as_if_in_every_step(start: Start) -> None:
    asked, forgetful = start(), start()
    calls: list[int] = []
    asked.pair.teacher.register_forward_hook(lambda *_: calls.append(1))
    plain = method_of(forgetful).sample

    def forget(batch_size: int) -> SyntheticBatch:
        return dataclasses.replace(plain(batch_size), teacher_logits=None)

    method_of(forgetful).sample = forget  # type: ignore[method-assign]
    for run in (asked, forgetful):
        list(distill(run))
    turns = STUDENT.epochs * STUDENT.steps_per_epoch // SETTINGS.student_steps
    assert len(calls) == turns * (SETTINGS.generator_steps + 1)
    for own, other in zip(asked.pair.student.parameters(), forgetful.pair.student.parameters(), strict=True):
        assert torch.equal(own, other)
