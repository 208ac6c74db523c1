"""Weights in files: reading them without running anything that a file says, and putting them into a network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor, nn

from dfkd.teachers.networks import TimmNetwork, TorchvisionNetwork

WRAPPED = "network."  # what precedes torchvision's and timm's own names in the state dict of our wrapper
PARALLEL = "module."  # what data parallelism leaves in front of every name
NESTED = ("state_dict", "model_state_dict", "model")  # where training scripts keep the weights in a larger dict
NAMES_SHOWN = 3


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return state dict and metadata of a safetensors file.

    Raises:
        ValueError: if the file is truncated or something else.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"teacher.weights: {path} is not a complete safetensors file ({error}). Was it copied to the end?"
        ) from error


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Return the state dict of a ``torch.save`` file, which may lie in a larger dict of a training script.

    Raises:
        ValueError: if the file is damaged, holds more than tensors (nothing of it is run), or no state dict.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything
        raise ValueError(
            f"teacher.weights: {path} is damaged, or holds more than tensors, which could run any code and was not "
            f"loaded. Save it again as torch.save(model.state_dict(), ...) or as safetensors. "
            f"({str(error).splitlines()[0] if str(error) else type(error).__name__})"
        ) from error
    for name in NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
            break
    return _check_state_dict(content, path)


def _check_state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f"teacher.weights: {path}: expected a state dict, got {type(content).__name__}.")
    for name, value in content.items():
        if not isinstance(value, Tensor):
            raise ValueError(
                f"teacher.weights: {path}: expected tensors in the state dict, got {type(value).__name__} at '{name}'. "
                f"A dict around a state dict is understood if it calls that one {' or '.join(NESTED)}."
            )
    return dict(content)


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], *, architecture: str, source: str) -> None:
    """Put weights into a network, all of them and nothing else.

    Prefixes of data parallelism and of our wrappers are understood; a missing ``num_batches_tracked`` is 0.

    Args:
        model: of ``build_network``.
        weights: the state dict of such a network.
        architecture: the network's name, for the message.
        source: where the weights came from, for the message.

    Raises:
        ValueError: naming the first entries that do not fit.
    """
    try:
        # a plain dict: without torch's version tag, BatchNorm forgives a missing num_batches_tracked
        model.load_state_dict(with_own_names(model, weights), strict=True)
    except RuntimeError as error:
        raise ValueError(
            f"teacher.weights: {source} does not fit '{architecture}': {_shorten_misfit(str(error))}. "
            "Is teacher.architecture the network that was trained, with as many classes and channels?"
        ) from error


def with_own_names(model: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights under the names that ``model`` has for them, prefixes of wrappers removed or added."""
    named = dict(weights)
    if all(name.startswith(PARALLEL) for name in named):
        named = {name.removeprefix(PARALLEL): tensor for name, tensor in named.items()}
    is_wrapped = all(name.startswith(WRAPPED) for name in named)
    if isinstance(model, TorchvisionNetwork | TimmNetwork) and not is_wrapped:
        named = {WRAPPED + name: tensor for name, tensor in named.items()}
    return named


def _shorten_misfit(message: str) -> str:
    """Return the first names of each kind in the message of ``load_state_dict``, which lists hundreds."""
    problems, sizes = [], []
    for line in message.splitlines():
        names = re.findall(r'"([^"]+)"', line)
        if "key(s) in state_dict" in line:
            more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
            problems.append(f"{line.split()[0].lower()} {', '.join(names[:NAMES_SHOWN])}{more}")
        elif "size mismatch" in line:
            sizes.append(line.strip().removesuffix("."))
    return "; ".join(problems + sizes[:NAMES_SHOWN]) or message
