from collections.abc import Callable

import pytest
import torch
from torch import nn

from dfkd.tasks.features import predict_features, require_backbone
from dfkd.tasks.transfer import TransferInput


def test_features_are_the_networks_own_in_evaluation_mode(given: Callable[..., TransferInput]) -> None:
    model = given().network.model.train()
    images = torch.randint(256, (520, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    statistics = model.bn1.running_mean.clone()  # type: ignore[union-attr, operator]
    found = predict_features(model, images, normalise=lambda pixels: 2 * pixels, device="cpu")
    assert model.training
    assert torch.equal(model.bn1.running_mean, statistics)  # type: ignore[union-attr, arg-type]
    with torch.no_grad():
        expected = model.eval().forward_features(2 * images[515:].float() / 255)  # type: ignore[operator]
    assert found.shape == (520, 64)
    assert torch.allclose(found[515:], expected, atol=1e-5)
    assert not found.requires_grad and not found.is_inference()


def test_what_has_no_features_is_named() -> None:
    with pytest.raises(ValueError, match="student: this task needs features, and a Linear gives logits alone"):
        require_backbone(nn.Linear(2, 2), "student")
