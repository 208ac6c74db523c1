import pytest
import torch

from dfkd.tasks import confusion_matrix


def test_rows_are_labels_and_columns_predictions() -> None:
    logits = torch.nn.functional.one_hot(torch.tensor([0, 1, 1, 0]), 3).float()
    matrix = confusion_matrix(logits, torch.tensor([0, 0, 1, 0]), 3)
    assert matrix.tolist() == [[2, 1, 0], [0, 1, 0], [0, 0, 0]]


def test_logits_of_other_classes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[2, 4\], got \[2, 3\]"):
        confusion_matrix(torch.zeros(2, 3), torch.tensor([0, 1]), 4)
