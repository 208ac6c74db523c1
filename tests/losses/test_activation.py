import torch

from dfkd.losses.activation import activation_loss


def test_loss_has_the_value_worked_by_hand() -> None:
    assert float(activation_loss(torch.tensor([[1.0, -2.0], [0.0, 5.0]]))) == -2.0  # -(1 + 2 + 0 + 5) / 4


def test_descending_makes_features_stronger_whatever_their_sign() -> None:
    features = torch.tensor([[1.0, -2.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(activation_loss(features), features)
    assert (features - gradient).abs().sum() > features.abs().sum()
    assert gradient.tolist() == [[-0.5, 0.5]]


def test_gradcheck() -> None:
    features = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(activation_loss, (features,))
