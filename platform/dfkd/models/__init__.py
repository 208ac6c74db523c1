"""Teacher and student networks of the field's benchmark pairs: one family a file, ``MODELS`` by name."""

from __future__ import annotations

from torch import nn

from dfkd.models.digits import digits_student, digits_teacher
from dfkd.models.lenet import lenet5
from dfkd.models.protocol import Backbone, Builder
from dfkd.models.resnet import resnet18, resnet34
from dfkd.models.resnet_cifar import CifarResNet, resnet8, resnet20, resnet32, resnet44, resnet56
from dfkd.models.vgg import vgg11
from dfkd.models.wide_resnet import WideResNet, wrn_16_1, wrn_16_2, wrn_40_1, wrn_40_2
from dfkd.settings.checks import check_choice
from dfkd.settings.families import parse_family

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


#: Of networks that compute something else under the same name, with weights of the same shapes, than they once did.
REVISIONS = {"digits_teacher": 2}


def build_model(name: str, *, num_classes: int, in_channels: int) -> nn.Module:
    """Build a freshly initialised network of ``MODELS`` or of a family; it satisfies ``Backbone``.

    Args:
        name: a key of ``MODELS``, or a family's member such as ``resnet14_w8`` or ``wrn_10_1``.
        num_classes: K.
        in_channels: C of an image.

    Raises:
        ValueError: for a name that ``MODELS`` lacks.
    """
    if name not in MODELS and (member := parse_family(name)) is not None:
        family, depth, width = member
        if family == "resnet":
            return CifarResNet(depth, num_classes, in_channels, width=width)
        return WideResNet(depth, width, num_classes, in_channels)
    check_choice("architecture", name, tuple(MODELS))
    return MODELS[name](num_classes, in_channels)
