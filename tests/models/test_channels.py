"""A network for images of one channel is the one for three, but for the kernels of its first convolution."""

import pytest
import torch
from torch import nn

from dfkd.models import MODELS, build_model


@pytest.mark.parametrize("name", MODELS)
def test_one_channel_has_two_channels_of_kernels_less_than_three(name):
    one, three = (build_model(name, num_classes=10, in_channels=channels) for channels in (1, 3))
    first = next(module for module in three.modules() if isinstance(module, nn.Conv2d))

    counts = [sum(parameter.numel() for parameter in model.parameters()) for model in (one, three)]

    assert counts[1] - counts[0] == 2 * first.out_channels * first.kernel_size[0] * first.kernel_size[1]
    with torch.no_grad():
        assert one.eval()(torch.zeros(2, 1, 32, 32)).shape == (2, 10)
