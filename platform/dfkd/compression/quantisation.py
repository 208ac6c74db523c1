"""Post-training static quantisation of a network to 8-bit integers, by onnxruntime."""

from __future__ import annotations

import tempfile
from pathlib import Path

from torch import Tensor, nn

from dfkd.export import OnnxNetwork, quantise_file, write_onnx

_IMAGES_AT_A_TIME = 64


def quantise(network: nn.Module, images: Tensor) -> OnnxNetwork:
    """Return a copy with 8-bit weights and activations; see ``quantise_file``.

    Args:
        network: maps normalised images [B, C, H, W] to logits [B, K].
        images: [N, C, H, W], normalised, on the CPU, N at least 2; the ranges of activations are measured on them.

    Raises:
        ValueError: the network cannot be written as ONNX.
    """
    with tempfile.TemporaryDirectory() as folder:
        exact, rounded = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        write_onnx(network, exact, example=images[:2])
        quantise_file(exact, rounded, images.split(_IMAGES_AT_A_TIME))
        return OnnxNetwork(rounded.read_bytes())
