import pytest

from dfkd.config import apply_overrides, look_up, merge, parse_override, set_path


def test_merge_joins_mappings_and_replaces_everything_else() -> None:
    base = {"a": {"x": 1, "y": [1, 2]}, "b": 1}
    assert merge(base, {"a": {"y": [3]}, "c": 2}) == {"a": {"x": 1, "y": [3]}, "b": 1, "c": 2}
    assert merge({"a": {"x": 1}}, {"a": None}) == {"a": None}


def test_merge_and_set_path_leave_their_arguments_alone() -> None:
    base = {"a": {"x": {"deep": 1}}}
    merge(base, {"a": {"x": {"deep": 2}}})
    set_path(base, "a.x.deep", 3)
    assert base == {"a": {"x": {"deep": 1}}}


def test_set_path_makes_the_mappings_on_its_way() -> None:
    assert set_path({"a": {"x": 1}}, "a.b.c", 2) == {"a": {"x": 1, "b": {"c": 2}}}


@pytest.mark.parametrize("path", ["", ".", "a.", ".a", "a..b"])
def test_a_path_with_an_empty_part_is_an_error(path: str) -> None:
    with pytest.raises(ValueError, match="single dots"):
        set_path({}, path, 1)


def test_a_path_through_a_value_is_an_error_that_names_it() -> None:
    with pytest.raises(ValueError, match="seed.x: 'seed' is 3, which holds no further settings"):
        set_path({"seed": 3}, "seed.x", 1)


def test_look_up_finds_what_stands_at_a_path() -> None:
    assert look_up({"a": {"b": None}}, "a.b") is None
    for path in ("a.c", "a.b.c"):
        with pytest.raises(KeyError):
            look_up({"a": {"b": 1}}, path)


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("dataset.path=/data/x=y", "dataset.path", "/data/x=y"),
        ("distillation.learning_rate=1e-3", "distillation.learning_rate", 0.001),
        ("tracking.images=off", "tracking.images", "off"),
        ("dataset.path=", "dataset.path", None),
        ("synthesis.class_prior=[0.9, 0.1]", "synthesis.class_prior", [0.9, 0.1]),
        ("dataset.path='10'", "dataset.path", "10"),
    ],
)
def test_an_override_is_a_path_and_a_yaml_value(text: str, path: str, value: object) -> None:
    assert parse_override(text) == (path, value)


@pytest.mark.parametrize("text", ["dataset.path", "=3", " =3"])
def test_an_override_without_path_and_value_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="--set: expected path=value"):
        parse_override(text)


def test_an_override_that_is_no_yaml_is_an_error_that_says_to_quote_it() -> None:
    with pytest.raises(ValueError, match="--set dataset.path: '@x' is no YAML value. Quote it"):
        parse_override("dataset.path=@x")


def test_the_last_of_two_overrides_wins() -> None:
    assert apply_overrides({"seed": 0}, ["seed=1", "seed=2"]) == {"seed": 2}


def test_an_override_through_a_value_names_the_option() -> None:
    with pytest.raises(ValueError, match="^--set seed.x"):
        apply_overrides({"seed": 0}, ["seed.x=1"])
