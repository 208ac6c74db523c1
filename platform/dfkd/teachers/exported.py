"""A ``torch.export`` archive as a teacher: logits alone, no BatchNorm layers to look into, no features, no training."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

TEXT_RECORDS = ("version", "archive_format", "archive_version", "byteorder", "serialization_id")
TENSOR_PREFIXES = ("weight_", "tensor_")  # of records with a tensor's bytes (torch 2.14); objects have others


class ExportedNetwork(nn.Module):
    """The graph of a ``.pt2`` archive. It copies and pickles as the archive, which a traced graph cannot.

    Args:
        archive: the bytes of the file, checked by ``read_exported``.
    """

    def __init__(self, archive: bytes) -> None:
        super().__init__()
        self._archive = archive
        self.graph: nn.Module = torch.export.load(io.BytesIO(archive)).module()
        self.training = False

    def forward(self, images: Tensor) -> Tensor:
        """Map images [B, C, H, W], normalised as the archive expects, to logits [B, K]."""
        logits: Tensor = self.graph(images)
        return logits

    def train(self, mode: bool = True) -> ExportedNetwork:
        """Do nothing: an exported graph is what it was exported as, and raises when asked to change."""
        return self

    def __reduce__(self) -> tuple[Callable[[bytes], ExportedNetwork], tuple[bytes]]:
        return ExportedNetwork, (self._archive,)


def read_exported(path: Path, *, trust_pickle: bool) -> ExportedNetwork:
    """Read a ``.pt2`` archive.

    ``torch.export.load`` unpickles what an archive says is pickled. Such archives are refused first, unless trusted;
    yet an archive remains a program, so even a checked one should come from someone you know.

    Raises:
        ValueError: if the file is damaged, or holds pickles that are more than tensors and is not trusted.
    """
    archive = path.read_bytes()
    if not trust_pickle:
        _refuse_pickles(archive, path)
    try:
        return ExportedNetwork(archive)
    except Exception as error:  # a damaged archive can raise anything
        raise ValueError(f"teacher.weights: {path} is not a complete torch.export archive ({error}).") from error


def _refuse_pickles(archive: bytes, path: Path) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as records:
            names = records.namelist()
            contents = {name: records.read(name) for name in names}
        raw = _raw_tensors(contents)
    except (zipfile.BadZipFile, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"teacher.weights: {path} is not a complete torch.export archive ({error}).") from error
    if len(contents) != len(names):
        raise ValueError(f"teacher.weights: {path} is not a torch.export archive: it has two records of one name.")
    for name, content in contents.items():
        if name not in raw and not _is_text(name, content) and not _is_tensors_alone(content):
            raise ValueError(
                f"teacher.weights: {path}: the record '{name}' is a pickle of more than tensors, which could run any "
                "code. If you trust its origin, set teacher.trust_pickle: true."
            )


def _raw_tensors(contents: dict[str, bytes]) -> set[str]:
    """Return the records that are a tensor's own bytes wherever the archive's tables name them: never unpickled."""
    raw: set[str] = set()
    pickled: set[str] = set()
    for table, content in contents.items():
        if table.endswith(("weights_config.json", "constants_config.json")):
            for entry in json.loads(content)["config"].values():
                file_name = entry["path_name"]
                is_raw = not entry["use_pickle"] and file_name.startswith(TENSOR_PREFIXES)
                (raw if is_raw else pickled).add(f"{table.rpartition('/')[0]}/{file_name}")
    return raw - pickled


def _is_text(name: str, content: bytes) -> bool:
    if name.rpartition("/")[2] in TEXT_RECORDS:
        return content.isascii() and content.count(b"\n") <= 1  # a pickle that calls something has two or more
    try:
        json.loads(content)
    except ValueError:
        return False
    return True


def _is_tensors_alone(content: bytes) -> bool:
    try:
        torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception:  # whatever a damaged or forbidden pickle raises, it is not tensors alone
        return False
    return True
