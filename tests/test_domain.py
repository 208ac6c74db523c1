from collections.abc import Callable

import pytest
import torch

from dfkd.domain import Domain, normalise


def test_normalise_has_the_value_worked_by_hand() -> None:
    images = torch.tensor([0.5, 0.5]).view(1, 2, 1, 1)  # (0.5 - 0.3) / 0.1 = 2 and (0.5 - 0.9) / 0.2 = -2
    assert normalise(images, (0.3, 0.9), (0.1, 0.2)).flatten().tolist() == pytest.approx([2, -2])


def test_normalise_has_a_gradient_even_if_inference_came_first() -> None:
    mean, std = (0.123,), (0.456,)
    with torch.inference_mode():
        normalise(torch.zeros(1, 1, 2, 2), mean, std)
    images = torch.zeros(1, 1, 2, 2, requires_grad=True)
    normalise(images, mean, std).sum().backward()
    assert images.grad is not None
    assert images.grad.flatten().tolist() == pytest.approx([1 / 0.456] * 4)


def test_shape_and_number_of_classes(tiny_domain: Callable[..., Domain]) -> None:
    assert tiny_domain(num_classes=3).num_classes == 3
    assert tiny_domain().image_shape == (1, 8, 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": (0.1, 0.2)}, "expected 1 values each .* got 2 and 1"),
        ({"label_embeddings": torch.zeros(3, 5)}, r"K = 2 classes, got \[3, 5\]"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, object], message: str) -> None:
    fits = {"channels": 1, "height": 8, "width": 8, "mean": (0.1,), "std": (1.0,)}
    named = {"class_names": ("a", "b"), "label_embeddings": torch.zeros(2, 5)}
    with pytest.raises(ValueError, match=message):
        Domain(**{**fits, **named, **change})
