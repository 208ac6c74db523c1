"""Load a registered model and print its logits, in a process that can import MLflow, torch and what they need alone.

Arguments: tracking URI, model URI, file of images (.npy), file for logits (.npy).
"""

from __future__ import annotations

import importlib.abc
import sys
from collections.abc import Sequence
from importlib.machinery import BuiltinImporter, FrozenImporter, ModuleSpec, PathFinder
from types import ModuleType

FORBIDDEN = (
    "dfkd", "ray", "optuna", "torchvision", "safetensors", "timm", "sentence_transformers", "plotly",
)  # fmt: skip


class ThinEnvironment(importlib.abc.MetaPathFinder):
    """Finds what the path has, but for the packages that would not be there."""

    find_distributions = PathFinder.find_distributions

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        return None if name.partition(".")[0] in FORBIDDEN else PathFinder.find_spec(name, path, target)


sys.meta_path = [BuiltinImporter, FrozenImporter, ThinEnvironment]
sys.path = [entry for entry in sys.path if not entry.rstrip("/").endswith("platform")]

import mlflow  # noqa: E402
import numpy  # noqa: E402
import torch  # noqa: E402

tracking_uri, model_uri, images_file, logits_file = sys.argv[1:]
mlflow.set_tracking_uri(tracking_uri)
model = mlflow.pytorch.load_model(model_uri)
images = numpy.load(images_file)
logits = [model(torch.from_numpy(images[:batch_size])).detach().numpy() for batch_size in (1, 3, 17)]
numpy.save(logits_file, numpy.concatenate(logits))
assert not [name for name in sys.modules if name.partition(".")[0] in FORBIDDEN]
