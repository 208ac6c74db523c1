"""ONNX files: written from a network, and quantised to 8-bit integers by onnxruntime."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

INPUT, OUTPUT = "images", "logits"  # names of a file's one input and one output
PACKAGES = ("onnx", "onnxruntime", "onnxscript")  # the last is torch's, which writes ONNX with it


def require_onnx(wanted_by: str) -> None:
    """Raise ValueError unless the packages for ONNX are installed.

    Args:
        wanted_by: the setting or option that asks for them, for the message.
    """
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise ValueError(f"{wanted_by}: needs {' and '.join(missing)}: pip install -e '.[export]'.")


def write_onnx(network: nn.Module, file: Path, *, example: Tensor) -> None:
    """Write a network as ONNX, with a free batch size and the names ``images`` and ``logits``.

    Args:
        network: maps images [B, C, H, W] to logits [B, K]; neither moved nor changed, written in evaluation mode.
        file: where to.
        example: [B, C, H, W] float32 on the CPU, B at least 2: of one image, the batch size would be fixed.

    Raises:
        ValueError: ``torch.onnx`` cannot write the network.
    """
    plain = copy.deepcopy(network).to("cpu", torch.float32).eval()
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                plain,
                (example,),
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: "batch"},),
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # export raises anything
        raise ValueError(f"export: this network cannot be written as ONNX: {_first_line(error)}") from error
    assert program is not None
    for node in program.model.graph.all_nodes():  # else the file would name our classes and this machine's folders
        node.metadata_props.clear()
    program.save(file)


def quantise_file(source: Path, target: Path, batches: Iterable[Tensor]) -> None:
    """Write a copy of an ONNX file with 8-bit weights (a scale a channel) and activations (a scale a tensor).

    BatchNorm is folded into the convolution before it. Activations get the range that they have on the batches. Both
    are unsigned: with signed weights onnxruntime's kernels for CPUs without VNNI instructions add pairs of products in
    16 bits, which overflow without a word, and the file would give other answers on other machines.

    Args:
        source: of ``write_onnx``.
        target: where to.
        batches: images [B, C, H, W] float32 on the CPU, as the network takes them.

    Source: Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference,
    CVPR 2018, without training; onnxruntime's static quantisation, whose guide names the overflow and this way out.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    folded = target.with_suffix(".folded")
    try:
        with _quiet():
            quant_pre_process(str(source), str(folded), skip_symbolic_shape=True)  # it knows no free batch size
            quantize_static(
                str(folded),
                str(target),
                _Batches(iter(batches)),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QUInt8,
                per_channel=True,
                calibrate_method=CalibrationMethod.MinMax,
            )
    finally:
        folded.unlink(missing_ok=True)


class _Batches:
    """What onnxruntime calls a ``CalibrationDataReader``."""

    def __init__(self, batches: Iterator[Tensor]) -> None:
        self._batches = batches

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch.numpy()}


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what torch 2.14 and onnxruntime 1.32 warn of in every export: their own deprecations and advice."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
