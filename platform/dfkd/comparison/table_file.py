"""A leaderboard as programs read it: one Parquet table."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dfkd.comparison.leaderboard import Line
from dfkd.comparison.statistics import Interval


def parquet(lines: Sequence[Line]) -> bytes:
    """Return the leaderboard as one Parquet table, a row a line."""
    rows = [_flat(line) for line in lines]
    names = dict.fromkeys(name for row in rows for name in row)
    columns = pa.table({name: [row.get(name) for row in rows] for name in names})
    buffer = io.BytesIO()
    pq.write_table(columns, buffer)
    return buffer.getvalue()


def _flat(line: Line) -> dict[str, Any]:
    names = ("pair", "fraction", "row", "column", "title", "prior")
    row: dict[str, Any] = {name: getattr(line, name) for name in names}
    row |= {"teacher_score": line.teacher_score, "warm_up_share": line.warm_up_share}
    for name in ("score", "ratio", "agreement", "best_epoch"):
        interval: Interval = getattr(line, name)
        row |= {"n": interval.n, name: interval.mean, f"{name}_half_width": interval.half_width}
    if line.difference is not None:
        row |= {"difference": line.difference.interval.mean, "pairs": line.difference.interval.n}
        row |= {"difference_low": line.difference.interval.low, "difference_high": line.difference.interval.high}
        row |= {"p_value": line.difference.p_value, "p_value_holm": line.p_value}
        row |= {"detectable": line.difference.detectable}
    for name, opens in line.backdoor.items():
        row |= {f"backdoor/{name}": opens.mean, f"backdoor/{name}_half_width": opens.half_width}
    for name, each in line.transfer.items():
        row |= {f"transfer/{name}": each.score.mean, f"transfer/{name}_half_width": each.score.half_width}
        row |= {f"transfer/{name}_n": each.score.n, f"transfer/{name}_p_value_holm": each.p_value}
        row |= {f"transfer/{name}_blind": each.blind}
        row |= {} if math.isnan(each.teacher) else {f"transfer/{name}_teacher": each.teacher}
        if each.difference is not None:
            row |= {f"transfer/{name}_difference": each.difference.interval.mean}
            row |= {f"transfer/{name}_difference_low": each.difference.interval.low}
            row |= {f"transfer/{name}_difference_high": each.difference.interval.high}
    for group in ("seconds", "macs", "peak_memory"):
        row |= {f"{group}/{name}": value for name, value in getattr(line, group).items()}
    for share, found in line.reached.items():
        row |= {f"reached_{share:g}/{name}": value for name, value in found.median.items()}
        row |= {f"reached_{share:g}/runs": found.reached, f"reached_{share:g}/pairs": found.pairs}
        row |= {f"reached_{share:g}/of_pairs": found.of_pairs}
        if found.ratio is not None:
            ends = zip(("ratio", "ratio_low", "ratio_high"), found.ratio, strict=True)
            row |= {f"reached_{share:g}/{name}": value for name, value in ends}
    return row | {name: "; ".join(getattr(line, name)) for name in ("collapsed", "failed", "notes")}
