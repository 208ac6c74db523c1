"""Architectures that are told by numbers: families of networks whose depth and width are free."""

from __future__ import annotations

import re

#: Layers with weights outside of the blocks; each of the three stages adds two a block.
_LAYERS = {"resnet": 2, "wrn": 4}
FAMILIES = tuple(_LAYERS)


def family_name(family: str, *, blocks: int, width: int) -> str:
    """Return a member's name: ``resnet20_w8`` has 3 blocks a stage and 8 channels in the first, ``wrn_16_2`` 2 and 32.

    Args:
        family: ``resnet`` for small images, or ``wrn``.
        blocks: of each of the three stages.
        width: channels of a resnet's first stage; the widening factor of a wrn, which multiplies 16.
    """
    depth = 6 * blocks + _LAYERS[family]
    return f"resnet{depth}_w{width}" if family == "resnet" else f"wrn_{depth}_{width}"


def parse_family(name: str) -> tuple[str, int, int] | None:
    """Return (family, depth, width) of a member's name, or None if it is none."""
    match = re.fullmatch(r"resnet(\d+)_w(\d+)|wrn_(\d+)_(\d+)", name)
    if match is None:
        return None
    family = "resnet" if match[1] else "wrn"
    depth, width = (int(number) for number in match.groups() if number)
    blocks, rest = divmod(depth - _LAYERS[family], 6)
    even = family == "wrn" or width % 2 == 0  # shortcuts pad half of the new channels on either side
    return (family, depth, width) if blocks >= 1 and rest == 0 and width >= 1 and even else None
