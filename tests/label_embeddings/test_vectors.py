from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dfkd.label_embeddings import embed_labels
from dfkd.label_embeddings.vectors import LabelVectors, canonical, find_rows, read_vectors, write_vectors
from dfkd.settings.experiment import LabelEmbeddingSettings


def from_file(path: Path, *class_names: str) -> torch.Tensor:
    return embed_labels(LabelEmbeddingSettings(name="file", path=str(path)), class_names)


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    path = tmp_path / "animals.safetensors"
    names = ("ant", "aquarium fish", "cat")
    write_vectors(path, LabelVectors(embeddings=torch.eye(3), class_names=names, encoder="e", prompt="a {class}"))
    return path


def test_vectors_are_read_as_they_were_written(animals: Path) -> None:
    vectors = read_vectors(animals)
    assert torch.equal(vectors.embeddings, torch.eye(3))
    assert vectors.class_names == ("ant", "aquarium fish", "cat")
    assert (vectors.encoder, vectors.prompt) == ("e", "a {class}")


def test_names_are_compared_without_case_and_underscores() -> None:
    assert canonical(" Aquarium_Fish ") == canonical("aquarium  fish")
    assert canonical("cat") != canonical("cats")


def test_rows_follow_the_classes_not_the_file(animals: Path) -> None:
    assert torch.equal(from_file(animals, "Cat", "ant", "aquarium_fish"), torch.eye(3)[[2, 0, 1]])


def test_classes_may_be_some_of_the_files(animals: Path) -> None:
    assert torch.equal(from_file(animals, "cat"), torch.eye(3)[[2]])


def test_class_that_the_file_lacks_is_named(animals: Path) -> None:
    with pytest.raises(
        ValueError, match=r"animals\.safetensors does not fit.*'cats' has no vector\. Did you mean 'cat'"
    ):
        from_file(animals, "ant", "cats")


def test_name_that_stands_twice_is_usable_only_in_the_files_order() -> None:
    names = ("crane", "dog", "crane")
    assert find_rows(names, names) == [0, 1, 2]
    with pytest.raises(ValueError, match="'crane' has several vectors"):
        find_rows(names, ("dog", "crane"))


def test_file_without_names_is_taken_in_order(tmp_path: Path) -> None:
    path = tmp_path / "plain.safetensors"
    save_file({"embeddings": torch.eye(2, dtype=torch.float16)}, str(path))
    embeddings = from_file(path, "b", "a")
    assert embeddings.dtype == torch.float32
    assert torch.equal(embeddings, torch.eye(2))
    with pytest.raises(ValueError, match="one row for each of the 3 classes, in their order; it has 2"):
        from_file(path, "a", "b", "c")


@pytest.mark.parametrize(
    ("tensors", "metadata", "message"),
    [
        ({"vectors": torch.eye(2)}, None, "expected a tensor 'embeddings', got vectors"),
        ({"embeddings": torch.ones(2)}, None, r"to be \[K, E\], got \[2\]"),
        ({"embeddings": torch.eye(2)}, {"class_names": '["a"]'}, "got 2 rows and 1 names"),
        ({"embeddings": torch.tensor([[1.0], [torch.nan]])}, None, "NaN"),
    ],
)
def test_file_of_something_else_is_refused(
    tmp_path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None, message: str
) -> None:
    path = tmp_path / "other.safetensors"
    save_file(tensors, str(path), metadata=metadata)
    with pytest.raises(ValueError, match=message):
        from_file(path, "a", "b")


def test_missing_and_truncated_files_are_named(tmp_path: Path, animals: Path) -> None:
    with pytest.raises(ValueError, match="nowhere.safetensors: expected a safetensors file"):
        from_file(tmp_path / "nowhere.safetensors", "ant")
    animals.write_bytes(animals.read_bytes()[:-4])
    with pytest.raises(ValueError, match="animals.safetensors: expected a safetensors file"):
        from_file(animals, "ant")


def test_equal_vectors_of_two_classes_are_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "same.safetensors"
    save_file({"embeddings": torch.ones(2, 3)}, str(path))
    with pytest.warns(UserWarning, match="two classes have the same vector"):
        from_file(path, "a", "b")
