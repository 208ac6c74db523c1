from __future__ import annotations

import hashlib
import io
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from dfkd.cluster.checkpoints import CheckpointStore, remove_folder


def keep(store: CheckpointStore, epoch: int, *, workers: int = 1) -> None:
    """Write and commit a checkpoint whose every part says whose it is."""
    digests = [
        store.write({"epoch": epoch, "weights": torch.full((50,), rank)}, epoch=epoch, rank=rank)
        for rank in range(workers)
    ]
    store.commit(epoch=epoch, digests=digests)


def newest_epoch(store: CheckpointStore, **keywords: Any) -> int | None:
    state = store.newest(rank=0, world_size=1, **keywords)
    return None if state is None else state["epoch"]


def test_an_empty_store_has_no_checkpoint(tmp_path: Path) -> None:
    assert CheckpointStore(str(tmp_path / "not yet")).newest(rank=0, world_size=1) is None


def test_every_worker_gets_its_own_part_of_the_newest(tmp_path: Path) -> None:
    store = CheckpointStore(str(tmp_path))
    for epoch in (1, 2):
        keep(store, epoch, workers=3)
    for rank in range(3):
        state = CheckpointStore(str(tmp_path)).newest(rank=rank, world_size=3)
        assert state is not None
        assert state["epoch"] == 2
        assert torch.equal(state["weights"], torch.full((50,), rank))


def test_a_uri_names_the_same_place_as_its_path(tmp_path: Path) -> None:
    keep(CheckpointStore(f"file://{tmp_path}"), 1)
    assert newest_epoch(CheckpointStore(str(tmp_path))) == 1


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    store = CheckpointStore(str(tmp_path), keep=2)
    for epoch in (1, 2, 3, 10):
        keep(store, epoch)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch-000003", "epoch-000010"]


def test_what_is_not_committed_does_not_count(tmp_path: Path) -> None:
    store = CheckpointStore(str(tmp_path))
    keep(store, 1)
    store.write({"epoch": 2}, epoch=2, rank=0)
    assert newest_epoch(store) == 1
    keep(store, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch-000001", "epoch-000003"]


@pytest.mark.parametrize("content", [b"", b"half"], ids=["empty", "half"])
@pytest.mark.parametrize("file", ["rank-0.pt", "committed.json"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path: Path, file: str, content: bytes) -> None:
    store = CheckpointStore(str(tmp_path))
    keep(store, 1)
    keep(store, 2)
    damaged = tmp_path / "epoch-000002" / file
    damaged.write_bytes(damaged.read_bytes()[:100] if content == b"half" and file == "rank-0.pt" else content)
    with pytest.warns(UserWarning, match="epoch-000002: the checkpoint is damaged; using the one before"):
        assert newest_epoch(store) == 1


def test_a_lost_part_falls_back_too(tmp_path: Path) -> None:
    store = CheckpointStore(str(tmp_path))
    keep(store, 1)
    keep(store, 2)
    (tmp_path / "epoch-000002" / "rank-0.pt").unlink()
    with pytest.warns(UserWarning, match="damaged"):
        assert newest_epoch(store) == 1


def test_all_workers_go_back_to_the_same_epoch(tmp_path: Path) -> None:
    """A worker whose own part is sound must not go on from it when another's is damaged."""
    store = CheckpointStore(str(tmp_path))
    keep(store, 1)
    keep(store, 2)
    heard: list[bool] = []

    def another_workers_newest_is_damaged(sound: bool) -> bool:
        heard.append(sound)
        return sound and len(heard) > 1

    with pytest.warns(UserWarning, match="damaged"):
        assert newest_epoch(store, all_agree=another_workers_newest_is_damaged) == 1
    assert heard == [True, True]


def test_a_checkpoint_of_another_number_of_workers_is_refused(tmp_path: Path) -> None:
    store = CheckpointStore(str(tmp_path))
    keep(store, 1, workers=2)
    with pytest.raises(ValueError, match="is of 2 workers, this run has 1. Resume with the same number"):
        newest_epoch(store)


class _RunsCode:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


def test_a_checkpoint_that_holds_code_is_refused_and_not_run(tmp_path: Path) -> None:
    store, proof = CheckpointStore(str(tmp_path / "store")), tmp_path / "proof"
    buffer = io.BytesIO()
    torch.save({"epoch": 1, "weights": _RunsCode(proof)}, buffer)
    keep(store, 1)
    (tmp_path / "store" / "epoch-000001" / "rank-0.pt").write_bytes(buffer.getvalue())
    store.commit(epoch=1, digests=[hashlib.sha256(buffer.getvalue()).hexdigest()])
    with pytest.raises(pickle.UnpicklingError):
        newest_epoch(store)
    assert not proof.exists()
    torch.load(io.BytesIO(buffer.getvalue()), weights_only=False)
    assert proof.exists()  # it would have worked


def test_no_half_written_file_stays_under_its_final_name(tmp_path: Path) -> None:
    keep(CheckpointStore(str(tmp_path)), 1, workers=2)
    names = {path.name for path in (tmp_path / "epoch-000001").iterdir()}
    assert names == {"rank-0.pt", "rank-1.pt", "committed.json"}


def test_a_place_that_cannot_be_written_is_known_at_once(tmp_path: Path) -> None:
    CheckpointStore(str(tmp_path / "new" / "folder")).check_writable()
    assert list((tmp_path / "new" / "folder").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        CheckpointStore(str(tmp_path / "file" / "below")).check_writable()


def test_a_folder_goes_with_all_in_it_and_one_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_text("")
    for _ in range(2):
        remove_folder(str(tmp_path / "a"))
        assert not (tmp_path / "a").exists()
    assert tmp_path.exists()
