import pytest
import torch

from dfkd.losses.activation_region import activation_region_loss, class_activation_maps, grad_cam

RANDOM = torch.Generator().manual_seed(0)


def test_class_activation_maps_average_to_the_logits_without_bias() -> None:
    feature_map, weight = torch.randn(2, 3, 4, 5, generator=RANDOM), torch.randn(6, 3, generator=RANDOM)
    maps = class_activation_maps(feature_map, weight)
    assert maps.shape == (2, 6, 4, 5)
    torch.testing.assert_close(maps.mean(dim=(2, 3)), feature_map.mean(dim=(2, 3)) @ weight.T)


def test_grad_cam_has_the_value_worked_by_hand() -> None:
    # Channel weights are the mean gradients, 2 and -1. Left: 2 * 1 - 1 * 5 = -3, and no ReLU lifts it. Right: 2 * 4.
    feature_map = torch.tensor([[[[1.0, 4.0]], [[5.0, 0.0]]]])
    gradient = torch.tensor([[[[1.0, 3.0]], [[-2.0, 0.0]]]])
    assert grad_cam(feature_map, gradient).tolist() == [[[-3.0, 8.0]]]


def test_the_loss_sums_mean_squares_over_scales() -> None:
    small, large = torch.zeros(1, 1, 1), torch.zeros(1, 2, 2)
    student = [small + 3, torch.tensor([[[2.0, 0.0], [0.0, 0.0]]])]
    assert float(activation_region_loss(student, [small, large])) == pytest.approx(9 + 1)
    with pytest.raises(ValueError):
        activation_region_loss(student, [small])


def test_the_loss_gradchecks() -> None:
    maps = torch.randn(2, 3, 3, dtype=torch.float64, generator=RANDOM).requires_grad_()
    teacher = maps.detach() + 1
    assert torch.autograd.gradcheck(lambda student: activation_region_loss([student], [teacher]), (maps,))
