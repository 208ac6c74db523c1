from collections.abc import Callable

import pytest
import torch
from torch import nn

from dfkd.tasks import TaskInput, evaluate
from dfkd.tasks.representation import alignment, linear_cka, on_the_sphere, uniformity


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_cka_is_as_worked_by_hand() -> None:
    first = torch.tensor([[1.0], [-1.0], [0.0], [0.0]])
    second = torch.tensor([[1.0], [0.0], [-1.0], [0.0]])
    # centred already; (1 * 1)^2 / (2 * 2)
    assert linear_cka(first, second) == pytest.approx(0.25)


def test_cka_ignores_rotation_scale_and_shift_of_features() -> None:
    features = random(50, 6)
    rotation, _ = torch.linalg.qr(random(6, 6, seed=1))
    assert linear_cka(features, 3 * features @ rotation + 2) == pytest.approx(1.0)
    assert linear_cka(features, random(50, 6, seed=2)) < 0.5
    assert linear_cka(features, torch.ones(50, 3)) == 0.0


def test_alignment_is_as_worked_by_hand() -> None:
    first, second = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.0, 5.0], [0.0, 3.0]])
    assert alignment(first, second) == pytest.approx((2 + 0) / 2)


def test_uniformity_is_as_worked_by_hand_and_over_blocks() -> None:
    corners = torch.tensor([[1.0, 0.0], [-2.0, 0.0], [0.0, 3.0]])  # squared distances 4, 2, 2
    expected = torch.tensor([-8.0, -4.0, -4.0]).exp().mean().log()
    assert uniformity(corners) == pytest.approx(float(expected))
    many = corners.repeat(700, 1)  # more than a block
    same_points = 3 * 700 * 699 + 2 * 700 * 700 * float(torch.tensor([-8.0, -4.0, -4.0]).exp().sum())
    assert uniformity(many) == pytest.approx(float(torch.tensor(same_points / (2100 * 2099)).log()), rel=1e-5)


def test_spread_features_are_more_uniform_than_equal_ones() -> None:
    assert uniformity(random(100, 8)) < uniformity(random(100, 8) * 0.01 + 1) < 1e-6


def test_the_student_that_copies_its_teacher_has_its_scores(make_input: Callable[..., TaskInput]) -> None:
    features = random(20, 4)
    metrics = evaluate(["representation"], make_input(features, features.clone(), None))
    assert metrics["representation/cka"] == pytest.approx(1.0)
    assert metrics["representation/uniformity"] == metrics["representation/teacher_uniformity"]
    assert metrics["representation/alignment"] == 0.0  # a level of grey looks the same however it is mirrored


def test_views_of_real_images_differ(
    make_input: Callable[..., TaskInput], tiny_network: Callable[..., nn.Module]
) -> None:
    import dataclasses

    from dfkd.data.image_set import ImageSet

    images = torch.randint(256, (12, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    given = dataclasses.replace(
        make_input(torch.eye(2), torch.eye(2), None),
        student=tiny_network(0), teacher=tiny_network(1), images=ImageSet(images, None),
    )  # fmt: skip
    first, second = evaluate(["representation"], given), evaluate(["representation"], given)
    assert first == second
    features, alone = on_the_sphere(given.teacher, images, normalise=given.normalise, device="cpu")
    assert len(features) == 12
    assert alone == {name: first[f"representation/teacher_{name}"] for name in ("alignment", "uniformity")}
    assert 0 < first["representation/alignment"] < 4
    assert first["representation/cka"] < 0.999


def test_a_network_without_features_is_named(make_input: Callable[..., TaskInput]) -> None:
    given = make_input(torch.eye(2), torch.eye(2), None)
    given.teacher.feature_width = 0  # type: ignore[assignment]
    with pytest.raises(ValueError, match="teacher: expected features of a width of at least 1, got 0"):
        evaluate(["representation"], given)
    object.__setattr__(given, "teacher", nn.Linear(1, 2))
    with pytest.raises(ValueError, match="teacher: this task needs features, and a Linear gives logits alone"):
        evaluate(["representation"], given)
