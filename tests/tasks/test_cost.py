import torch
from torch import nn

from dfkd.tasks.cost import count_flops, latency_milliseconds


def test_operations_are_as_counted_by_hand() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5))
    # 4 x 4 pixels, 4 channels of 3 x 9 products each, and 64 x 5 of the last layer; two operations a product
    assert count_flops(network.train(), (3, 4, 4)) == 2 * (16 * 4 * 27 + 64 * 5)
    assert network.training
    assert network[1].num_batches_tracked == 0  # type: ignore[union-attr]


def test_a_larger_network_takes_longer() -> None:
    small, large = (nn.Conv2d(8, width, 3) for width in (1, 256))
    shape = (8, 48, 48)
    assert 0 < latency_milliseconds(small, shape) < latency_milliseconds(large, shape)
    assert not torch.is_inference_mode_enabled()
