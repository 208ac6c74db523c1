"""How long a phase of a search will still take."""

from __future__ import annotations

import heapq
from collections.abc import Sequence


def seconds_left(*, mean_seconds: float, running: Sequence[float], to_start: int, concurrency: int) -> float:
    """Return the seconds until the last trial ends, if each takes the mean and starts as soon as there is room.

    Args:
        mean_seconds: of a trial that ran to its end.
        running: of each running trial, the share in [0, 1] that is still to do.
        to_start: trials that have not started.
        concurrency: trials that run at a time.
    """
    places = [share * mean_seconds for share in running]
    places += [0.0] * (max(1, concurrency) - len(places))
    heapq.heapify(places)  # when each place is free, the earliest first
    for _ in range(to_start):
        heapq.heapreplace(places, places[0] + mean_seconds)
    return max(places)
