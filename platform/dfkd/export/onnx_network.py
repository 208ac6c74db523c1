"""An ONNX file as a network: it is judged like any student, by what onnxruntime really computes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dfkd.export.onnx_file import INPUT, OUTPUT


class OnnxNetwork(nn.Module):
    """Runs on the CPU with as many threads as torch has, without gradients. It copies and pickles as the file.

    Args:
        content: the bytes of a file of ``write_onnx`` or ``quantise_file``.
    """

    def __init__(self, content: bytes) -> None:
        import onnxruntime

        super().__init__()
        self.content = content
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def forward(self, images: Tensor) -> Tensor:
        """Map images [B, C, H, W], as the file takes them, to logits [B, K] on the device of the images."""
        pixels = images.detach().to("cpu", torch.float32).contiguous().numpy()
        (logits,) = self._session.run([OUTPUT], {INPUT: pixels})
        return torch.from_numpy(logits).to(images.device)

    def num_bytes(self) -> int:
        """Return the bytes of all numbers in the file: weights, their scales, biases and the rest; not the graph."""
        import onnx
        from onnx.numpy_helper import to_array

        tensors = onnx.load_model_from_string(self.content).graph.initializer
        return sum(int(to_array(tensor).nbytes) for tensor in tensors)

    def __reduce__(self) -> tuple[Callable[[bytes], OnnxNetwork], tuple[bytes]]:
        return OnnxNetwork, (self.content,)
