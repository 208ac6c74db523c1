"""Our losses against what the public code of CMI, FastDFKD and NAYER gives on the same tensors: fixtures/README.md."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from dfkd.losses.adversarial import adversarial_loss
from dfkd.losses.inversion import batch_norm_statistics, one_hot_loss
from dfkd.losses.kd import kd_loss, kl_divergence
from dfkd.losses.statistics_memory import StatisticsMemory

FIXTURES = Path(__file__).parent / "fixtures"
#: Fixture -> momentum of its BatchNorm hook. CMI's has none.
MOMENTUM = {"cmi": 0.0, "fast_datafree": 0.9, "nayer": 0.9}


@pytest.fixture(params=MOMENTUM)
def public(request: pytest.FixtureRequest) -> tuple[dict[str, Tensor], float]:
    return load_file(FIXTURES / f"{request.param}.safetensors"), MOMENTUM[request.param]


Public = tuple[dict[str, Tensor], float]


def assert_agrees(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-12)


def test_one_hot_kd_and_adversarial_loss_are_those_of_the_public_code(public: Public) -> None:
    expected, _ = public
    student, teacher = expected["student_logits"], expected["teacher_logits"]
    assert_agrees(one_hot_loss(teacher, expected["labels"]), expected["one_hot"])
    assert_agrees(kl_divergence(student, teacher), expected["kldiv_per_entry"].sum(dim=1))
    for temperature in (1, 20):
        assert_agrees(kd_loss(student, teacher, temperature=temperature), expected[f"kd_temperature_{temperature}"])
    assert 0 < int((student.argmax(1) == teacher.argmax(1)).sum()) < len(student)  # the decision mask has work to do
    assert_agrees(adversarial_loss(student, teacher), expected["adversarial"])


def test_statistics_loss_and_its_gradient_are_those_of_the_public_code_from_batch_to_batch(public: Public) -> None:
    expected, momentum = public
    layer = nn.BatchNorm2d(3).double().eval()
    layer.running_mean, layer.running_var = expected["running_mean"], expected["running_var"]
    memory = StatisticsMemory(momentum, torch.device("cpu")) if momentum else None
    for batch in range(3):
        images = expected[f"features/{batch}"].requires_grad_()
        with batch_norm_statistics(layer, memory) as statistics:
            layer(images)
            loss = statistics.loss()
            statistics.remember()
        (gradient,) = torch.autograd.grad(loss, images)
        assert_agrees(loss.detach(), expected[f"batch_norm/{batch}"])
        assert_agrees(gradient, expected[f"batch_norm_gradient/{batch}"])
