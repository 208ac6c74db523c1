from collections.abc import Callable

import pytest
import torch
from torch import nn

from dfkd.synthesis.pooled_features import pooled_features, pooled_width

IMAGES = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def test_features_are_what_enters_batch_norm_averaged_over_pixels(tiny_network: Callable[..., nn.Module]) -> None:
    teacher = tiny_network(width=6).eval()
    with pooled_features(teacher, (1, 8, 8), "batch_norm") as newest, torch.no_grad():
        teacher(torch.zeros_like(IMAGES))
        teacher(IMAGES)
        found = newest()
    layers = teacher.features
    assert isinstance(layers, nn.Sequential)
    with torch.no_grad():
        first = layers[0](IMAGES)
        second = layers[3](layers[2](layers[1](first)))
    torch.testing.assert_close(found, torch.cat([first.mean(dim=(2, 3)), second.mean(dim=(2, 3))], dim=1))
    assert found.shape == (5, pooled_width(teacher, (1, 8, 8), "batch_norm"))


def test_features_of_resolutions_are_the_last_map_of_each(tiny_network: Callable[..., nn.Module]) -> None:
    teacher = tiny_network(width=6).eval()
    with pooled_features(teacher, (1, 8, 8), "resolutions") as newest, torch.no_grad():
        teacher(IMAGES)
        found = newest()
        layers = teacher.features
        assert isinstance(layers, nn.Sequential)
        whole, half = layers[:3](IMAGES), layers[:6](IMAGES)
    pooled = half.mean(dim=(2, 3))  # the 1x1 map is the pooled 4x4 map again
    torch.testing.assert_close(found, torch.cat([whole.mean(dim=(2, 3)), pooled, pooled], dim=1))


@pytest.mark.parametrize("layers", ["batch_norm", "resolutions"])
def test_no_hook_is_left_after_an_exception(tiny_network: Callable[..., nn.Module], layers: str) -> None:
    teacher = tiny_network()
    with pytest.raises(RuntimeError, match="of the caller"):
        with pooled_features(teacher, (1, 8, 8), layers):  # type: ignore[arg-type]
            assert any(module._forward_hooks or module._forward_pre_hooks for module in teacher.modules())
            raise RuntimeError("of the caller")
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in teacher.modules())
