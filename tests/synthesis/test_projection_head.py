import torch

from dfkd.synthesis.projection_head import ProjectionHead


def test_projections_have_unit_length_and_the_width_asked_for() -> None:
    head = ProjectionHead(feature_width=6, width=4)
    projections = head(10 * torch.randn(5, 6, generator=torch.Generator().manual_seed(0)))
    assert projections.shape == (5, 4)
    torch.testing.assert_close(projections.norm(dim=1), torch.ones(5))


def test_the_perceptron_goes_d_d_p() -> None:
    sizes = [tuple(parameter.shape) for parameter in ProjectionHead(feature_width=6, width=4).parameters()]
    assert sizes == [(6, 6), (6,), (4, 6), (4,)]
