"""Contract of every method, under every noise layer and kind of contrast, on tiny networks."""

import dataclasses
import gc
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dfkd.assembly import build_method
from dfkd.baselines import BASELINES
from dfkd.distillation import Distillation, EpochReport, Means, distill, set_learning_rate, student_step
from dfkd.domain import Domain
from dfkd.settings.distillation import DistillationSettings
from dfkd.settings.synthesis import (
    CONTRAST_KINDS,
    STRUCTURED_NOISE_SOURCES,
    AdaDfkdSettings,
    CategoryAwareSettings,
    CategoryEmbeddingNoise,
    ContrastiveInversionSettings,
    ContrastSettings,
    CPNetSettings,
    DaflSettings,
    DeepInversionSettings,
    DeepInversionWeights,
    DfadSettings,
    DfqSettings,
    FastSettings,
    GaussianNoise,
    GenerativeMemorySettings,
    GeneratorSettings,
    ImageCropsSettings,
    InstanceContrastSettings,
    LabelNoiseLayer,
    MadSettings,
    NayerSettings,
    PreDfkdSettings,
    ProceduralSettings,
    PublicImagesSettings,
    RandomNoiseSettings,
    RealImagesSettings,
    RelationSettings,
    SpaceshipNetSettings,
    StoredImagesSettings,
    SynthesisSettings,
    ZsktSettings,
)
from dfkd.synthesis import SYNTHESIZERS
from dfkd.synthesis.protocol import StudentLoss
from dfkd.teacher_student import TeacherStudent
from dfkd.teachers import Teacher, require_batch_norm
from dfkd.teachers.teacher import WITHOUT_BATCH_NORM

EPOCHS = DistillationSettings(epochs=2, steps_per_epoch=3, batch_size=24)
NOISE_LAYERS = {
    "cend": CategoryEmbeddingNoise(),
    "cend-learnt": CategoryEmbeddingNoise(
        num_sources=3, distributions=STRUCTURED_NOISE_SOURCES, learnable_magnitudes=True
    ),
    "nayer": LabelNoiseLayer(width=9),
    "gaussian": GaussianNoise(width=9),
}
CAE = CategoryAwareSettings(
    batch_size=40, generator_steps=2, warm_up_epochs=1, warm_up_rounds=2, reset_generator_every=2,
    generator=GeneratorSettings(width=4),
)  # fmt: skip
METHODS: dict[str, SynthesisSettings] = {
    f"{name}-{kind}": dataclasses.replace(CAE, noise=noise, contrast=ContrastSettings(kind=kind, width=8))
    for name, noise in NOISE_LAYERS.items()
    for kind in CONTRAST_KINDS
    if (name, kind) != ("gaussian", "fresh")  # refused: new Gaussian latents are made for no class
}
METHODS["cend-redrawn"] = dataclasses.replace(CAE, redraw_noise=True)
METHODS["random_noise"] = RandomNoiseSettings()
SHORT: dict[str, Any] = {"batch_size": 40, "generator_steps": 2, "generator": GeneratorSettings(width=4)}
METHODS["nayer"] = NayerSettings(
    **SHORT, warm_up_epochs=1, warm_up_rounds=2, reset_generator_every=2, noise=LabelNoiseLayer(width=9)
)
METHODS["fast_dfkd-fomaml"] = FastSettings(**SHORT, warm_up_epochs=1, latent_width=9, reset_first_layer_in=2)
METHODS["fast_dfkd-reptile"] = dataclasses.replace(METHODS["fast_dfkd-fomaml"], meta="reptile")
METHODS["cmi"] = ContrastiveInversionSettings(
    **SHORT, latent_width=9, contrast=InstanceContrastSettings(width=8, num_remembered=30, memory_capacity=60)
)
METHODS["cmi-resolutions"] = dataclasses.replace(
    METHODS["cmi"], contrast=InstanceContrastSettings(width=8, features="resolutions")
)
METHODS["procedural"] = ProceduralSettings(num_leaves=5)
METHODS["real_images"] = RealImagesSettings()
METHODS["public_images"] = PublicImagesSettings(path="not looked at here")
METHODS["image_crops"] = ImageCropsSettings()
ONLINE: dict[str, Any] = {"batch_size": 24, "latent_width": 7, "generator": GeneratorSettings(width=4)}
METHODS["dafl"] = DaflSettings(**ONLINE)
METHODS["dfad"] = DfadSettings(**ONLINE, student_steps=2)
METHODS["dfq"] = DfqSettings(**ONLINE, student_steps=2)
METHODS["mad"] = MadSettings(**ONLINE, student_steps=2, pretraining_steps=2)
METHODS["mad-without-classes"] = MadSettings(**ONLINE, class_conditional=False, pretraining_steps=0)
METHODS["pre_dfkd"] = PreDfkdSettings(**ONLINE, student_steps=3, memory=GenerativeMemorySettings(width=4, steps=2))
METHODS["adadfkd"] = AdaDfkdSettings(**ONLINE, student_steps=2, relation=RelationSettings(queue_length=50))
METHODS["zskt"] = ZsktSettings(**ONLINE, student_steps=2)
METHODS["cpnet"] = CPNetSettings(
    noise=LabelNoiseLayer(width=9), batch_size=24, generator_steps=2, warm_up_epochs=1, warm_up_rounds=2,
    reset_generator_every=2,
)  # fmt: skip
METHODS["deep_inversion"] = DeepInversionSettings(
    weights=DeepInversionWeights(competition=10.0), batch_size=24, image_steps=3, horizontal_flip=True,
    warm_up_epochs=1, warm_up_rounds=2, rounds_per_epoch=1, bank_capacity=60,
)  # fmt: skip
METHODS["spaceshipnet"] = SpaceshipNetSettings(
    generator=GeneratorSettings(width=4), latent_width=9, batch_size=24, generator_steps=2, bank_capacity=60
)

Start = Callable[..., Distillation]
every_method = pytest.mark.parametrize("method", METHODS)


@pytest.fixture
def start(tiny_network: Callable[..., nn.Module], tiny_domain: Callable[..., Domain]) -> Start:
    def make(
        method: str | SynthesisSettings, seed: int = 0, settings: DistillationSettings = EPOCHS, **network: Any
    ) -> Distillation:
        pair = TeacherStudent(tiny_network(0, **network), tiny_network(1, width=6))
        random, domain = torch.Generator().manual_seed(seed), tiny_domain()
        chosen = METHODS[method] if isinstance(method, str) else method
        images = torch.randint(0, 256, (30, 1, 8, 8), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
        given = images if isinstance(chosen, StoredImagesSettings) else None
        synthesizer = build_method(chosen, pair, domain, random, images=given)
        return Distillation(pair, synthesizer, domain, settings, random)

    return make


def outcome(reports: list[EpochReport]) -> list[dict[str, float]]:
    return [report.metrics for report in reports]


def same_weights(one: Distillation, other: Distillation) -> bool:
    pairs = zip(one.network.state_dict().values(), other.network.state_dict().values(), strict=True)
    return all(torch.equal(left, right) for left, right in pairs)


@pytest.mark.parametrize("name", SYNTHESIZERS)
def test_memory_does_not_grow_over_epochs(start: Start, name: str) -> None:
    """Once banks and queues are full, an epoch leaves as many tensors of as many bytes as the one before."""
    settings: Any = next(settings for settings in METHODS.values() if settings.method == name)
    if hasattr(settings, "bank_capacity"):
        settings = dataclasses.replace(settings, bank_capacity=80)
    longer = dataclasses.replace(EPOCHS, epochs=8)
    epochs = enumerate(distill(start(settings, settings=longer)))
    early, late = (tensors_alive() for number, _ in epochs if number in (4, 7))  # looking takes a second or two
    assert early == late


def tensors_alive() -> tuple[int, int]:
    """Return how many tensors there are, and their bytes."""
    gc.collect()
    sizes = [each.nbytes for each in gc.get_objects() if type(each) in (Tensor, nn.Parameter)]
    return len(sizes), sum(sizes)


@pytest.mark.parametrize("name", SYNTHESIZERS)
def test_a_teacher_without_batch_norm_is_served_or_refused_with_a_way_out(start: Start, name: str) -> None:
    """By every method as it is published; where it matches BatchNorm statistics, by what its refusal says to set."""
    settings = next(settings for settings in METHODS.values() if settings.method == name)
    teacher = plain_teacher()
    if name == "cpnet":
        with pytest.raises(ValueError, match="has none. No weight can change that: take another teacher or method"):
            start(settings, batch_norm=False)
        return
    if settings.batch_norm_weight:
        with pytest.raises(ValueError, match=r"weights.batch_norm: is .*Set it to 0, or take a method .* zskt"):
            require_batch_norm(teacher, settings.batch_norm_weight)
        settings = without_batch_norm(settings)
    require_batch_norm(teacher, settings.batch_norm_weight)
    reports = list(distill(start(settings, batch_norm=False)))
    assert all(math.isfinite(value) for report in reports for value in report.metrics.values())


def test_the_methods_that_a_refusal_names_are_those_that_publish_no_batch_norm_loss() -> None:
    published = {name: next(s for s in METHODS.values() if s.method == name) for name in SYNTHESIZERS}
    able = {name for name, settings in published.items() if not settings.batch_norm_weight}
    assert set(WITHOUT_BATCH_NORM) == able - {"cpnet", "random_noise", "procedural"}  # no method, and baselines


def plain_teacher() -> Teacher:
    layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    names = tuple(f"class {index}" for index in range(10))
    return Teacher(
        model=layers, architecture="plain", class_names=names, image_shape=(1, 8, 8), mean=(0.3,), std=(0.25,),
        provenance="made in a test",
    )  # fmt: skip


def without_batch_norm(settings: Any) -> SynthesisSettings:
    """What the refusals say to set."""
    if isinstance(settings, ContrastiveInversionSettings):
        contrast = dataclasses.replace(settings.contrast, features="resolutions")
        settings = dataclasses.replace(settings, contrast=contrast)
    return dataclasses.replace(settings, weights=dataclasses.replace(settings.weights, batch_norm=0.0))


def test_every_method_of_the_table_is_held_to_the_contract() -> None:
    assert {settings.method for settings in METHODS.values()} == {*SYNTHESIZERS, *BASELINES}


@every_method
def test_losses_are_finite_and_every_epoch_is_reported(start: Start, method: str) -> None:
    run = start(method)
    reports = list(distill(run))
    assert [report.epoch for report in reports] == list(range(run.total_epochs))
    assert all(math.isfinite(value) for report in reports for value in report.metrics.values())
    assert reports[-1].metrics["distillation/kd"] > 0
    last = {name.removeprefix("distillation/") for name in reports[-1].metrics if name.startswith("distillation/")}
    assert (run.synthesizer.student_head is not None) == any(name.startswith("contrast_") for name in last)


@every_method
def test_samples_have_the_shape_and_range_of_images(start: Start, method: str) -> None:
    run = start(method)
    run.synthesizer.synthesize(0, 0.0)
    batch = run.synthesizer.sample(10)
    assert batch.images.shape == (10, 1, 8, 8)
    assert 0 <= batch.images.min() < batch.images.max() <= 1
    assert batch.labels is None or (batch.labels.shape == (10,) and 0 <= batch.labels.min() <= batch.labels.max() < 10)


@every_method
def test_a_run_resumed_after_any_epoch_gives_the_same_numbers_bit_for_bit(start: Start, method: str) -> None:
    whole = start(method)
    expected = outcome(list(distill(whole)))
    for stop in range(len(expected) - 1):
        first = start(method)
        before = [next(reports) for reports in [distill(first)] for _ in range(stop + 1)]
        resumed = start(method, seed=99)  # another seed: only the state may decide
        resumed.load_state_dict(first.state_dict())
        assert outcome(before + list(distill(resumed))) == expected
        assert same_weights(resumed, whole)


@every_method
def test_a_seed_decides_the_run(start: Start, method: str) -> None:
    torch.manual_seed(1)
    one = start(method, seed=1)
    numbers = outcome(list(distill(one)))
    torch.manual_seed(2)  # the global state must not matter
    again, other = start(method, seed=1), start(method, seed=2)
    assert outcome(list(distill(again))) == numbers and same_weights(one, again)
    assert outcome(list(distill(other))) != numbers and not same_weights(one, other)


@every_method
def test_the_teacher_is_untouched_and_the_student_can_learn_again(start: Start, method: str) -> None:
    run = start(method)
    teacher, student = run.pair.teacher, run.pair.student
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    list(distill(run))
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in teacher.parameters())
    assert not any(module.training for module in teacher.modules())
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in teacher.modules())
    assert all(parameter.requires_grad for parameter in student.parameters())
    assert all(module.training for module in student.modules())


def test_the_student_does_not_move_during_warm_up_and_moves_after(start: Start) -> None:
    run, untouched = start("cend-bank"), start("cend-bank")
    reports = distill(run)
    assert "distillation/kd" not in next(reports).metrics
    assert same_weights(run, untouched)
    assert "distillation/kd" in next(reports).metrics
    assert not same_weights(run, untouched)


def test_the_student_learns_in_training_mode_even_if_somebody_left_it_in_another(start: Start) -> None:
    run, other = start("random_noise"), start("random_noise")
    run.pair.student.eval()
    list(distill(run)), list(distill(other))
    assert same_weights(run, other)  # BatchNorm's running statistics among them


def test_the_methods_own_term_teaches_the_student_and_its_head(start: Start) -> None:
    with_term = start("cend-bank")
    assert with_term.synthesizer.student_head is not None
    list(distill(with_term))
    gradients = [parameter.grad for parameter in with_term.synthesizer.student_head.parameters()]
    assert all(gradient is not None and gradient.abs().max() > 0 for gradient in gradients)
    contrast = ContrastSettings(kind="bank", width=8, weight=5.0)
    heavier = start(dataclasses.replace(CAE, contrast=contrast))
    list(distill(heavier))
    assert not same_weights(with_term, heavier)


def test_the_student_comes_to_agree_with_its_teacher(start: Start) -> None:
    run = start("cend-none", settings=dataclasses.replace(EPOCHS, epochs=4, steps_per_epoch=40))
    losses = [report.metrics["distillation/kd"] for report in distill(run) if report.epoch > 0]
    assert losses[-1] < 0.3 * losses[0]


def test_the_weight_of_kd_weighs_it_against_the_methods_own_terms(start: Start) -> None:
    plain, lighter = (start("cend-bank", settings=dataclasses.replace(EPOCHS, weight=weight)) for weight in (1.0, 0.25))
    first, other = (next(report.metrics for report in distill(run) if report.epoch == 1) for run in (plain, lighter))
    assert 0.2 * first["distillation/kd"] < other["distillation/kd"] < 0.4 * first["distillation/kd"]
    assert other["distillation/contrast_bank"] > 0.5 * first["distillation/contrast_bank"]


def test_a_method_watches_both_passes_and_the_losses_and_nothing_else(start: Start) -> None:
    run = start("random_noise")
    seen: list[str] = []

    @contextmanager
    def watch() -> Iterator[None]:
        seen.append("in")
        yield
        seen.append("out")

    run.synthesizer.watch = watch  # type: ignore[method-assign]
    original = run.synthesizer.student_loss
    run.synthesizer.student_loss = (  # type: ignore[method-assign]
        lambda *arguments: seen.append("loss") or original(*arguments)
    )
    for name, network in (("teacher", run.pair.teacher), ("student", run.pair.student)):
        network.register_forward_hook(lambda _m, _i, _o, name=name: seen.append(name))
    next(distill(run))
    assert seen == ["in", "teacher", "student", "loss", "out"] * EPOCHS.steps_per_epoch


def test_a_teacher_without_batch_norm_works_where_its_term_is_zero(start: Start) -> None:
    settings = dataclasses.replace(CAE, weights=dataclasses.replace(CAE.weights, batch_norm=0.0))
    metrics = list(distill(start(settings, batch_norm=False)))[-1].metrics
    assert metrics["synthesis/batch_norm"] == 0
    assert math.isfinite(metrics["distillation/kd"])


def test_learning_rate_falls_on_a_cosine_over_the_epochs_after_warm_up(start: Start) -> None:
    run = start("cend-none")  # one epoch of warm-up, then two
    found = []
    for epoch, progress in ((1, 0.0), (1, 0.5), (2, 0.0), (2, 0.5), (3, 0.0)):
        run.epoch = epoch
        set_learning_rate(run, progress=run.progress(progress))
        found.append(run.optimizer.param_groups[0]["lr"])
    quarter = 0.1 * (1 + math.cos(math.pi / 4))  # of 0.2, after half an epoch of two
    assert found == pytest.approx([0.2, quarter, 0.1, 0.2 - quarter, 0.0])


def test_the_last_step_of_a_run_has_the_last_learning_rate_of_the_schedule(start: Start) -> None:
    run = start("cend-none")
    list(distill(run))
    expected = 0.1 * (1 + math.cos(math.pi * 5 / 6))  # the sixth of 2 * 3 steps
    assert run.optimizer.param_groups[0]["lr"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("cend-bank", dataclasses.replace(EPOCHS, learning_rate=1e30), r"epoch 1: distillation/kd is (nan|inf)"),
        ("cend-bank", dataclasses.replace(EPOCHS, temperature=1e-40), r"epoch 1: distillation/kd is (nan|inf)"),
        (dataclasses.replace(CAE, learning_rate=1e38), EPOCHS, r"epoch 0: synthesis/one_hot is (nan|inf)"),
    ],
)
def test_a_loss_that_is_not_finite_names_epoch_and_term(
    start: Start, method: str | SynthesisSettings, settings: DistillationSettings, message: str
) -> None:
    with pytest.raises(FloatingPointError, match=message):
        list(distill(start(method, settings=settings)))


def test_a_failed_synthesis_leaves_no_hook_and_a_student_that_can_learn(start: Start) -> None:
    run = start("cend-bank")
    run.synthesizer.generator.to_image = nn.Linear(1, 1)
    with pytest.raises(RuntimeError):
        next(distill(run))
    assert not any(module._forward_pre_hooks for module in run.pair.teacher.modules())
    assert all(parameter.requires_grad for parameter in run.pair.student.parameters())


def test_a_gradient_is_clipped_to_its_longest_length(start: Start) -> None:
    lengths = []
    for clip in (None, 1e-3):
        run = start("random_noise", settings=dataclasses.replace(EPOCHS, gradient_clip=clip))
        student_step(run)
        gradients = [parameter.grad for parameter in run.network.parameters() if parameter.grad is not None]
        lengths.append(float(torch.cat([gradient.flatten() for gradient in gradients]).norm()))
    assert lengths[0] > 0.01
    assert lengths[1] == pytest.approx(1e-3, rel=1e-3)


def test_means_are_taken_per_name_over_the_times_it_was_added() -> None:
    means = Means()
    means.add("a", {"x": torch.tensor(1.0), "y": torch.tensor(5.0)})
    means.add("a", {"x": torch.tensor(2.0)})
    assert means.to_floats(0) == {"a/x": 1.5, "a/y": 5.0}


def test_wrap_is_called_once_with_student_and_head_and_does_the_forward_passes(start: Start) -> None:
    plain = start("cend-bank")
    wrapped: list[nn.Module] = []

    def wrap(module: nn.Module) -> nn.Module:
        wrapped.append(nn.Sequential(module))
        return wrapped[-1]

    run = Distillation(plain.pair, plain.synthesizer, plain.domain, EPOCHS, plain.random, wrap=wrap)
    calls: list[int] = []
    run.parallel_network.register_forward_hook(lambda module, inputs, output: calls.append(len(inputs[0])))
    list(distill(run))
    assert wrapped == [run.parallel_network] and list(wrapped[0]) == [run.network]
    assert calls == [EPOCHS.batch_size] * 6  # steps of the student; synthesis goes through the bare student


def test_a_step_counts_as_much_as_its_pace_says(start: Start) -> None:
    gradients, asked = [], []

    def half(loss: Tensor) -> Tensor:
        asked.append(loss)
        return torch.tensor(0.5)

    for pace in (None, half):
        run = start("random_noise")
        run.synthesizer.student_loss = lambda *_, pace=pace: StudentLoss({"own": torch.tensor(2.0)}, {}, pace)
        metrics = student_step(run)
        gradients.append(torch.cat([p.grad.flatten() for p in run.network.parameters() if p.grad is not None]))
    torch.testing.assert_close(gradients[1], gradients[0] / 2)
    assert asked == [metrics["kd"] + 2] and not asked[0].requires_grad
    assert float(metrics["pace"]) == 0.5
