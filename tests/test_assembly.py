from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from dfkd.assembly import (
    Materials,
    StudentEvaluation,
    build_distillation,
    build_domain,
    build_student,
    choose_device,
    load_images,
    share_of,
    share_synthesis,
)
from dfkd.data.image_set import ImageSet
from dfkd.data.real_data import RealData
from dfkd.settings.experiment import DatasetSettings, ExperimentSettings
from dfkd.settings.synthesis import RandomNoiseSettings, RealImagesSettings, SynthesisWeights
from dfkd.teachers import Teacher, build_network

Make = Callable[..., ExperimentSettings]
CPU = torch.device("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_where_there_is_none_is_refused(tiny_settings: Make) -> None:
    with pytest.raises(ValueError, match="device: 'cuda' was asked for, and torch sees no CUDA device here"):
        choose_device(replace(tiny_settings(), device="cuda"))
    assert choose_device(replace(tiny_settings(), device="auto")) == CPU
    assert choose_device(replace(tiny_settings(), device="cpu")) == CPU


def test_the_domain_comes_from_the_teacher_and_the_class_names(tiny_settings: Make, tiny_teacher: Teacher) -> None:
    settings = replace(tiny_settings(), dataset=DatasetSettings(crop_padding=2, horizontal_flip=False))
    domain = build_domain(settings, tiny_teacher)
    assert domain.image_shape == tiny_teacher.image_shape
    assert (domain.mean, domain.std, domain.class_names) == (tiny_teacher.mean, tiny_teacher.std, ("cat", "dog", "eel"))
    assert domain.label_embeddings.shape == (3, 12)
    assert (domain.crop_padding, domain.horizontal_flip) == (2, False)


def test_the_students_first_weights_depend_on_the_seed_alone(tiny_settings: Make, tiny_teacher: Teacher) -> None:
    torch.manual_seed(5)
    first = build_student(tiny_settings(seed=1), tiny_teacher).state_dict()
    before = torch.random.get_rng_state()
    again = build_student(tiny_settings(seed=1, batch_size=48), tiny_teacher).state_dict()
    other = build_student(tiny_settings(seed=2), tiny_teacher).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)  # and nobody else's numbers change
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_the_teacher_is_copied(tiny_settings: Make, tiny_teacher: Teacher) -> None:
    run = build_distillation(tiny_settings(), tiny_teacher, device=CPU)
    assert run.pair.teacher is not tiny_teacher.model
    assert all(parameter.requires_grad for parameter in tiny_teacher.model.parameters())


def test_workers_share_batches_and_bank(tiny_settings: Make, tiny_teacher: Teacher) -> None:
    settings = tiny_settings(batch_size=24, bank_capacity=61, distillation={"batch_size": 16})
    run = build_distillation(settings, tiny_teacher, device=CPU, rank=1, world_size=2)
    assert run.settings.batch_size == 8
    shared = share_synthesis(settings.synthesis, 2)
    assert (shared.batch_size, shared.bank_capacity) == (12, 31)
    assert share_synthesis(RandomNoiseSettings(), 2) == RandomNoiseSettings()


def test_every_worker_draws_its_own_numbers(tiny_settings: Make, tiny_teacher: Teacher) -> None:
    runs = [build_distillation(tiny_settings(), tiny_teacher, device=CPU, rank=r, world_size=2) for r in range(2)]
    assert not torch.equal(runs[0].random.get_state(), runs[1].random.get_state())
    for name, tensor in runs[0].pair.student.state_dict().items():
        assert torch.equal(tensor, runs[1].pair.student.state_dict()[name]), name


def test_a_batch_that_does_not_split_is_refused() -> None:
    assert share_of(12, 3, "distillation.batch_size") == 4
    with pytest.raises(ValueError, match="distillation.batch_size: 16 images do not split evenly over 3 workers"):
        share_of(16, 3, "distillation.batch_size")


def test_a_teacher_without_batch_norm_is_refused_unless_nothing_is_asked_of_it(
    tiny_settings: Make, tiny_teacher: Teacher
) -> None:
    plain = replace(tiny_teacher, model=build_network("lenet5", num_classes=3, in_channels=1), hash="")
    with pytest.raises(ValueError, match="has no BatchNorm layer whose statistics could be matched. Set it to 0"):
        build_distillation(tiny_settings(), plain, device=CPU)
    without = tiny_settings(weights=SynthesisWeights(batch_norm=0.0))
    assert build_distillation(without, plain, device=CPU).epoch == 0


def test_a_data_free_method_gets_no_images_and_the_ceiling_its_own(tiny_settings: Make, tiny_teacher: Teacher) -> None:
    images = torch.randint(0, 256, (9, 1, 8, 8), dtype=torch.uint8)
    split = ImageSet(images, torch.arange(9) % 3)
    data = RealData("pets", ("cat", "dog", "eel"), split, None, split)
    ceiling = replace(tiny_settings(), synthesis=RealImagesSettings())
    assert load_images(tiny_settings(), data) is None
    loaded = load_images(ceiling, data)
    assert loaded is not None and torch.equal(loaded, images)
    run = build_distillation(ceiling, tiny_teacher, device=CPU, images=loaded)
    assert run.synthesizer.sample(5).images.shape == (5, 1, 8, 8)
    with pytest.raises(ValueError, match="synthesis.method: 'real_images' learns from real images, and none were"):
        build_distillation(ceiling, tiny_teacher, device=CPU)


def test_a_student_that_copies_the_teacher_gets_full_marks(
    tiny_settings: Make, tiny_teacher: Teacher, tiny_materials: Materials
) -> None:
    run = build_distillation(tiny_settings(), tiny_teacher, device=CPU)
    before = StudentEvaluation(run, tiny_settings(), tiny_materials)()
    run.pair.student.load_state_dict(tiny_teacher.model.state_dict())
    run.pair.student.train()
    scores = StudentEvaluation(run, tiny_settings(), tiny_materials)()
    assert scores["probe/agreement"] == scores["val/agreement/top1"] == 1.0 > before["val/agreement/top1"]
    assert scores["probe/kl"] == pytest.approx(0.0, abs=1e-6) != before["probe/kl"]
    assert scores["val/accuracy/top1"] == scores["val/accuracy/teacher_top1"]
    assert run.pair.student.training  # judged in evaluation mode, and left as it was


def test_only_what_the_settings_name_is_judged(
    tiny_settings: Make, tiny_teacher: Teacher, tiny_materials: Materials
) -> None:
    run = build_distillation(tiny_settings(), tiny_teacher, device=CPU)
    scores = StudentEvaluation(run, replace(tiny_settings(), tasks=("accuracy",)), tiny_materials)()
    assert {name.split("/")[1] for name in scores if name.startswith("val/")} == {"accuracy"}
    assert StudentEvaluation(run, tiny_settings(), Materials(teacher=tiny_teacher))() == {}
