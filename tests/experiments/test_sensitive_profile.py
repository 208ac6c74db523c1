"""A whole search for a teacher whose images and class names are confidential, and all that it leaves behind."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from plotly.offline import get_plotlyjs
from safetensors import safe_open

from dfkd.tracking.connection import import_mlflow

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
NAMES = [f"zygomorph{letter}" for letter in "abcdefghij"]  # what stands nowhere else
PNG = b"\x89PNG\r\n\x1a\n"
SMALLEST_PNG = base64.b64encode(PNG)[:10]  # its first bytes as text, whatever follows


@dataclass
class Search:
    """A finished search: its home, the file that it was described in, and what it printed."""

    home: Path
    space: Path
    done: Any

    def files(self) -> Iterator[tuple[Path, bytes]]:
        """Every file of the home with its content."""
        for path in sorted(self.home.rglob("*")):
            if path.is_file():
                yield path.relative_to(self.home), path.read_bytes()


@pytest.fixture(scope="module")
def search(run: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Search:
    folder = tmp_path_factory.mktemp("sensitive")
    text = (ROOT / "search_spaces" / "smoke.yaml").read_text()
    changes = {
        "title: digits,": f"title: digits, class_names: [{', '.join(NAMES)}],",
        "  synthesis:": "  label_embeddings: {name: orthogonal}\n  synthesis:",
        "workers_check_epochs: 1": "workers_check: false",  # what Ray Train leaves lies in the trial's own folder
        "tracking: {": "tracking: {profile: sensitive, ",
    }
    for before, after in changes.items():
        assert text.count(before) == 1
        text = text.replace(before, after)
    space, home = folder / "space.yaml", folder / "home"
    space.write_text(text)
    done = run("search.py", str(space), "--home", str(home), "--json", str(home / "outcome.json"), timeout=600)
    assert done.status == 0, done.output + done.errors
    return Search(home, space, done)


def named_in(content: bytes) -> bool:
    """Whether a class is named, in whatever case and in one byte a character or two."""
    lower = content.lower()
    return b"zygomorph" in lower or "zygomorph".encode("utf-16-le") in lower


def test_no_class_is_named_in_anything_that_it_printed_or_left(search: Search) -> None:
    assert not named_in((search.done.output + search.done.errors).encode())
    assert [path for path, content in search.files() if named_in(content)] == []
    assert named_in(search.space.read_bytes())  # else nothing was planted


def test_classes_are_numbered_where_they_would_be_named(search: Search) -> None:
    with safe_open(next(search.home.glob("searches/*/student.safetensors")), framework="pt") as student:
        assert json.loads(student.metadata()["class_names"]) == [f"class {index}" for index in range(10)]
    (matrix,) = search.home.glob("artifacts/**/confusion_matrix.json")
    assert json.loads(matrix.read_text())["classes"][9] == "class 9"
    models = list(search.home.glob("artifacts/**/model.json"))
    assert len(models) == 2  # of teacher and student
    assert all("class 3" in model.read_text() for model in models)


def test_no_synthetic_image_is_left(search: Search) -> None:
    """Neither as a picture nor as pixels: those of probe set, image banks and checkpoints are uint8 tensors."""
    library = get_plotlyjs().encode()  # has a picture of its own, and lies in every plot
    left = {path: content.replace(library, b"") for path, content in search.files()}
    assert [path for path, content in left.items() if PNG in content or SMALLEST_PNG in content] == []
    assert [path for path in left if path.suffix in (".png", ".webp", ".pt", ".pkl", ".npz", ".arrow")] == []
    assert not [path for path in left if path.name in ("embedding_map.html", "samples.png")]
    weights = [path for path in left if path.suffix == ".safetensors"]
    assert weights
    for path in weights:
        with safe_open(search.home / path, framework="pt") as file:
            assert {file.get_slice(name).get_dtype() for name in file.keys()} <= {"F32", "I64"}  # noqa: SIM118


def test_the_student_is_registered_and_scored_like_any_other(search: Search, run: Callable[..., Any]) -> None:
    client = import_mlflow().MlflowClient(f"sqlite:///{search.home}/mlflow.db")
    assert client.get_model_version_by_alias("smoke", "champion").version in (1, "1")
    result = search.home / "scores.json"
    done = run(
        "evaluate.py", "models:/smoke@champion", str(search.space), "--home", str(search.home), "--json", str(result)
    )
    assert done.status == 0, done.output + done.errors
    outcome = json.loads((search.home / "outcome.json").read_text())
    assert json.loads(result.read_text())["scores"]["accuracy/top1"] == pytest.approx(outcome["test"]["accuracy/top1"])
    assert not named_in(result.read_bytes() + done.output.encode())


def test_more_trials_are_refused_without_the_checkpoints(search: Search, run: Callable[..., Any]) -> None:
    done = run("search.py", str(search.space), "--home", str(search.home), "--resume", "--trials", "3")
    assert done.status == 2
    assert "its student is models:/smoke/1, and as its profile is sensitive its checkpoints were removed" in done.errors
