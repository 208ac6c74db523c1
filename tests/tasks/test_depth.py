import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from dfkd.data.annotated import DepthImages
from dfkd.data.annotated_data import DEPTHS
from dfkd.settings.tasks import DepthSettings
from dfkd.settings.tasks.dense import AnnotatedImagesSettings
from dfkd.tasks.depth import depth, depth_scores, scale_invariant_loss
from dfkd.tasks.transfer import TransferInput

Given = Callable[..., TransferInput]
SCENES = AnnotatedImagesSettings(name="scenes", image_size=(16, 16), max_images=16)


def settings(**values: Any) -> DepthSettings:
    return DepthSettings(**({"dataset": SCENES, "epochs": 4, "batch_size": 4, "width": 8} | values))


def test_the_loss_is_as_worked_by_hand_and_unknown_pixels_do_not_count() -> None:
    depths = torch.tensor([[[1.0, math.e, 0.0]], [[0.0, 0.0, 0.0]]])
    predicted = torch.tensor([[[1.0, 3.0, 50.0]], [[9.0, 9.0, 9.0]]])  # differences 1 and 2
    loss = scale_invariant_loss(predicted, depths, scale_invariance=0.5)
    assert float(loss) == pytest.approx((1 + 4) / 2 - 0.5 * 1.5**2)  # the image without a depth is left out
    assert float(scale_invariant_loss(predicted[1:], depths[1:], scale_invariance=0.5)) == 0.0


def test_a_common_factor_costs_nothing_at_full_invariance() -> None:
    random = torch.Generator().manual_seed(0)
    depths, predicted = torch.rand(3, 4, 4, generator=random) + 1, torch.randn(3, 4, 4, generator=random)
    factors = torch.tensor([0.5, 2.0, -1.0]).view(3, 1, 1)

    def change(scale_invariance: float) -> float:
        losses = [
            scale_invariant_loss(answer, depths, scale_invariance=scale_invariance)
            for answer in (predicted, predicted + factors)
        ]
        return abs(float(losses[0] - losses[1]))

    assert change(1.0) < 1e-5
    assert change(0.5) > 0.1


def test_the_gradient_of_the_loss_is_right() -> None:
    depths = torch.rand(2, 2, 3, dtype=torch.float64) + 0.5
    depths[0, 0, 0] = 0
    predicted = torch.randn(2, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda answer: scale_invariant_loss(answer, depths, scale_invariance=0.5), predicted
    )


def test_scores_are_as_worked_by_hand() -> None:
    scores = depth_scores(torch.tensor([[[2.0, 1.0, 4.0, 7.0]]]), torch.tensor([[[1.0, 1.0, 5.0, 0.0]]]))
    assert scores["rmse"] == pytest.approx(math.sqrt((1 + 0 + 1) / 3))
    assert scores["abs_rel"] == pytest.approx((1 + 0 + 1 / 5) / 3)
    assert scores["delta_1"] == pytest.approx(1 / 3)  # 5 / 4 is not below 1.25


def test_depth_is_learnt_better_than_one_answer_for_all_pixels(
    given: Given, unchanged: Callable[[nn.Module], Callable[[], bool]]
) -> None:
    network = given()
    is_unchanged = unchanged(network.network.model)
    scores = depth(settings(), network)
    train, exam = DEPTHS["scenes"](SCENES, "train"), DEPTHS["scenes"](SCENES, "test")
    constant = train.depths.log().mean().exp().expand_as(exam.depths)  # what the head begins with
    assert scores["abs_rel"] < depth_scores(constant, exam.depths)["abs_rel"]
    assert is_unchanged()
    assert scores == depth(settings(), given())


def test_a_split_without_any_known_depth_is_named(given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_: AnnotatedImagesSettings, split: str) -> DepthImages:
        known = 1.0 if split == "train" else 0.0
        return DepthImages(torch.zeros(2, 3, 16, 16, dtype=torch.uint8), torch.full((2, 16, 16), known))

    monkeypatch.setitem(DEPTHS, "scenes", load)
    with pytest.raises(ValueError, match="dataset: no pixel of test has a known depth"):
        depth(settings(), given())
