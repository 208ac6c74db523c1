from __future__ import annotations

from pathlib import Path

import pytest

from dfkd.jobs.search_folder import find_search_folder, new_search_folder
from dfkd.search.load import load_space

SMOKE = str(Path(__file__).parents[2] / "search_spaces" / "smoke.yaml")


def test_the_newest_search_of_the_same_space_is_gone_on_with(tmp_path: Path) -> None:
    space, other = load_space(SMOKE, []), load_space(SMOKE, ["seed=1"])
    new_search_folder(tmp_path, other).path.rename(tmp_path / "searches" / "smoke-20000101-000000")
    for day in (2, 3):
        new_search_folder(tmp_path, space).path.rename(tmp_path / "searches" / f"smoke-2000010{day}-000000")
    assert find_search_folder(tmp_path, space).search_id == "smoke-20000103-000000"
    assert find_search_folder(tmp_path, load_space(SMOKE, [], trials=9)).search_id == "smoke-20000103-000000"
    assert find_search_folder(tmp_path, other).search_id == "smoke-20000101-000000"


def test_there_must_be_something_to_go_on_with(tmp_path: Path) -> None:
    new_search_folder(tmp_path, load_space(SMOKE, []))
    with pytest.raises(ValueError, match="--resume: found no earlier search 'smoke' with these settings"):
        find_search_folder(tmp_path, load_space(SMOKE, ["seed=1"]))


def test_a_finished_search_goes_on_only_for_more_trials(tmp_path: Path) -> None:
    """Else its student would be registered a second time."""
    folder = new_search_folder(tmp_path, load_space(SMOKE, []))
    folder.note(state="finished", trials=2, student="models:/smoke/1")
    with pytest.raises(ValueError, match="has run its 2 trials, and its student is models:/smoke/1.*--trials"):
        find_search_folder(tmp_path, load_space(SMOKE, []))
    assert find_search_folder(tmp_path, load_space(SMOKE, [], trials=3)) == folder
    folder.note(state="running")
    assert find_search_folder(tmp_path, load_space(SMOKE, [])) == folder
