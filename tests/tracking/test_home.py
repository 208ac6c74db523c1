from __future__ import annotations

import os
from pathlib import Path

import pytest

from dfkd.tracking.home import (
    artifact_location,
    default_tracking_uri,
    is_local_store,
    open_home,
    refuse_local_store_on_cluster,
    resolve_tracking_uri,
)


def test_a_new_home_is_absolute_and_its_owners_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    home = open_home("here/home")
    assert home == tmp_path / "here" / "home"
    assert home.stat().st_mode & 0o777 == 0o700
    assert list(home.iterdir()) == []


def test_the_home_defaults_to_a_folder_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_home() == tmp_path / ".dfkd"


def test_a_home_that_cannot_be_made_is_named_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="expected a folder that can be written.*file/home.*--home"):
        open_home(tmp_path / "file" / "home")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to read-only folders")
def test_a_read_only_home_is_an_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match="expected a folder that can be written"):
        open_home(tmp_path)


def test_a_home_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(OSError, match="expected a folder that can be written"):
        open_home(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "kept"


def test_a_full_disk_is_an_error_with_both_numbers(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"at least 1000000000000 MB free.*found \d+ MB"):
        open_home(tmp_path, minimum_free_bytes=10**18)


def test_the_address_requested_wins_over_the_environment_over_the_home(tmp_path: Path) -> None:
    environment = {"MLFLOW_TRACKING_URI": "http://b:5000/"}
    assert resolve_tracking_uri("http://a:5000", home=tmp_path, environment=environment) == "http://a:5000"
    assert resolve_tracking_uri(None, home=tmp_path, environment=environment) == "http://b:5000"
    assert resolve_tracking_uri(None, home=tmp_path, environment={}) == f"sqlite:///{tmp_path}/mlflow.db"


def test_a_relative_database_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve_tracking_uri("sqlite:///x.db", home=tmp_path, environment={}) == f"sqlite:///{tmp_path}/x.db"


@pytest.mark.parametrize("uri", ["./mlruns", "file:///tmp/mlruns", "sqlite://", "sqlite:///:memory:", "sqlite:////a?b"])
def test_addresses_that_cannot_keep_runs_are_refused(uri: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="tracking uri: expected"):
        resolve_tracking_uri(uri, home=tmp_path, environment={})


def test_only_files_of_this_machine_are_local_and_keep_their_artifacts_at_home(tmp_path: Path) -> None:
    local = default_tracking_uri(tmp_path)
    assert is_local_store(local) and not is_local_store("http://a:5000") and not is_local_store("databricks")
    assert artifact_location(local, home=tmp_path) == str(tmp_path / "artifacts")
    assert artifact_location("http://a:5000", home=tmp_path) is None


def test_a_local_store_serves_one_node_only() -> None:
    refuse_local_store_on_cluster("sqlite:////a/mlflow.db", num_nodes=1)
    refuse_local_store_on_cluster("http://a:5000", num_nodes=4)
    with pytest.raises(ValueError, match="the cluster has 2 nodes.*deploy/mlflow_server.sh"):
        refuse_local_store_on_cluster("sqlite:////a/mlflow.db", num_nodes=2)
