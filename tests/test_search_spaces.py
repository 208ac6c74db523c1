from pathlib import Path

import pytest

from dfkd.search.space import load_search_space

FOLDER = Path(__file__).parents[1] / "search_spaces"
FILES = sorted(FOLDER.glob("*.yaml"))


def test_the_search_spaces_of_the_readme_exist() -> None:
    assert {"digits_cae", "smoke", "cifar10_16px_cae", "cifar10_cae", "pneumonia_cae"} <= {path.stem for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_search_space_loads_and_all_its_corners_resolve(path: Path) -> None:
    space = load_search_space(path)
    assert space.resolve(space.defaults()) == space.resolve({})


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_search_space_opens_with_its_command_and_expected_result(path: Path) -> None:
    comments = [line for line in path.read_text().splitlines() if line.startswith("#")]
    command = next(line for line in comments if "Command:" in line)
    assert "experiments/search.py" in command
    assert path.stem == "digits_cae" or f"search_spaces/{path.name}" in command
    assert any("Expected:" in line for line in comments)


def test_no_two_search_spaces_register_students_under_one_name() -> None:
    names = [load_search_space(path).settings.name for path in FILES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("path", [path for path in FILES if "data/" in path.read_text()], ids=lambda path: path.stem)
def test_the_data_of_a_search_space_can_lie_elsewhere(path: Path) -> None:
    assert load_search_space(path, ["dataset.path=/elsewhere"]).resolve({}).dataset.path == "/elsewhere"
