"""Networks in files that other programs run: ONNX, in float32 and in 8-bit integers. Needs the extra ``[export]``."""

from __future__ import annotations

from dfkd.export.onnx_file import quantise_file, require_onnx, write_onnx
from dfkd.export.onnx_network import OnnxNetwork
from dfkd.export.snippet import snippet

__all__ = ["OnnxNetwork", "quantise_file", "require_onnx", "snippet", "write_onnx"]
