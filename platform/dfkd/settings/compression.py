"""Settings of making the teacher itself smaller, in place of a student."""

from __future__ import annotations

from dataclasses import dataclass

from dfkd.settings.checks import check_fraction

CALIBRATION_IMAGES = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class CompressionSettings:
    """Which smaller versions of a teacher are scored."""

    sparsities: tuple[float, ...] = (0.5, 0.8)  # shares of the weights that pruning sets to zero
    match_student: bool = True  # also prune to the student's size in bytes
    int8: bool = True  # also quantise

    def __post_init__(self) -> None:
        for sparsity in self.sparsities:
            check_fraction("sparsities", sparsity)
        if len(set(self.sparsities)) < len(self.sparsities):
            raise ValueError(f"sparsities: expected each at most once, got {list(self.sparsities)}.")
