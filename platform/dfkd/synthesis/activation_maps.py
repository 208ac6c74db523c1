"""Class activation maps of a network that is seen at work: where it looks for which class."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from dfkd.feature_maps import FeatureMaps, blank_image, in_evaluation
from dfkd.losses.activation_region import class_activation_maps, grad_cam
from dfkd.synthesis.classifier import find_classifier

PROBE_IMAGES = 4
Size = tuple[int, int]


class ActivationMaps:
    """Activation maps of the newest pass, while the network is hooked (``with maps:``).

    Serves networks that end in a global average over a feature map (or over its ReLU) and one Linear layer: the
    ResNets, Wide ResNets and VGG of this package and most convolutional classifiers of torchvision and timm. It cannot
    serve those that flatten a map (LeNet-5), have several Linear layers at the end (torchvision's VGG and AlexNet),
    pool otherwise, or have no maps (transformers, ``.pt2`` archives).

    Args:
        network: maps normalised images [B, C, H, W] to logits [B, K].
        image_shape: (C, H, W).
        role: "teacher" or "student", for messages.
        starts_graph: for a frozen network, whose logits are to be differentiated by its maps all the same.

    Attributes:
        sizes: (h, w) of every map of more than one place, in the order of the pass.
        last: (h, w) of the map that is averaged and classified.

    Raises:
        ValueError: for a network that it cannot serve.
    """

    def __init__(
        self, network: nn.Module, image_shape: tuple[int, int, int], *, role: str, starts_graph: bool = False
    ) -> None:
        self._maps = FeatureMaps(network, image_shape, hooked=False, starts_graph=starts_graph)
        self._classifier = find_classifier(network, image_shape, wanted_by=f"spaceshipnet: mSARC ({role})")
        self.sizes = tuple(size for size in self._maps.sizes if size != (1, 1))
        found = self._find_averaged(network, image_shape)
        if found is None:
            raise ValueError(
                f"spaceshipnet: mSARC compares class activation maps, and the {role} {type(network).__name__} does not "
                "average a feature map of more than one place before its last Linear layer. Take such a network (the "
                "ResNets, Wide ResNets and VGG of this package are), or set synthesis.weights.class_maps and "
                "synthesis.weights.grad_cams to 0."
            )
        self.last, self._rectified = found

    def _find_averaged(self, network: nn.Module, image_shape: tuple[int, int, int]) -> tuple[Size, bool] | None:
        """Try which map (True: which map's ReLU) has the classifier's inputs as its means over places."""
        blank = blank_image(network, image_shape)
        random = torch.Generator(device=blank.device).manual_seed(0)
        images = torch.randn(PROBE_IMAGES, *image_shape, generator=random, device=blank.device, dtype=blank.dtype)
        entered: list[Tensor] = []

        def note(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
            entered.append(inputs[0])

        handle = self._classifier.register_forward_pre_hook(note)
        try:
            with in_evaluation(network), self._maps as maps:
                network(images)
                latest = {size: maps.latest[size].detach() for size in self.sizes}
        finally:
            handle.remove()
        for size in reversed(self.sizes):
            for rectified in (False, True):
                feature_map = F.relu(latest[size]) if rectified else latest[size]
                means = feature_map.mean(dim=(2, 3))
                if means.shape == entered[-1].shape and torch.allclose(means, entered[-1], rtol=1e-3, atol=1e-5):
                    return size, rectified
        return None

    def __enter__(self) -> ActivationMaps:
        self._maps.open()
        return self

    def __exit__(self, *_: object) -> None:
        self._maps.close()

    def class_maps(self) -> Tensor:
        """Return the class activation maps [B, K, h, w]. The classifier's weights get no gradient from them."""
        feature_map = self._maps.latest[self.last]
        return class_activation_maps(
            F.relu(feature_map) if self._rectified else feature_map, self._classifier.weight.detach()
        )

    def grad_cams(self, logits: Tensor, classes: Tensor, sizes: tuple[Size, ...]) -> list[Tensor]:
        """Return the Grad-CAM [B, h, w] of every size, for one class [B] an image.

        The maps have whatever gradient the pass has; the weights of the channels have none.
        """
        maps = [self._maps.latest[size] for size in sizes]
        of_class = F.one_hot(classes, logits.shape[1]).to(logits.dtype)
        gradients = torch.autograd.grad(
            logits, maps, grad_outputs=of_class, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        return [grad_cam(one, gradient) for one, gradient in zip(maps, gradients, strict=True)]
