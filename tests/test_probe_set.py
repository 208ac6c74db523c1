from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dfkd.data import load_dataset
from dfkd.models import build_model
from dfkd.probe_set import CANDIDATES_PER_FAMILY, CONFIDENCE_EDGES, ProbeSet, _mix, make_probe_set, score_on_probe
from dfkd.settings.experiment import DatasetSettings, TeacherTrainingSettings
from dfkd.supervised import train_teacher

MEAN, STD = (0.3,), (0.25,)


def exam(teacher: nn.Module, teacher_hash: str = "ab" * 32, **changes: Any) -> ProbeSet:
    options: dict[str, Any] = {"num_classes": 4, "size": 400, "steps": 6} | changes
    return make_probe_set(teacher, image_shape=(1, 8, 8), mean=MEAN, std=STD, teacher_hash=teacher_hash, **options)


def answers(network: nn.Module, probe: ProbeSet) -> Tensor:
    with torch.no_grad():
        logits: Tensor = network((probe.images.float() / 255 - MEAN[0]) / STD[0])
    return logits


@pytest.fixture
def teacher(tiny_network: Callable[..., nn.Module]) -> nn.Module:
    """Knows four classes, each bright in one quarter of the image."""
    network = tiny_network(num_classes=4, width=16)
    random = torch.Generator().manual_seed(0)
    quarters = torch.zeros(4, 1, 8, 8)
    for label, (row, column) in enumerate(((0, 0), (0, 4), (4, 0), (4, 4))):
        quarters[label, :, row : row + 4, column : column + 4] = 0.7
    network.features[-2], network.classifier = nn.AdaptiveAvgPool2d(2), nn.Linear(64, 4)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for _ in range(60):
        labels = torch.randint(4, (64,), generator=random)
        images = quarters[labels] + 0.3 * torch.rand(64, 1, 8, 8, generator=random)
        optimizer.zero_grad()
        nn.functional.cross_entropy(network((images - MEAN[0]) / STD[0]), labels).backward()
        optimizer.step()
    network.zero_grad()
    return network.eval()


def test_the_teachers_hash_decides_whatever_the_global_random_state(teacher: nn.Module) -> None:
    def under(seed: int, teacher_hash: str = "ab" * 32) -> ProbeSet:
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        probe = exam(teacher, teacher_hash)
        assert torch.equal(torch.get_rng_state(), before)  # and it leaves that state alone
        return probe

    one, same, other = under(1), under(2), under(1, "cd" * 32)
    assert torch.equal(one.images, same.images) and torch.equal(one.teacher_logits, same.teacher_logits)
    assert not torch.equal(one.images, other.images)


def test_the_teacher_is_untouched_even_if_nobody_froze_it(teacher: nn.Module) -> None:
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    assert all(parameter.requires_grad for parameter in teacher.parameters())
    exam(teacher)
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert not any(module._forward_pre_hooks for module in teacher.modules())


def test_logits_are_the_teachers_on_the_stored_images(teacher: nn.Module) -> None:
    probe = exam(teacher)
    assert probe.images.dtype == torch.uint8 and probe.images.shape == (400, 1, 8, 8)
    torch.testing.assert_close(answers(teacher, probe), probe.teacher_logits, rtol=1e-4, atol=1e-4)
    assert not probe.teacher_logits.is_inference()  # an ordinary tensor


def test_all_classes_and_levels_of_confidence_are_represented(teacher: nn.Module) -> None:
    probe = exam(teacher, steps=30)
    confidence, predicted = probe.teacher_logits.softmax(dim=1).max(dim=1)
    assert (torch.bincount(predicted, minlength=4) >= 0.15 * 400).all()
    level = torch.bincount(torch.bucketize(confidence, torch.tensor(CONFIDENCE_EDGES)), minlength=4)
    assert (level >= 0.1 * 400).all()


def test_no_stratum_is_favoured_while_others_last(teacher: nn.Module) -> None:
    probe = exam(teacher, size=32, steps=30)  # 4 classes x 4 levels: two images each
    confidence, predicted = probe.teacher_logits.softmax(dim=1).max(dim=1)
    strata = predicted * 4 + torch.bucketize(confidence, torch.tensor(CONFIDENCE_EDGES))
    assert torch.bincount(strata, minlength=16).tolist() == [2] * 16


def test_candidates_are_four_families_at_three_stages_and_as_many_mixtures(teacher: nn.Module) -> None:
    everything = exam(teacher, size=1_000_000)
    assert len(everything.images) == 2 * 4 * 3 * CANDIDATES_PER_FAMILY


def test_each_pair_is_mixed_at_random_and_where_the_teacher_wavers() -> None:
    def judge(images: Tensor) -> Tensor:  # in doubt at a brightness of 0.5
        brightness = images.mean(dim=(1, 2, 3))
        return torch.stack([8 * brightness - 4, torch.zeros_like(brightness)], dim=1)

    dark_and_bright = torch.tensor([0.1, 0.9]).repeat(50).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    interpolated, wavering = (images[:, 0, 0, 0] for images in _mix(judge, dark_and_bright, torch.Generator()))
    mixed = ((wavering - 0.5).abs() < 1e-6) | ((wavering - 0.1).abs() < 1e-6) | ((wavering - 0.9).abs() < 1e-6)
    assert len(wavering) == 50 and mixed.all()  # two of a kind have nothing between them
    assert ((wavering - 0.5).abs() < 1e-6).sum() > 10
    assert len(interpolated.unique()) > 10 and 0.1 - 1e-6 <= interpolated.min() < interpolated.max() <= 0.9 + 1e-6


def test_images_differ_from_each_other(teacher: nn.Module) -> None:
    assert len(exam(teacher).images.flatten(1).unique(dim=0)) > 390


def blended(teacher: nn.Module, make: Callable[..., nn.Module], share: float) -> nn.Module:
    """A student whose weights are the teacher's, moved towards noise of the same size."""
    student = make(num_classes=4, width=16)
    student.features[-2], student.classifier = nn.AdaptiveAvgPool2d(2), nn.Linear(64, 4)
    student.load_state_dict(teacher.state_dict())
    random = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in student.parameters():
            noise = torch.randn(weight.shape, generator=random)
            noise *= weight.norm() / noise.norm()
            weight.copy_((1 - share) * weight + share * noise)
    return student.eval()


def test_the_more_damaged_a_copy_of_the_teacher_the_lower_it_scores(
    teacher: nn.Module, tiny_network: Callable[..., nn.Module]
) -> None:
    probe = exam(teacher)
    scores = []
    for share in (0.0, 0.05, 0.15, 0.3, 0.6):
        scores.append(score_on_probe(answers(blended(teacher, tiny_network, share), probe), probe))
    agreement = [score["probe/agreement"] for score in scores]
    divergence = [score["probe/kl"] for score in scores]
    assert agreement[0] == 1 and divergence[0] == pytest.approx(0, abs=1e-6)
    assert all(better > worse for better, worse in zip(agreement, agreement[1:], strict=False))
    assert all(better < worse for better, worse in zip(divergence, divergence[1:], strict=False))


@pytest.mark.slow
def test_students_that_learnt_more_of_the_digits_score_higher() -> None:
    """Real students, roughly ordered: one that learnt nothing, one that learnt a little, one that learnt the task."""
    data = load_dataset(DatasetSettings(name="digits"))
    assert data.train is not None
    mean, std = data.normalisation()

    def trained(name: str, epochs: int) -> nn.Module:
        torch.manual_seed(epochs)
        network = build_model(name, num_classes=10, in_channels=1)
        given: dict[str, Any] = {"mean": mean, "std": std, "crop_padding": 1, "horizontal_flip": False}
        settings = TeacherTrainingSettings(epochs=max(epochs, 1), batch_size=64)
        if epochs:
            for _ in train_teacher(network, data.train, settings, **given, device=torch.device("cpu")):
                pass
        return network.eval()

    shape = {"image_shape": (1, 8, 8), "num_classes": 10}
    teacher = trained("digits_teacher", 20)
    probe = make_probe_set(teacher, mean=mean, std=std, teacher_hash="ef" * 32, **shape)
    images = (probe.images.float() / 255 - mean[0]) / std[0]
    scores = []
    for epochs in (0, 1, 20):
        student = trained("digits_student", epochs)
        with torch.no_grad():
            scores.append(score_on_probe(student(images), probe)["probe/agreement"])
    assert scores[0] < 0.25  # about as often as guessing
    assert scores[0] + 0.03 < scores[1] and scores[1] + 0.2 < scores[2], scores


def test_scores_have_the_values_worked_by_hand() -> None:
    teacher_logits = torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 2.0], [0.0, 0.1]])
    probe = ProbeSet(images=torch.zeros(4, 1, 1, 1, dtype=torch.uint8), teacher_logits=teacher_logits)
    student = torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 0.0]])
    # The last image is wrong: p_T = (0.475021, 0.524979), p_S = (0.880797, 0.119203), so
    # KL = 0.475021 ln(0.475021 / 0.880797) + 0.524979 ln(0.524979 / 0.119203) = 0.484988.
    expected = {"probe/agreement": 0.75, "probe/kl": 0.484988 / 4, "probe/top_class_share": 0.75}
    assert score_on_probe(student, probe) == pytest.approx(expected, abs=1e-6)


def test_a_collapsed_student_shows_in_the_share_of_its_favourite_class(teacher: nn.Module) -> None:
    probe = exam(teacher)
    collapsed = torch.zeros_like(probe.teacher_logits)
    collapsed[:, 2] = 5
    scores = score_on_probe(collapsed, probe)
    assert scores["probe/top_class_share"] == 1
    assert scores["probe/agreement"] < 0.5


def test_it_works_for_a_teacher_without_batch_norm(tiny_network: Callable[..., nn.Module]) -> None:
    probe = exam(tiny_network(num_classes=4, batch_norm=False).eval(), size=50)
    assert probe.images.shape == (50, 1, 8, 8)
    assert probe.teacher_logits.isfinite().all()


def test_a_teacher_in_training_mode_is_an_error(teacher: nn.Module) -> None:
    with pytest.raises(AssertionError, match="evaluation mode"):
        exam(teacher.train())
