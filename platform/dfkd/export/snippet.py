"""The Python file that lies beside an exported network and shows its use; it needs nothing of this package."""

from __future__ import annotations

from collections.abc import Sequence

TEMPLATE = '''"""{title}: which class is an image of?

    pip install numpy onnxruntime pillow
    python predict.py image.png another.png

Exported from {source}.
Beside it: model.onnx (float32),{int8} model.pt2 (for torch.export.load).
"""

import sys
from pathlib import Path

import numpy
import onnxruntime
from PIL import Image

CLASS_NAMES = {class_names}
CHANNELS, HEIGHT, WIDTH = {channels}, {height}, {width}
MODEL = "model.onnx"{choice}

session = onnxruntime.InferenceSession(
    Path(__file__).with_name(MODEL).read_bytes(), providers=["CPUExecutionProvider"]
)


def predict(images):
    """Map images, float32 [B, C, H, W] in [0, 1], to the probabilities of the classes, [B, K]."""
    (logits,) = session.run(["logits"], {{"images": images}})
    odds = numpy.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def read_image(file):
    """Read an image file as the network takes it: float32 [C, H, W] in [0, 1]."""
    image = Image.open(file).convert("L" if CHANNELS == 1 else "RGB")
    if image.size != (WIDTH, HEIGHT):
        image = image.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    pixels = numpy.asarray(image, dtype=numpy.float32).reshape(HEIGHT, WIDTH, CHANNELS) / 255
    return pixels.transpose(2, 0, 1)


if __name__ == "__main__":
    for file in sys.argv[1:]:
        (probabilities,) = predict(read_image(file)[None])
        best = probabilities.argmax()
        print(f"{{file}}: {{CLASS_NAMES[best]}} ({{probabilities[best]:.1%}})")
'''


def snippet(
    *, title: str, source: str, class_names: Sequence[str], image_shape: tuple[int, int, int], int8: bool
) -> str:
    """Return the text of ``predict.py``.

    Args:
        title: of the network.
        source: where it was exported from.
        class_names: K names in the order of the logits.
        image_shape: (C, H, W).
        int8: whether ``model.int8.onnx`` lies beside it too.
    """
    channels, height, width = image_shape
    return TEMPLATE.format(
        title=_harmless(title),
        source=_harmless(source),
        class_names=repr(list(class_names)),
        channels=channels,
        height=height,
        width=width,
        int8=" model.int8.onnx (8-bit integers)," if int8 else "",
        choice='  # or "model.int8.onnx"' if int8 else "",
    )


def _harmless(text: str) -> str:
    """Return text that cannot end the docstring that it stands in."""
    return text.replace("\\", "/").replace('"', "'")
