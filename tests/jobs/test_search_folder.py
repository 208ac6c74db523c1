from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from dfkd.jobs.search import obtain_storage
from dfkd.jobs.search_folder import (
    NO_CHECKPOINTS,
    REMOVED,
    REMOVING,
    TRIAL_RECORDS,
    SearchFolder,
    find_search_folder,
    new_search_folder,
    only_search,
    storage_for,
)
from dfkd.jobs.search_options import SearchOptions
from dfkd.search.load import load_space

SMOKE = str(Path(__file__).parents[2] / "search_spaces" / "smoke.yaml")


def test_what_an_earlier_version_remembered_of_its_student_is_known(tmp_path: Path) -> None:
    folder = SearchFolder(path=tmp_path, search_id="s")
    folder.note(judged={"key": "a", "scores": {"x": 1.0}}, registered={"key": "a", "model": {"name": "n"}})
    assert folder.facts() == {"judgements": {"a": {"scores": {"x": 1.0}}}, "registrations": {"a": {"name": "n"}}}
    folder.note(more=1)
    assert folder.facts()["judgements"] == {"a": {"scores": {"x": 1.0}}}


def test_one_process_at_a_time_searches_under_a_name(tmp_path: Path) -> None:
    holder = f"process {os.getpid()} on {socket.gethostname()}, since 20"
    with only_search(tmp_path, "digits-student"):
        with pytest.raises(BlockingIOError, match=f"search 'digits-student': another process .* It is {holder}"):
            with only_search(tmp_path, "digits-student"):
                pass
        with only_search(tmp_path, "another"):
            pass
    with only_search(tmp_path, "digits-student"):
        pass


def test_the_newest_search_of_the_same_space_is_gone_on_with(tmp_path: Path) -> None:
    space, other = load_space(SMOKE, []), load_space(SMOKE, ["seed=1"])
    new_search_folder(tmp_path, other).path.rename(tmp_path / "searches" / "smoke-20000101-000000")
    for day in (2, 3):
        new_search_folder(tmp_path, space).path.rename(tmp_path / "searches" / f"smoke-2000010{day}-000000")
    assert find_search_folder(tmp_path, space).search_id == "smoke-20000103-000000"
    assert find_search_folder(tmp_path, load_space(SMOKE, [], trials=9)).search_id == "smoke-20000103-000000"
    assert find_search_folder(tmp_path, other).search_id == "smoke-20000101-000000"


def test_a_search_that_ended_before_its_first_trial_hides_none_that_has_some(tmp_path: Path) -> None:
    space = load_space(SMOKE, [])
    begun, empty = (new_search_folder(tmp_path, space).path for _ in range(2))
    for folder, day in ((begun, 1), (empty, 2)):
        folder.rename(tmp_path / "searches" / f"smoke-2000010{day}-000000")
    assert find_search_folder(tmp_path, space).search_id == "smoke-20000102-000000"
    records = tmp_path / "searches" / "smoke-20000101-000000" / TRIAL_RECORDS
    records.mkdir()
    (records / "0.json").write_text("{}")
    assert find_search_folder(tmp_path, space).search_id == "smoke-20000101-000000"
    begun = SearchFolder(path=records.parent, search_id=records.parent.name)
    begun.note(finished_trials=2, student="models:/smoke/1")
    assert find_search_folder(tmp_path, space).search_id == "smoke-20000102-000000"  # that one is over, this one is not


def test_two_searches_that_begin_in_one_second_have_folders_of_their_own(tmp_path: Path) -> None:
    space = load_space(SMOKE, [])
    assert len({new_search_folder(tmp_path, space).search_id for _ in range(5)}) == 5


def test_a_search_of_another_name_is_another_search_though_its_settings_are_the_same(tmp_path: Path) -> None:
    copied = tmp_path / "copied.yaml"
    copied.write_text(Path(SMOKE).read_text().replace("name: smoke\n", "name: smoke-again\n"))
    again, space = load_space(str(copied), []), load_space(SMOKE, [])
    assert again.key == space.key and again.settings.name == "smoke-again"
    new_search_folder(tmp_path, again)
    with pytest.raises(ValueError, match="found no earlier search 'smoke'"):
        find_search_folder(tmp_path, space)


def test_there_must_be_something_to_go_on_with(tmp_path: Path) -> None:
    new_search_folder(tmp_path, load_space(SMOKE, []))
    with pytest.raises(ValueError, match="--resume: found no earlier search 'smoke' with these settings"):
        find_search_folder(tmp_path, load_space(SMOKE, ["seed=1"]))


def test_a_finished_search_goes_on_only_for_more_trials(tmp_path: Path) -> None:
    """Else its student would be registered a second time."""
    folder = new_search_folder(tmp_path, load_space(SMOKE, []))
    folder.note(finished_trials=2, student="models:/smoke/1")
    with pytest.raises(ValueError, match="has run its 2 trials, and its student is models:/smoke/1.*--trials"):
        find_search_folder(tmp_path, load_space(SMOKE, []))
    assert find_search_folder(tmp_path, load_space(SMOKE, [], trials=3)) == folder


def test_a_sensitive_search_keeps_no_class_name_and_takes_no_more_trials(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    names = ", ".join(f"axolotl {number}" for number in range(10))
    text = Path(SMOKE).read_text().replace("tracking: {", "tracking: {profile: sensitive, ")
    file.write_text(text.replace("title: digits,", f"title: digits, class_names: [{names}],"))
    space = load_space(str(file), [])
    folder = new_search_folder(tmp_path, space)
    assert "axolotl" not in (folder.path / "search.json").read_text()
    assert find_search_folder(tmp_path, space).path == folder.path  # known by the settings as they are
    folder.note(**{NO_CHECKPOINTS: REMOVING}, finished_trials=2, student="models:/smoke/1")
    with pytest.raises(ValueError, match=f"removed, which FAILED: remove '{folder.path}' and '{tmp_path}/probe_sets'"):
        find_search_folder(tmp_path, load_space(str(file), [], trials=9))
    folder.note(**{NO_CHECKPOINTS: REMOVED})
    with pytest.raises(
        ValueError, match="models:/smoke/1, and as its profile is sensitive its checkpoints were removed"
    ):
        find_search_folder(tmp_path, load_space(str(file), [], trials=9))


def test_what_a_search_is_pinned_to_cannot_change(tmp_path: Path) -> None:
    folder = new_search_folder(tmp_path, load_space(SMOKE, []))
    folder.pin(teacher_hash="abc", probe_hash="def")
    folder.pin(teacher_hash="abc")
    with pytest.raises(ValueError, match="was run with teacher hash 'abc', and now it is 'xyz'.*leave --resume out"):
        folder.pin(teacher_hash="xyz")
    assert folder.facts()["teacher_hash"] == "abc"


def test_where_the_head_says_that_checkpoints_go_is_for_searches_that_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, new = (new_search_folder(tmp_path / name, load_space(SMOKE, [])) for name in ("a", "b"))
    assert obtain_storage(SearchOptions(), begun) == str(begun.path)
    monkeypatch.setenv("DFKD_STORAGE", str(tmp_path / "shared"))
    assert obtain_storage(SearchOptions(), begun) == str(begun.path)
    assert obtain_storage(SearchOptions(), new) == str(tmp_path / "shared" / new.search_id)
    assert [storage_for(None, begun), storage_for(None, None)] == [None, str(tmp_path / "shared")]
    assert storage_for("s3://bucket", begun) == "s3://bucket"
    monkeypatch.setenv("DFKD_STORAGE", "")
    assert obtain_storage(SearchOptions(), new) == str(tmp_path / "shared" / new.search_id)


def test_checkpoints_stay_where_the_search_began_whatever_storage_is_given_later(tmp_path: Path) -> None:
    """Else trials would begin again elsewhere, and one that had ended would have no checkpoint there."""
    at_home, shared = (new_search_folder(tmp_path / name, load_space(SMOKE, [])) for name in ("a", "b"))
    plain, given = SearchOptions(), SearchOptions(storage=str(tmp_path / "shared"))
    assert obtain_storage(plain, at_home) == str(at_home.path)
    assert at_home.shared_storage is None
    with pytest.raises(ValueError, match="run with storage 'the search's own folder', and now it is '.*/shared/smoke"):
        obtain_storage(given, at_home)
    assert obtain_storage(plain, at_home) == str(at_home.path)

    there = obtain_storage(given, shared)
    assert there == shared.shared_storage == str(tmp_path / "shared" / shared.search_id)
    assert obtain_storage(plain, shared) == there
    with pytest.raises(ValueError, match="now it is '.*/other/smoke"):
        obtain_storage(SearchOptions(storage=str(tmp_path / "other")), shared)
