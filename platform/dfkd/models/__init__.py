"""Teacher and student networks of the field's benchmark pairs: one family a file, ``MODELS`` by name."""

from __future__ import annotations

from torch import nn

from dfkd.models.digits import digits_student, digits_teacher
from dfkd.models.lenet import lenet5
from dfkd.models.protocol import Backbone, Builder
from dfkd.models.resnet import resnet18, resnet34
from dfkd.models.resnet_cifar import resnet8, resnet20, resnet32, resnet44, resnet56
from dfkd.models.vgg import vgg11
from dfkd.models.wide_resnet import wrn_16_1, wrn_16_2, wrn_40_1, wrn_40_2
from dfkd.settings.checks import check_choice

__all__ = ["MODELS", "Backbone", "Builder", "build_model"]

MODELS: dict[str, Builder] = {
    "lenet5": lenet5,
    "resnet8": resnet8,
    "resnet20": resnet20,
    "resnet32": resnet32,
    "resnet44": resnet44,
    "resnet56": resnet56,
    "resnet18": resnet18,
    "resnet34": resnet34,
    "wrn_16_1": wrn_16_1,
    "wrn_16_2": wrn_16_2,
    "wrn_40_1": wrn_40_1,
    "wrn_40_2": wrn_40_2,
    "vgg11": vgg11,
    "digits_teacher": digits_teacher,
    "digits_student": digits_student,
}


def build_model(name: str, *, num_classes: int, in_channels: int) -> nn.Module:
    """Build a freshly initialised network of ``MODELS``; it satisfies ``Backbone``.

    Args:
        name: a key of ``MODELS``.
        num_classes: K.
        in_channels: C of an image.

    Raises:
        ValueError: for a name that ``MODELS`` lacks.
    """
    check_choice("architecture", name, tuple(MODELS))
    return MODELS[name](num_classes, in_channels)
