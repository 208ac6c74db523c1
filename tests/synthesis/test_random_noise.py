from collections.abc import Callable

import torch
from torch import nn

from dfkd.domain import Domain
from dfkd.settings.synthesis import RandomNoiseSettings
from dfkd.synthesis.random_noise import RandomNoise
from dfkd.teacher_student import TeacherStudent


def test_pixels_have_the_teachers_input_statistics_cut_to_the_range_of_images(
    tiny_network: Callable[..., nn.Module], tiny_domain: Callable[..., Domain]
) -> None:
    pair = TeacherStudent(tiny_network(0), tiny_network(1))
    images = (
        RandomNoise(RandomNoiseSettings(), pair, tiny_domain(), torch.Generator().manual_seed(0)).sample(500).images
    )
    assert images.shape == (500, 1, 8, 8)
    assert images.min() == 0 and images.max() == 1
    # Below the mean 0.3 lies half of N(0.3, 0.25), and below 0.3 + 0.25 there is 84.13 %; cutting moves neither.
    assert abs(float((images < 0.3).float().mean()) - 0.5) < 5 * 0.5 / 32_000**0.5
    assert abs(float((images < 0.55).float().mean()) - 0.8413) < 5 * 0.37 / 32_000**0.5
