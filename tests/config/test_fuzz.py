"""Whatever a file of settings holds, it is a search space or a ``ValueError`` that names the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dfkd.config.yaml_reader import parse_yaml
from dfkd.search.load import load_space

TEXT = (Path(__file__).parents[2] / "search_spaces" / "digits_transfer.yaml").read_text()
PLAIN = yaml.safe_load(TEXT)
FEW = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "space.yaml"


def read(file: Path) -> None:
    try:
        load_space(str(file), [])
    except ValueError as error:
        assert str(file) in str(error)


@FEW
@given(text=st.text())
def test_any_text_is_a_value_or_an_error(text: str) -> None:
    try:
        parse_yaml(text, where="here")
    except ValueError as error:
        assert "here" in str(error)


@FEW
@given(place=st.integers(0, len(TEXT)), length=st.integers(0, 40), instead=st.text(max_size=6))
def test_a_file_that_was_typed_over_is_a_space_or_an_error(file: Path, place: int, length: int, instead: str) -> None:
    text = TEXT[:place] + instead + TEXT[place + length :]
    file.write_text(text, encoding="utf-8", errors="surrogatepass")
    read(file)


def paths(value: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every key and index of nested values."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [before] * bool(before) + [path for key, inner in inside for path in paths(inner, (*before, key))]


@FEW
@given(path=st.sampled_from(paths(PLAIN)), value=VALUES)
def test_any_value_anywhere_is_a_space_or_an_error(file: Path, path: tuple[Any, ...], value: Any) -> None:
    plain = yaml.safe_load(TEXT)
    inside = plain
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = value
    file.write_text(yaml.safe_dump(plain, allow_unicode=True), encoding="utf-8", errors="surrogatepass")
    read(file)


def test_a_file_whose_aliases_would_fill_the_memory_is_an_error(file: Path) -> None:
    """The billion laughs: nine levels of ten aliases each."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    file.write_text("\n".join([*lines, "name: *a9", "experiment: *a9", "parameters: *a9"]))
    with pytest.raises(ValueError, match="space.yaml"):
        load_space(str(file), [])
