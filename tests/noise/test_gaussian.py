import torch

from dfkd.noise.gaussian import GaussianLatents
from dfkd.settings.synthesis import GaussianNoise


def test_latents_know_nothing_of_the_label() -> None:
    layer = GaussianLatents(GaussianNoise(width=7))
    one, other = torch.zeros(5, dtype=torch.long), torch.arange(5)
    drawn = layer.draw(one, torch.Generator().manual_seed(0))
    assert drawn.shape == (1, 5, 7)
    assert torch.equal(layer(one, drawn), layer(other, drawn))
    assert torch.equal(layer(one, drawn), drawn)
