"""``ImageBank``: the bounded store of synthetic images with label and noise source, on the training device."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class BankSample(NamedTuple):
    """Images [B, C, H, W] in [0, 1], labels [B] and noise sources [B]."""

    images: Tensor
    labels: Tensor
    sources: Tensor


class _Cells(NamedTuple):
    """The bank's rows sorted by cell (label * N + source), and where in them each cell starts and how many it has."""

    rows: Tensor
    starts: Tensor
    counts: Tensor


class ImageBank:
    """A ring of ``capacity`` uint8 images: the oldest make room. 50,000 images of 3x32x32 are 154 MB.

    Storage grows by doubling up to the capacity, so that a short run stays small.
    """

    def __init__(
        self, *, capacity: int, image_shape: tuple[int, int, int], num_sources: int, device: torch.device
    ) -> None:
        self.capacity = capacity
        self.num_sources = num_sources
        self._images = torch.empty((0, *image_shape), dtype=torch.uint8, device=device)
        self._labels = torch.empty(0, dtype=torch.int64, device=device)
        self._sources = torch.empty(0, dtype=torch.int64, device=device)
        self._num_added = 0  # ever; the write position is this modulo the capacity
        self._cells: _Cells | None = None  # of the rows as they are; made when first asked for

    def __len__(self) -> int:
        return min(self._num_added, self.capacity)

    @property
    def num_added(self) -> int:
        """Number of images ever added, those already overwritten included."""
        return self._num_added

    def add(self, images: Tensor, labels: Tensor, sources: Tensor) -> None:
        """Store images [B, C, H, W] in [0, 1] (rounded to 8 bits), labels [B] and sources [B]."""
        batch = len(images)
        if batch > self.capacity:
            raise ValueError(f"bank_capacity: expected at least one batch ({batch} images), got {self.capacity}.")
        self._reserve(min(self._num_added + batch, self.capacity))
        position = torch.arange(self._num_added, self._num_added + batch, device=labels.device) % self.capacity
        self._images[position] = images.mul(255).round_().to(torch.uint8)
        self._labels[position] = labels
        self._sources[position] = sources
        self._num_added += batch
        self._cells = None

    def sample(self, batch_size: int, *, generator: torch.Generator) -> BankSample:
        """Draw a batch of B images uniformly, with replacement. The bank must not be empty."""
        rows = torch.randint(len(self), (batch_size,), generator=generator, device=self._labels.device)
        return self._rows(rows)

    def sample_balanced(self, batch_size: int, *, num_classes: int, generator: torch.Generator) -> BankSample:
        """Draw a class-balanced batch with at least two noise sources a class, as CNCL wants it.

        Every class comes up equally often (within one image), at least twice; where that does not fit, a random subset
        of the classes does. Within a class the sources take turns from a random start. A (class, source) that the bank
        lacks is replaced by a uniform draw.
        """
        device = self._labels.device
        classes_in_batch = min(num_classes, max(1, batch_size // 2))
        classes = torch.randperm(num_classes, generator=generator, device=device)[:classes_in_batch]
        turns = torch.arange(batch_size, device=device)
        labels = classes[turns % classes_in_batch]
        start = torch.randint(self.num_sources, (classes_in_batch,), generator=generator, device=device)
        sources = (start[turns % classes_in_batch] + turns // classes_in_batch) % self.num_sources
        return self._rows(self._draw_from_cells(labels * self.num_sources + sources, num_classes, generator))

    def _draw_from_cells(self, wanted: Tensor, num_classes: int, generator: torch.Generator) -> Tensor:
        """Return for every wanted cell (label * N + source) the row of a random image of that cell."""
        size = len(self)
        if self._cells is None or len(self._cells.counts) < num_classes * self.num_sources:
            self._cells = self._index_cells(num_classes)
        rows, starts, counts = self._cells
        uniform = torch.rand(2, len(wanted), generator=generator, device=wanted.device)
        within = (uniform[0] * counts[wanted]).long()
        from_cell = rows[(starts[wanted] + within).clamp_max(size - 1)]
        anywhere = (uniform[1] * size).long()
        return torch.where(counts[wanted] > 0, from_cell, anywhere)

    def _index_cells(self, num_classes: int) -> _Cells:
        """Sort the rows by cell. Counting stops a device's pipeline, so it is done once after images were added."""
        cells = self._labels[: len(self)] * self.num_sources + self._sources[: len(self)]
        counts = torch.bincount(cells, minlength=num_classes * self.num_sources)
        return _Cells(rows=cells.argsort(stable=True), starts=counts.cumsum(0) - counts, counts=counts)

    def _rows(self, rows: Tensor) -> BankSample:
        return BankSample(self._images[rows].float().div_(255), self._labels[rows], self._sources[rows])

    def latest(self, count: int) -> Tensor:
        """Return the newest ``count`` images as uint8 [count, C, H, W], oldest first."""
        count = min(count, len(self))
        position = torch.arange(self._num_added - count, self._num_added, device=self._labels.device)
        return self._images[position % self.capacity]

    def _reserve(self, rows: int) -> None:
        if rows <= len(self._images):
            return
        grown = min(max(rows, 2 * len(self._images)), self.capacity)
        for name in ("_images", "_labels", "_sources"):
            old = getattr(self, name)
            new = old.new_zeros((grown, *old.shape[1:]))
            new[: len(old)] = old
            setattr(self, name, new)

    def state_dict(self) -> dict[str, Tensor | int]:
        """Return the filled part of the bank and its write position."""
        size = len(self)
        return {
            "images": self._images[:size].clone(),
            "labels": self._labels[:size].clone(),
            "sources": self._sources[:size].clone(),
            "num_added": self._num_added,
        }

    def load_state_dict(self, state: dict[str, Tensor | int]) -> None:
        """Restore what ``state_dict`` gave."""
        device = self._labels.device
        for name in ("images", "labels", "sources"):
            value = state[name]
            assert isinstance(value, Tensor)
            setattr(self, f"_{name}", value.to(device).clone())
        self._num_added = int(state["num_added"])
        self._cells = None
