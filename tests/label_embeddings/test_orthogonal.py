import pytest
import torch

from dfkd.label_embeddings import embed_labels
from dfkd.settings.experiment import LabelEmbeddingSettings


def orthogonal(num_classes: int, *, width: int = 16, seed: int = 0) -> torch.Tensor:
    names = tuple(f"class {i}" for i in range(num_classes))
    return embed_labels(LabelEmbeddingSettings(name="orthogonal", width=width, seed=seed), names)


@pytest.mark.parametrize("num_classes", [2, 16])
def test_rows_are_orthonormal(num_classes: int) -> None:
    rows = orthogonal(num_classes)
    assert rows.shape == (num_classes, 16)
    assert rows.dtype == torch.float32
    torch.testing.assert_close(rows @ rows.T, torch.eye(num_classes), atol=1e-6, rtol=0)


def test_rows_depend_on_the_seed_alone() -> None:
    torch.manual_seed(5)
    first = orthogonal(4, seed=1)
    assert torch.equal(first, orthogonal(4, seed=1))
    assert not torch.allclose(first, orthogonal(4, seed=2))


def test_rows_of_fewer_classes_are_the_first_of_more() -> None:
    torch.testing.assert_close(orthogonal(3), orthogonal(8)[:3])


def test_more_classes_than_dimensions_are_refused_with_advice() -> None:
    with pytest.raises(ValueError, match=r"there are 17 classes\. Set label_embeddings\.width to 17 or more"):
        orthogonal(17)
