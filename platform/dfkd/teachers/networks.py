"""Networks by name: ours, and torchvision's and timm's as a ``Backbone``."""

from __future__ import annotations

import importlib
import json
from typing import Any
from urllib.parse import parse_qsl

from torch import Tensor, nn

from dfkd.models import build_model
from dfkd.settings.checks import did_you_mean
from dfkd.settings.experiment import PLATFORM_PREFIXES

TORCHVISION, TIMM = PLATFORM_PREFIXES


def build_network(architecture: str, *, num_classes: int, in_channels: int) -> nn.Module:
    """Build a freshly initialised network; it satisfies ``Backbone``.

    Args:
        architecture: a name of ``dfkd.models``, or ``torchvision:<name>`` or ``timm:<name>``. Arguments of timm's
            builder may follow, as in ``timm:vit_tiny_patch16_224?img_size=32&patch_size=4``.
        num_classes: K.
        in_channels: C of an image.

    Raises:
        ValueError: for an unknown name or argument, or a network whose last layer is not Linear.
    """
    if architecture.startswith(TORCHVISION):
        return TorchvisionNetwork(architecture.removeprefix(TORCHVISION), num_classes, in_channels)
    if architecture.startswith(TIMM):
        return TimmNetwork(architecture.removeprefix(TIMM), num_classes, in_channels)
    return build_model(architecture, num_classes=num_classes, in_channels=in_channels)


class TorchvisionNetwork(nn.Module):
    """A classifier of torchvision, unchanged inside; its penultimate features are what enters its last Linear layer."""

    def __init__(self, name: str, num_classes: int, in_channels: int) -> None:
        super().__init__()
        import torchvision  # here: a third of what a worker's start takes, and our own networks do without

        names = torchvision.models.list_models(module=torchvision.models)  # classifiers alone
        if name not in names:
            raise ValueError(
                f"architecture: torchvision has no classifier '{name}'.{did_you_mean(name, names)} "
                f"Valid: {', '.join(names)}."
            )
        self.network: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=num_classes)
        if in_channels != 3:
            _replace_first_convolution(self.network, in_channels)
        linear = [module for module in self.network.named_modules() if isinstance(module[1], nn.Linear)]
        if not linear or linear[-1][1].out_features != num_classes:
            raise ValueError(f"architecture: 'torchvision:{name}' does not end in a Linear layer, which features need.")
        self._classifier_name, classifier = linear[-1]
        self.feature_width: int = classifier.in_features

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images [B, C, H, W] to logits [B, K]."""
        logits: Tensor = self.network(images)
        return logits

    def forward_features(self, images: Tensor) -> Tensor:
        """Map normalised images [B, C, H, W] to penultimate features [B, D]."""
        caught: list[Tensor] = []
        classifier = self.network.get_submodule(self._classifier_name)
        handle = classifier.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
        try:
            self.network(images)
        finally:
            handle.remove()
        return caught[0]

    def classify(self, features: Tensor) -> Tensor:
        """Map penultimate features [B, D] to logits [B, K]."""
        logits: Tensor = self.network.get_submodule(self._classifier_name)(features)
        return logits


class TimmNetwork(nn.Module):
    """A classifier of timm, unchanged inside. timm's own ``forward_features`` is the map before pooling."""

    def __init__(self, name: str, num_classes: int, in_channels: int) -> None:
        super().__init__()
        timm = _import_timm()
        name, arguments = _split_arguments(name)
        if not timm.is_model(name):
            raise ValueError(
                f"architecture: timm {timm.__version__} has no '{name}'.{did_you_mean(name, timm.list_models())} "
                "timm.list_models() lists all."
            )
        own = {"pretrained": False, "num_classes": num_classes, "in_chans": in_channels}
        try:
            self.network: Any = timm.create_model(name, **arguments | own)
        except (TypeError, ValueError, RuntimeError, AssertionError) as error:  # what builders say of bad arguments
            raise ValueError(f"architecture: timm cannot build '{name}' with {arguments}: {error}.") from error
        classifier = self.network.get_classifier()
        if not isinstance(classifier, nn.Linear):
            raise ValueError(f"architecture: 'timm:{name}' does not end in a Linear layer, which features need.")
        self.feature_width: int = classifier.in_features

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images [B, C, H, W] to logits [B, K]."""
        logits: Tensor = self.network(images)
        return logits

    def forward_features(self, images: Tensor) -> Tensor:
        """Map normalised images [B, C, H, W] to penultimate features [B, D]."""
        features: Tensor = self.network.forward_head(self.network.forward_features(images), pre_logits=True)
        return features

    def classify(self, features: Tensor) -> Tensor:
        """Map penultimate features [B, D] to logits [B, K]."""
        logits: Tensor = self.network.get_classifier()(features)
        return logits


def _split_arguments(name: str) -> tuple[str, dict[str, Any]]:
    """Return a network's own name, and the arguments that follow it after a question mark; their values are JSON."""
    own, _, query = name.partition("?")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
        return own, {key: json.loads(value) for key, value in pairs}
    except ValueError as error:
        raise ValueError(
            f"architecture: 'timm:{name}': expected arguments such as img_size=32&patch_size=4 after the question "
            f"mark, each a number, true, false or a list ({error})."
        ) from error


def _import_timm() -> Any:
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        raise ValueError("architecture: 'timm:...' needs the package timm: pip install -e '.[timm]'.") from error


def _replace_first_convolution(network: nn.Module, in_channels: int) -> None:
    """Give the stem another number of input channels; torchvision's builders know only colour images."""
    name, first = next((name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d))
    stem = nn.Conv2d(
        in_channels,
        first.out_channels,
        first.kernel_size,  # type: ignore[arg-type]
        stride=first.stride,  # type: ignore[arg-type]
        padding=first.padding,  # type: ignore[arg-type]
        bias=first.bias is not None,
    )
    parent, _, attribute = name.rpartition(".")
    setattr(network.get_submodule(parent), attribute, stem)
