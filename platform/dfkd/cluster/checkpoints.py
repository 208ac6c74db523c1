"""Checkpoints of a run, one file a worker, on any storage that pyarrow knows. No pickle is ever executed."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import secrets
import warnings
from collections.abc import Callable
from typing import Any

import torch
from pyarrow import fs

COMMIT_FILE = "committed.json"
RAY_TUNE, RAY_TRAIN = "ray_tune", "ray_train"  # Ray's own folders beside ours: of a search, and of a trial


class CheckpointStore:
    """Keeps the newest checkpoints of one run under ``uri/epoch-000012/rank-0.pt``.

    A checkpoint counts once its ``committed.json`` is there, which is written last and holds every file's SHA-256; a
    run that dies in between leaves the older one valid.

    Args:
        uri: absolute folder or URI (``s3://bucket/prefix``).
        keep: how many committed checkpoints stay.
    """

    def __init__(self, uri: str, *, keep: int = 2) -> None:
        self.uri, self.keep = uri, keep
        self._fs, self._root = fs.FileSystem.from_uri(uri)

    def write(self, state: dict[str, Any], *, epoch: int, rank: int) -> str:
        """Write one worker's part and return its SHA-256."""
        folder = self._folder(epoch)
        self._fs.create_dir(folder, recursive=True)
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getvalue()
        self._write_file(f"{folder}/rank-{rank}.pt", content)
        return hashlib.sha256(content).hexdigest()

    def commit(self, *, epoch: int, digests: list[str]) -> None:
        """Declare the checkpoint complete, given the digests in the order of ranks; then drop what is too old."""
        self._write_file(f"{self._folder(epoch)}/{COMMIT_FILE}", json.dumps({"sha256": digests}).encode())
        committed = self._committed_epochs()
        for old in self._epochs():
            if old not in committed[-self.keep :] and old < epoch:
                self._fs.delete_dir(self._folder(old))

    def newest(
        self,
        *,
        rank: int,
        world_size: int,
        all_agree: Callable[[bool], bool] = bool,
        warn: Callable[[str], None] = warnings.warn,
    ) -> dict[str, Any] | None:
        """Return one worker's part of the newest sound checkpoint, or None.

        Args:
            rank: of this worker.
            world_size: number of workers.
            all_agree: says whether every worker finds its part sound: all must go back to the same epoch.
            warn: hears of every damaged checkpoint that is passed over.

        Raises:
            ValueError: if the checkpoint is of another number of workers.
        """
        for epoch in reversed(self._committed_epochs()):
            digests = self._digests(epoch)
            if digests and len(digests) != world_size:
                raise ValueError(
                    f"{self._folder(epoch)}: the checkpoint is of {len(digests)} workers, this run has {world_size}. "
                    "Resume with the same number, or start under another name."
                )
            content = self._read_file(f"{self._folder(epoch)}/rank-{rank}.pt")
            if all_agree(bool(digests) and hashlib.sha256(content).hexdigest() == digests[rank]):
                state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
                return state
            warn(f"{self._folder(epoch)}: the checkpoint is damaged; using the one before.")
        return None

    def remove(self) -> None:
        """Remove every checkpoint: the run has ended, and what it gave is kept elsewhere."""
        for epoch in self._epochs():
            self._fs.delete_dir(self._folder(epoch))

    def check_writable(self) -> None:
        """Raise OSError unless files can be written, by writing one."""
        self._fs.create_dir(self._root, recursive=True)
        name = f"{self._root}/.probe-{secrets.token_hex(4)}"  # others may be trying the same folder
        self._write_file(name, b"dfkd")
        self._fs.delete_file(name)

    def _digests(self, epoch: int) -> list[str]:
        """Return the SHA-256 of every worker's file; none if the list itself is damaged."""
        try:
            digests: list[str] = json.loads(self._read_file(f"{self._folder(epoch)}/{COMMIT_FILE}"))["sha256"]
        except (ValueError, KeyError, TypeError):
            return []
        return digests

    def _folder(self, epoch: int) -> str:
        return f"{self._root}/epoch-{epoch:06d}"

    def _epochs(self) -> list[int]:
        infos = self._fs.get_file_info(fs.FileSelector(self._root, allow_not_found=True))
        return sorted(int(info.base_name[6:]) for info in infos if info.base_name.startswith("epoch-"))

    def _committed_epochs(self) -> list[int]:
        epochs = self._epochs()
        infos = self._fs.get_file_info([f"{self._folder(epoch)}/{COMMIT_FILE}" for epoch in epochs])
        return [epoch for epoch, info in zip(epochs, infos, strict=True) if info.type == fs.FileType.File]

    def _write_file(self, path: str, content: bytes) -> None:
        """Write under a temporary name first: a file that exists is whole."""
        partial = f"{path}.partial"
        try:
            with self._fs.open_output_stream(partial) as stream:
                stream.write(content)
        except OSError:
            with contextlib.suppress(OSError):
                self._fs.delete_file(partial)  # it would keep a full disk full
            raise
        self._fs.move(partial, path)

    def _read_file(self, path: str) -> bytes:
        try:
            with self._fs.open_input_stream(path) as stream:
                content: bytes = stream.read()
                return content
        except FileNotFoundError:
            return b""


def remove_folder(uri: str) -> None:
    """Remove a folder of any storage with all in it; one that is not there is no error.

    Raises:
        OSError: it cannot be removed.
    """
    filesystem, path = fs.FileSystem.from_uri(uri)
    if filesystem.get_file_info(path).type == fs.FileType.Directory:
        filesystem.delete_dir(path)
