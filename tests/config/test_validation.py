import pickle
from dataclasses import dataclass, field
from typing import Literal

import pytest

from dfkd.config import SettingsError, load_settings


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    shape: Literal["round"] = "round"
    radius: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Square:
    shape: Literal["square"] = "square"
    side: int
    radius: float = 0.0  # of the corners

    def __post_init__(self) -> None:
        if self.side < 1:
            raise ValueError(f"side: expected at least 1, got {self.side}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    legs: int
    title: str | None = None
    varnished: bool = False
    colours: tuple[Literal["red", "green"], ...] = ("red",)
    size: tuple[float, float] = (1.0, 2.0)
    price: Literal["free", "cheap"] | tuple[float, ...] = "free"
    height: Literal[1, 3] | None = None
    top: Round | Square = field(default_factory=Round)
    drawer: Round | None = None
    lamps: dict[str, Round | Square] = field(default_factory=dict)


def problems(raw: object) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as error:
        load_settings(Table, raw, where="table.yaml")
    return error.value.problems


def test_values_are_converted_to_the_types_of_the_fields() -> None:
    raw = {"legs": "4", "size": [1, "2e-1"], "varnished": "on", "price": [1], "top": {"shape": "square", "side": 2.0}}
    table = load_settings(Table, raw, where="table.yaml")
    assert table == Table(legs=4, size=(1.0, 0.2), varnished=True, price=(1.0,), top=Square(side=2))
    assert isinstance(table.size[0], float)


def test_nested_settings_are_optional_only_where_null_is_allowed() -> None:
    assert load_settings(Table, {"legs": 4, "drawer": None}, where="").drawer is None
    assert problems({"legs": 4, "top": None}) == ("top: expected a mapping ('key: value' lines), got nothing.",)


def test_without_a_tag_a_union_is_the_class_of_the_default() -> None:
    assert load_settings(Table, {"legs": 4, "top": {"radius": 3}}, where="").top == Round(radius=3.0)


def test_a_mapping_of_unions_needs_the_tag() -> None:
    assert load_settings(Table, {"legs": 4, "lamps": {"a.b": {"shape": "round"}}}, where="").lamps == {"a.b": Round()}
    assert problems({"legs": 4, "lamps": {"a.b": {"side": 1}}}) == (
        "lamps.a.b.shape: is missing. Valid: round, square.",
    )


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        ({"titel": "x"}, "titel: unknown setting. Did you mean 'title'? Valid: legs, title"),
        ({"legs": True}, "legs: expected a whole number, got True."),
        ({"legs": 2.5}, "legs: expected a whole number, got 2.5."),
        ({"legs": None}, "legs: expected a whole number, got nothing."),
        ({"legs": "four"}, "legs: expected a whole number, got 'four'."),
        ({"title": 5}, "title: expected text or null, got 5."),
        ({"varnished": "maybe"}, "varnished: expected true or false, got 'maybe'."),
        ({"colours": ["red", "gren"]}, "colours: 'gren' is unknown. Did you mean 'green'? Valid: red, green."),
        ({"colours": "red"}, "colours: expected a list of values (one of red, green), got 'red'."),
        ({"size": [1]}, "size: expected a list of 2 numbers, got [1]."),
        ({"size": [1, True]}, "size: expected a list of 2 numbers, got [1, True]."),
        ({"size": [1, float("nan")]}, "size: expected a list of 2 numbers, got [1, nan]."),
        (
            {"price": "chep"},
            "price: expected one of free, cheap or a list of numbers, got 'chep'. Did you mean 'cheap'?",
        ),
        ({"height": 2}, "height: 2 is unknown. Valid: 1, 3."),
        ({"height": True}, "height: True is unknown. Valid: 1, 3."),
        ({"top": "round"}, "top: expected a mapping ('key: value' lines), got 'round'."),
        ({"top": {"shape": "squar"}}, "top.shape: 'squar' is unknown. Did you mean 'square'? Valid: round, square."),
        ({"top": {"shape": ["x"]}}, "top.shape: ['x'] is unknown. Valid: round, square."),
        (
            {"top": {"shape": "round", "side": 1}},
            "top.side: shape 'round' has no setting 'side'. Valid: shape, radius.",
        ),
        ({"top": {"shape": "square"}}, "top.side: is missing; expected a whole number."),
        ({"top": {"shape": "square", "side": 0}}, "top.side: expected at least 1, got 0."),
        ({"lamps": [1]}, "lamps: expected a mapping ('key: value' lines), got [1]."),
    ],
)
def test_a_problem_is_told_once_by_its_path(raw: dict[str, object], problem: str) -> None:
    (told,) = problems({"legs": 4, **raw})
    assert told.startswith(problem)


def test_every_problem_is_listed_at_once() -> None:
    raw = {"titel": "x", "size": 3, "top": {"shape": "square", "radius": "wide"}}
    paths = [problem.split(":")[0] for problem in problems(raw)]
    assert paths == ["titel", "legs", "size", "top.side", "top.radius"]


def test_the_message_names_the_source_and_counts_the_problems() -> None:
    assert str(SettingsError("a.yaml", ["x: wrong."])) == "a.yaml: x: wrong."
    assert str(SettingsError("a.yaml", ["x: wrong.", "y: wrong.", "x: wrong."])) == (
        "a.yaml: 2 problems\n  - x: wrong.\n  - y: wrong."
    )


@pytest.mark.parametrize("raw", [None, [], "text", 3])
def test_what_is_no_mapping_is_no_settings(raw: object) -> None:
    assert problems(raw)[0].startswith("settings: expected a mapping")


def test_an_error_survives_the_way_between_processes() -> None:
    error = SettingsError("a.yaml", ["x: wrong."])
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error) and copy.problems == error.problems
