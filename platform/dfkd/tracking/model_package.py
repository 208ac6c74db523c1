"""The files of one registered version: an export for everyone, and weights with their metadata for our own code.

``data/model.pt2`` takes float32 images [B, C, H, W] in [0, 1] and returns logits [B, K], with the normalisation
inside, and needs nothing but torch. It is a fixed graph: retraining, features and BatchNorm statistics need the
network itself, so ``model.safetensors`` holds its state dict, and the file's metadata say which network it is.
"""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from dfkd.teachers.loading import WEIGHTS_FILE

DESCRIPTION_FILE = "model.json"
CARD_FILE = "card.md"
CHECKED_BATCHES = (1, 3, 17)
TOLERANCE = 1e-5  # of the largest logit, at least 1


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelDescription:
    """What a state dict does not say of its network.

    Attributes:
        architecture: name in ``dfkd.models``, or torchvision's or timm's with its prefix.
        class_names: K names in the order of the logits.
        mean: per channel, of images in [0, 1].
        std: per channel, of images in [0, 1].
        image_shape: (C, H, W).
    """

    architecture: str
    class_names: Sequence[str]
    mean: Sequence[float]
    std: Sequence[float]
    image_shape: tuple[int, int, int]

    def metadata(self) -> dict[str, str]:
        """Return it as the metadata of a safetensors file, under the keys that teacher files use."""
        channels, height, width = self.image_shape
        return {
            "architecture": self.architecture,
            "class_names": json.dumps(list(self.class_names)),
            "num_classes": str(len(self.class_names)),
            "input_mean": json.dumps(list(self.mean)),
            "input_std": json.dumps(list(self.std)),
            "input_size": str(height) if height == width else json.dumps([height, width]),
            "channels": str(channels),
        }


class ImageClassifier(nn.Module):
    """A network with its normalisation in front: images [B, C, H, W] in [0, 1] -> logits [B, K]."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, *, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1))  # [C, 1, 1]
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(-1, 1, 1))  # [C, 1, 1]

    def forward(self, images: Tensor) -> Tensor:
        """Map images [B, C, H, W] in [0, 1] to logits [B, K]."""
        logits: Tensor = self.network((images - self.mean) / self.std)
        return logits


def export_classifier(model: nn.Module, description: ModelDescription) -> nn.Module:
    """Return the graph of ``export_program``."""
    return export_program(image_classifier(model, description), description).module()


def image_classifier(model: nn.Module, description: ModelDescription) -> ImageClassifier:
    """Return a copy of a model with its normalisation, on the CPU, in float32 and evaluation mode."""
    network = copy.deepcopy(model).to("cpu", torch.float32).eval()
    return ImageClassifier(network, mean=description.mean, std=description.std).eval()


def export_program(classifier: ImageClassifier, description: ModelDescription) -> torch.export.ExportedProgram:
    """Return a program that maps images in [0, 1] to logits, in batches of any size.

    Args:
        classifier: of ``image_classifier``.
        description: of its model.

    Raises:
        ValueError: the model cannot be exported, or the program does not give the model's logits [B, K].
    """
    example = torch.full((2, *description.image_shape), 0.5)
    try:
        program = torch.export.export(classifier, (example,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
        for node in program.graph.nodes:  # else the archive would name our classes and this machine's folders
            node.meta.pop("stack_trace", None)
            node.meta.pop("nn_module_stack", None)
        graph = program.module()
    except Exception as error:
        raise ValueError(
            f"export: torch.export cannot export '{description.architecture}' with a free batch size: {error}"
        ) from error
    _check_same_logits(graph, classifier, description)
    return program


@torch.no_grad()
def _check_same_logits(graph: nn.Module, classifier: nn.Module, description: ModelDescription) -> None:
    generator = torch.Generator().manual_seed(0)
    for batch_size in CHECKED_BATCHES:
        images = torch.rand(batch_size, *description.image_shape, generator=generator)
        expected, actual = classifier(images), graph(images)
        num_classes = len(description.class_names)
        if expected.shape != (batch_size, num_classes):
            raise ValueError(
                f"export: expected logits [{batch_size}, {num_classes}], one a class name, "
                f"got {list(expected.shape)} from '{description.architecture}'."
            )
        difference = (expected - actual).abs().max().item()
        if not difference <= TOLERANCE * max(1.0, expected.abs().max().item()):
            raise ValueError(
                f"export: the exported '{description.architecture}' differs from the model by {difference:g} "
                f"in a batch of {batch_size}; are its logits finite, and the same for the same images?"
            )


def write_package(
    folder: Path, *, model: nn.Module, graph: nn.Module, description: ModelDescription, card: str, mlflow_model: Any
) -> None:
    """Write all files of a version into ``folder``, which must not exist.

    Args:
        folder: becomes an MLflow model of the ``pytorch`` flavour with our files beside.
        model: in normalised-input form; its state dict is written.
        graph: of ``export_classifier``.
        description: of the model.
        card: Markdown.
        mlflow_model: an ``mlflow.models.Model`` that says which run and logged model this is.
    """
    import mlflow.pytorch
    import numpy
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    float32 = numpy.dtype("float32")
    images = TensorSpec(float32, (-1, *description.image_shape))
    logits = TensorSpec(float32, (-1, len(description.class_names)))
    torch_version, mlflow_version = torch.__version__.partition("+")[0], mlflow.__version__
    with warnings.catch_warnings():
        # torch 2.14 warns of weights that share storage; the package is loaded and compared in our tests.
        warnings.filterwarnings("ignore", message="No complete tensor found in the group")
        mlflow.pytorch.save_model(
            graph,
            str(folder),
            mlflow_model=mlflow_model,
            signature=ModelSignature(inputs=Schema([images]), outputs=Schema([logits])),
            # of two images: of one, the batch size would be fixed
            input_example=numpy.full((2, *description.image_shape), 0.5, float32),
            pip_requirements=[f"mlflow=={mlflow_version}", f"torch=={torch_version}"],
            serialization_format="pt2",
        )
    state = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, folder / WEIGHTS_FILE, metadata=description.metadata())
    sizes = {"parameters": sum(parameter.numel() for parameter in model.parameters())}
    (folder / DESCRIPTION_FILE).write_text(json.dumps(description.metadata() | sizes, indent=2) + "\n")
    (folder / CARD_FILE).write_text(card)


def read_weights(file: Path) -> tuple[dict[str, Tensor], Mapping[str, str]]:
    """Return state dict and metadata of a safetensors file; nothing is unpickled."""
    with safe_open(file, framework="pt") as weights:
        metadata = dict(weights.metadata() or {})
        return {name: weights.get_tensor(name) for name in weights.keys()}, metadata  # noqa: SIM118
