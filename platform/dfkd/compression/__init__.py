"""The teacher itself made smaller, calibrated on synthetic images: what a student has to be better than."""

from __future__ import annotations

from dfkd.compression.pruning import prune, pruned_bytes, sparsity_for
from dfkd.compression.quantisation import quantise
from dfkd.compression.size import num_bytes
from dfkd.compression.versions import Compressed, check_compressible, compress

__all__ = [
    "Compressed",
    "check_compressible",
    "compress",
    "num_bytes",
    "prune",
    "pruned_bytes",
    "quantise",
    "sparsity_for",
]
