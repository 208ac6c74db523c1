import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dfkd.distillation import Distillation, distill
from dfkd.domain import Domain
from dfkd.models import build_model
from dfkd.settings.distillation import DistillationSettings
from dfkd.settings.synthesis import GeneratorSettings, SpaceshipNetSettings, SpaceshipNetWeights
from dfkd.synthesis.protocol import SingleWorker, StudentLoss, StudentOutput, SyntheticBatch
from dfkd.synthesis.spaceshipnet import SpaceshipNet, exchange_channels
from dfkd.teacher_student import TeacherStudent

TINY = SpaceshipNetSettings(
    generator=GeneratorSettings(width=4), latent_width=9, batch_size=20, generator_steps=3, bank_capacity=60
)
Build = Callable[..., SpaceshipNet]


@pytest.fixture
def build(tiny_network: Callable[..., nn.Module], tiny_domain: Callable[..., Domain]) -> Build:
    def make(*, batch_norm: bool = True, student: nn.Module | None = None, **changes: Any) -> SpaceshipNet:
        pair = TeacherStudent(tiny_network(0, batch_norm=batch_norm), student or tiny_network(1, width=6))
        settings = dataclasses.replace(TINY, **changes)
        return SpaceshipNet(settings, pair, tiny_domain(), torch.Generator().manual_seed(0))

    return make


def msarc(method: SpaceshipNet, images: Tensor) -> StudentLoss:
    normalised = method.domain.normalise(images)
    with method.watch():
        teacher_logits = method.pair.teacher(normalised)
        output = StudentOutput(logits=method.pair.student(normalised))
        return method.student_loss(SyntheticBatch(images=images), teacher_logits, output, SingleWorker())


def test_half_of_every_images_channels_come_from_its_partner() -> None:
    features = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 9, 2, 2)  # every value names its image
    mixed = exchange_channels(features, torch.Generator().manual_seed(0))
    for index in range(6):
        channels = mixed[index].flatten(1)
        assert torch.equal(channels, channels[:, :1].expand_as(channels))  # whole channels
        values = channels[:, 0].tolist()
        assert sorted(values) == sorted([float(index)] * 4 + [float(5 - index)] * 5)
    again = exchange_channels(features, torch.Generator().manual_seed(1))
    assert not torch.equal(mixed, again) and not torch.equal(mixed[0] == 0, mixed[1] == 1)  # drawn for each image


def test_a_round_stores_the_features_of_its_best_batch(build: Build) -> None:
    method = build(generator_steps=1, exchange_probability=0.0)
    latents: list[Tensor] = []
    original = method.generator.stages
    method.generator.stages = lambda given: latents.append(given) or original(given)  # type: ignore[method-assign]
    state = {name: value.clone() for name, value in method.generator.state_dict().items()}
    method.synthesize(0, 0.0)
    method.generator.load_state_dict(state)
    expected = original(latents[0])  # one step: the best is what the untrained generator made
    kept = method.feature_bank.state_dict()["maps"]
    assert len(kept) == 3
    for one, other in zip(kept, expected, strict=True):
        torch.testing.assert_close(one.float(), other.detach(), atol=2e-3, rtol=2e-3)
    assert torch.bincount(method.bank.state_dict()["labels"]).tolist() == [2] * 10  # type: ignore[arg-type]


def test_only_the_stages_asked_for_are_kept_and_decoded(build: Build) -> None:
    method = build(stages=(1,))
    method.synthesize(0, 0.0)
    (kept,) = method.feature_bank.state_dict()["maps"]
    assert kept.shape == (20, 8, 4, 4)
    assert method.sample(5).images.shape == (5, 1, 8, 8)


def test_images_are_decoded_by_the_generator_as_it_stands_without_moving_its_statistics(build: Build) -> None:
    method = build(exchange_probability=0.0, stages=(0,))
    method.synthesize(0, 0.0)
    before = {name: value.clone() for name, value in method.generator.state_dict().items()}
    state = method.random.get_state()
    one = method.sample(12).images
    assert all(torch.equal(value, before[name]) for name, value in method.generator.state_dict().items())
    assert method.generator.training and not one.requires_grad
    method.random.set_state(state)
    with torch.no_grad():
        for parameter in method.generator.to_image.parameters():
            parameter.mul_(-1)
    torch.testing.assert_close(method.sample(12).images, 1 - one)  # the sigmoid of the opposite


def test_channels_are_exchanged_with_the_probability_asked_for(build: Build) -> None:
    always, never = (build(exchange_probability=probability, stages=(2,)) for probability in (1.0, 0.0))
    for method in (always, never):
        method.synthesize(0, 0.0)
        features = method.feature_bank.state_dict()["maps"][0].float()
        method.generator.eval()
        own = method.generator.finish(features, 2)
        drawn = method.sample(30).images.flatten(1)
        nearest = (drawn[:, None] - own.flatten(1)).abs().amax(dim=2).amin(dim=1)  # the most that a pixel differs
        if method is never:
            torch.testing.assert_close(nearest, torch.zeros(30), atol=1e-5, rtol=0)
        else:
            assert float((nearest > 1e-4).float().mean()) > 0.8


def test_msarc_is_zero_between_a_network_and_its_copy(build: Build, tiny_network: Callable[..., nn.Module]) -> None:
    images = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    method = build(student=tiny_network(0).eval())
    terms = msarc(method, images).terms
    assert set(terms) == {"class_maps", "grad_cams"}
    assert float(terms["class_maps"].detach()) == pytest.approx(0, abs=1e-9)
    assert float(terms["grad_cams"].detach()) == pytest.approx(0, abs=1e-9)
    other = msarc(build(student=tiny_network(1).eval()), images).terms
    assert float(other["class_maps"].detach()) > 1e-4 and float(other["grad_cams"].detach()) > 1e-8


def test_msarc_terms_are_weighted_and_teach_the_student_alone(build: Build) -> None:
    images = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    single, double = (
        build(weights=SpaceshipNetWeights(class_maps=weight, grad_cams=3 * weight)) for weight in (1.0, 2.0)
    )
    for name, value in msarc(single, images).terms.items():
        assert float(msarc(double, images).terms[name].detach()) == pytest.approx(2 * float(value.detach()))
        single.pair.student.zero_grad()
        value.backward(retain_graph=True)
        gradients = [parameter.grad for parameter in single.pair.student.features.parameters()]  # type: ignore[union-attr]
        assert all(gradient is not None for gradient in gradients), name
        assert single.pair.student.classifier.weight.grad is None  # type: ignore[union-attr]
    assert not any(module._forward_hooks for module in single.pair.teacher.modules())


def test_class_maps_of_another_size_are_averaged_to_the_teachers(build: Build) -> None:
    """The teacher's are 4x4, the student's 8x8."""
    torch.manual_seed(0)
    finer = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 10))
    images = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    method = build(student=finer, weights=SpaceshipNetWeights(grad_cams=0.0))
    term = msarc(method, images).terms["class_maps"]
    convolution, classifier = finer[0], finer[3]
    normalised = method.domain.normalise(images)
    places = torch.einsum("kd,bdhw->bkhw", classifier.weight, convolution(normalised))
    blocks = places.unfold(2, 2, 2).unfold(3, 2, 2).mean(dim=(4, 5))  # [B, K, 4, 4]
    teacher = method.pair.teacher
    features = teacher.features[:-2](normalised)  # type: ignore[index]
    wanted = torch.einsum("kd,bdhw->bkhw", teacher.classifier.weight, features)  # type: ignore[union-attr]
    weight = method.settings.weights.class_maps
    torch.testing.assert_close(term, weight * (blocks - wanted).square().mean())


def test_without_msarc_nothing_is_hooked_and_any_network_serves(build: Build) -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    method = build(student=flat, weights=SpaceshipNetWeights(class_maps=0.0, grad_cams=0.0))
    assert msarc(method, torch.rand(3, 1, 8, 8)) == StudentLoss({}, {})


def test_networks_that_msarc_cannot_compare_are_refused(build: Build) -> None:
    with pytest.raises(ValueError, match="the student Sequential does not average a feature map"):
        build(student=nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 10)))
    other_size = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 10))
    with pytest.raises(ValueError, match="teacher and student have none in common"):
        build(student=other_size, weights=SpaceshipNetWeights(class_maps=0.0))


def test_a_teacher_without_batch_norm_is_refused_unless_nothing_is_asked_of_it(build: Build) -> None:
    with pytest.raises(ValueError, match="spaceshipnet: its generator matches the statistics"):
        build(batch_norm=False)
    method = build(batch_norm=False, weights=SpaceshipNetWeights(batch_norm=0.0))
    assert float(method.synthesize(0, 0.0)["batch_norm"]) == 0


def test_stages_that_the_generator_lacks_are_refused() -> None:
    with pytest.raises(ValueError, match="generator.num_doublings 2 has the stages 0 to 2, got 3"):
        SpaceshipNetSettings(stages=(0, 3))
    with pytest.raises(ValueError, match="expected one or more different stages"):
        SpaceshipNetSettings(stages=(1, 1))


@pytest.mark.parametrize(("teacher", "student"), [("wrn_16_2", "wrn_16_1"), ("vgg11", "resnet18")])
def test_pairs_of_the_benchmark_are_served(teacher: str, student: str) -> None:
    domain = Domain(
        channels=3, height=16, width=16, mean=(0.5,) * 3, std=(0.25,) * 3, class_names=("a", "b", "c"),
        label_embeddings=torch.zeros(3, 4), crop_padding=1,
    )  # fmt: skip
    pair = TeacherStudent(*(build_model(name, num_classes=3, in_channels=3) for name in (teacher, student)))
    random = torch.Generator().manual_seed(0)
    method = SpaceshipNet(dataclasses.replace(TINY, batch_size=6, generator_steps=1), pair, domain, random)
    settings = DistillationSettings(epochs=1, steps_per_epoch=1, batch_size=6)
    metrics = next(distill(Distillation(pair, method, domain, settings, random))).metrics
    assert metrics["distillation/class_maps"] > 0 and metrics["distillation/grad_cams"] > 0
