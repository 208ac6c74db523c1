"""Settings of CMI and its published presets."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from dfkd.settings.checks import check_at_least, check_choice, check_each, check_positive
from dfkd.settings.synthesis.method import BankedSettings
from dfkd.settings.synthesis.parts import SynthesisWeights


@dataclass(frozen=True, kw_only=True, slots=True)
class InstanceContrastSettings:
    """CMI's contrast of an image's two views among new and remembered images.

    ``features`` says what of the teacher is contrasted, averaged over pixels: what enters every BatchNorm layer
    (``batch_norm``), or the last feature map of every resolution (``resolutions``), a small part of that to remember
    where a network is deep.
    """

    weight: float = 0.8  # cr
    temperature: float = 0.2  # t; the scripts have 0.1 and 0.2
    width: int = 256  # P, of the projection
    num_remembered: int = 4096  # former images in the contrast of a step
    memory_capacity: int = 40_960  # former images of one worker whose features are kept
    smallest_view: float = 0.25  # of the image's area, in the local view
    features: Literal["batch_norm", "resolutions"] = "batch_norm"

    def __post_init__(self) -> None:
        check_at_least("weight", self.weight, 0)
        check_each(self, check_positive, "temperature", "smallest_view")
        check_each(self, lambda name, value: check_at_least(name, value, 1), "width", "memory_capacity")
        check_at_least("num_remembered", self.num_remembered, 0)
        check_choice("features", self.features, ("batch_norm", "resolutions"))
        if self.smallest_view > 1:
            raise ValueError(f"smallest_view: expected a share of the image, at most 1, got {self.smallest_view!r}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class ContrastiveInversionSettings(BankedSettings):
    """CMI. Defaults: the public scripts/cmi/cmi_cifar10.sh, but for the bank (see ``PRESETS``)."""

    TITLE: ClassVar[str] = "CMI"

    method: Literal["cmi"] = "cmi"
    weights: SynthesisWeights = field(
        default_factory=lambda: SynthesisWeights(one_hot=1.0, batch_norm=1.0, adversarial=0.5)
    )
    contrast: InstanceContrastSettings = field(default_factory=InstanceContrastSettings)
    latent_width: int = 256  # Z
    batch_size: int = 256
    generator_steps: int = 200
    learning_rate: float = 1e-3  # of generator, latents and head
    warm_up_epochs: int = 0
    rounds_per_epoch: int = 1

    def __post_init__(self) -> None:
        BankedSettings.__post_init__(self)
        check_at_least("latent_width", self.latent_width, 1)

    @property
    def batch_norm_weight(self) -> float:
        """Weight of the BatchNorm statistics."""
        return self.weights.batch_norm

    @property
    def growing_rounds(self) -> int:
        """Rounds until as many images are remembered as a step contrasts."""
        return math.ceil(self.contrast.num_remembered / self.batch_size)


def _preset(*, temperature: float, batch_size: int) -> dict[str, dict[str, Any]]:
    return {
        "synthesis": {
            "method": "cmi",
            "generator_steps": 200,
            "learning_rate": 1e-3,
            "batch_size": 256,
            "warm_up_epochs": 0,
            "rounds_per_epoch": 1,
            "bank_capacity": 51_200,  # every image of 200 epochs
            "weights": {"one_hot": 1.0, "batch_norm": 1.0, "adversarial": 0.5},
            "contrast": {"weight": 0.8, "temperature": temperature},
        },
        "distillation": {
            "epochs": 200,
            "steps_per_epoch": 400,
            "batch_size": batch_size,
            "learning_rate": 0.1,
            "temperature": 20.0,
        },
    }


#: Those of the public scripts that begin without images: ``cmi_cifar10`` is scripts/cmi/cmi_cifar10.sh, and
#: ``cmi_scratch_cifar10`` scripts/cmi/scratch_cmi_cifar10_wrn402_wrn161.sh. The published tables rest on some 50,000
#: images that were inverted before, in runs without the adversarial term.
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "cmi_cifar10": _preset(temperature=0.2, batch_size=256),
    "cmi_scratch_cifar10": _preset(temperature=0.1, batch_size=128),
}
