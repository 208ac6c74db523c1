from collections.abc import Callable

import pytest
import torch

from dfkd.data.image_set import ImageSet
from dfkd.data.real_data import RealData


@pytest.fixture
def data() -> Callable[..., RealData]:
    """Make a teacher's data of a shape, with six training images or without any."""

    def make(channels: int = 3, height: int = 8, width: int = 8, *, train: bool = True) -> RealData:
        random = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (6, channels, height, width), generator=random, dtype=torch.uint8)
        split = ImageSet(images, torch.tensor([0, 1, 0, 1, 0, 1]))
        return RealData("pets", ("cat", "dog"), split if train else None, None, split)

    return make
