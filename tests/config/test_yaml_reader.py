import math
from pathlib import Path

import pytest

from dfkd.config import read_yaml
from dfkd.config.yaml_reader import parse_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 100000.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("-1.5e+3", -1500.0),
        ("+3", 3),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("50_000", 50000),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("off", "off"),
        ("on", "on"),
        ("yes", "yes"),
        ("No", "No"),
        ("y", "y"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("1.0.0", "1.0.0"),
        ("'1'", "1"),
        ("models:/digits-student@champion", "models:/digits-student@champion"),
        ("/data/cifar10", "/data/cifar10"),
        ("[0.25, 2]", [0.25, 2]),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    read = parse_yaml(text, where="here")
    assert read == value and type(read) is type(value)


def test_infinity_and_nan_are_numbers() -> None:
    assert parse_yaml("-.inf", where="here") == -math.inf
    assert math.isnan(parse_yaml(".nan", where="here"))


def test_an_anchor_can_be_used_again() -> None:
    assert parse_yaml("a: &x {low: 1}\nb: *x", where="here") == {"a": {"low": 1}, "b": {"low": 1}}


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ("", ("line 1", "is empty")),
        ("# only a comment\n", ("line 1", "is empty")),
        ("- a\n- b", ("line 1", "got a list")),
        ("hello", ("line 1", "got only 'hello'")),
        ("a: 1\nb: [1", ("line 2", "expected")),
        ("a: 1\nb: 2\na: 3", ("line 3", "'a' stands twice", "line 1")),
        ("a:\n  b: 1\n  c: 2\n  b: 3", ("line 4", "'b' stands twice")),
        ("a:\n\tb: 1", ("line 2", "'\\t'")),
        ("a: b: c", ("line 1", "not allowed")),
        ("a: 1\n1: 2", ("line 2", "text as a key, got 1")),
        ("a: *x", ("line 1", "undefined alias 'x'")),
        ("a: 1\nb: !!python/object/apply:os.getcwd []", ("line 2", "python/object")),
        ("a: !!int x", ("invalid literal",)),
        ("a: 1\n---\nb: 2", ("line 2", "another document")),
        ("a: 1\nb: \x01", ("line 2", "'\\x01'")),
        ("a: @x", ("line 1", "'@'")),
        ("[" * 5000, ("nested too deeply",)),
    ],
)
def test_a_file_that_is_no_mapping_is_an_error_with_file_and_line(
    text: str, fragments: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(ValueError) as error:
        read_yaml(path)
    for fragment in (str(path), *fragments):
        assert fragment in str(error.value)


def test_a_file_in_another_encoding_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("name: Röntgen".encode("latin-1"))
    with pytest.raises(ValueError, match="UTF-8, got the byte 0xf6"):
        read_yaml(tmp_path / "latin.yaml")


def test_a_missing_file_is_an_error_that_names_a_similar_one(tmp_path: Path) -> None:
    (tmp_path / "digits_cae.yaml").write_text("a: 1")
    with pytest.raises(ValueError, match=r"No such file.*Did you mean 'digits_cae.yaml'"):
        read_yaml(tmp_path / "digit_cae.yaml")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        read_yaml(tmp_path)
