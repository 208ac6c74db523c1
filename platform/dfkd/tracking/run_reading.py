"""Reading runs back from MLflow: a run by any of its names, its children, curves, files and pictures."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfkd.settings.checks import did_you_mean
from dfkd.tracking.connection import import_mlflow
from dfkd.tracking.mlflow_store import RUN_KEY_TAG

PARENT_TAG, DESCRIPTION_TAG, SEARCH_TAG = "mlflow.parentRunId", "mlflow.note.content", "dfkd.search_id"
PAGE = 1000  # runs
SUGGESTED, SAME_NAMES = 50, 50  # runs that an error compares a name with; that resemble one
SERIES = re.compile(r"images/(?P<key>.+)\+step\+(?P<step>\d+)\+timestamp\+\d+\+\w+\.png")  # as RunTracker names them


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedRun:
    """A run as MLflow has it.

    Attributes:
        run_id: MLflow's own.
        name: as lists show it.
        status: MLflow's word.
        began: milliseconds since 1970.
        seconds: until its end; None while it is open.
        params: settings, as text.
        tags: all of them.
        metrics: the last point of each curve.
    """

    run_id: str
    name: str
    status: str
    began: int
    seconds: float | None
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]

    @property
    def key(self) -> str:
        """What this platform calls a child among those of its parent."""
        return self.tags.get(RUN_KEY_TAG, "").partition("@")[0].rpartition("/")[2]


class RunReader:
    """Reads from one MLflow.

    Args:
        tracking_uri: where it is; known to answer.
    """

    def __init__(self, tracking_uri: str) -> None:
        self._tracking_uri = tracking_uri
        self._client: Any = import_mlflow().MlflowClient(tracking_uri)

    def find(self, name: str) -> RecordedRun:
        """Return a run by MLflow's identifier, by a search's or distillation's name, or an experiment's newest.

        Raises:
            ValueError: there is none; the message lists the newest.
        """
        if re.fullmatch(r"[0-9a-f]{32}", name):
            try:
                return _recorded(self._client.get_run(name))
            except Exception as error:
                if getattr(error, "error_code", None) != "RESOURCE_DOES_NOT_EXIST":
                    raise
        experiments = dict(self._experiments())
        if name in experiments and (newest := self._parents([experiments[name]], most=1)):
            return newest[0]
        everywhere = list(experiments.values())
        for field in (f"tags.`{SEARCH_TAG}`", "attributes.run_name"):
            for run in self._parents(everywhere, _equals(field, name), most=SAME_NAMES):
                if name in (run.tags.get(SEARCH_TAG), run.name):
                    return run
        known = [run.tags.get(SEARCH_TAG, run.run_id) for run in self._parents(everywhere, most=SUGGESTED)]
        listed = f" The newest: {', '.join(known[:5])}." if known else " There is none at all."
        raise ValueError(
            f"run: MLflow knows no run, search or distillation '{name}'.{did_you_mean(name, known)}{listed}"
        )

    def children(self, run: RecordedRun) -> list[RecordedRun]:
        """Return the runs within a run, in the order of their beginnings."""
        experiment = self._client.get_run(run.run_id).info.experiment_id
        return self._search([experiment], f"tags.`{PARENT_TAG}` = '{run.run_id}'", order="ASC")

    def _experiments(self) -> Iterator[tuple[str, str]]:
        """Give name and identifier of every experiment."""
        token = None
        while True:
            page = self._client.search_experiments(page_token=token)
            yield from ((each.name, each.experiment_id) for each in page)
            if not (token := page.token):
                return

    def _parents(self, experiments: list[str], condition: str = "", *, most: int) -> list[RecordedRun]:
        """Return runs that are within no other, the newest first."""
        outermost = f"tags.`{PARENT_TAG}` IS NULL"
        condition = f"{condition} AND {outermost}" if condition else outermost
        return self._search(experiments, condition, order="DESC", most=most)

    def _search(
        self, experiments: list[str], condition: str, *, order: str, most: int | None = None
    ) -> list[RecordedRun]:
        """Return the runs that meet a condition; of very many, MLflow gives a page at a time."""
        found: list[RecordedRun] = []
        token = None
        while True:
            page = self._client.search_runs(
                experiments,
                condition,
                max_results=most or PAGE,
                order_by=[f"attributes.start_time {order}"],
                page_token=token,
            )
            found += map(_recorded, page)
            token = page.token
            if not token or (most is not None and len(found) >= most):
                return found[:most]

    def curve(self, run: RecordedRun, metric: str) -> list[tuple[int, float]]:
        """Return the points of a metric over its steps; empty without the metric."""
        if metric not in run.metrics:
            return []
        points = self._client.get_metric_history(run.run_id, metric)
        return sorted((point.step, point.value) for point in points)

    def file(self, run: RecordedRun, path: str) -> bytes | None:
        """Return a file of a run's; None where there is none."""
        folder = path.rpartition("/")[0] or None
        if path not in {entry.path for entry in self._client.list_artifacts(run.run_id, folder)}:
            return None
        with tempfile.TemporaryDirectory() as workspace:
            return Path(self._client.download_artifacts(run.run_id, path, workspace)).read_bytes()

    def pictures(self, run: RecordedRun, key: str) -> dict[int, str]:
        """Return the files of a series of pictures, by step."""
        matches = (SERIES.fullmatch(entry.path) for entry in self._client.list_artifacts(run.run_id, "images"))
        series = {int(match["step"]): match[0] for match in matches if match and match["key"] == key}
        return dict(sorted(series.items()))

    def registered(self, run: RecordedRun) -> list[tuple[str, str]]:
        """Return address and card of every version that came from a run, the newest first."""
        versions = self._client.search_model_versions(f"run_id = '{run.run_id}'")
        newest = sorted(versions, key=lambda version: -int(version.version))
        return [(f"models:/{version.name}/{version.version}", version.description or "") for version in newest]


def _equals(field: str, text: str) -> str:
    """Return the condition that a field is this text, or resembles it: MLflow (3.17) has no way to escape a quote."""
    plain = re.sub(r"['\"\\\\]", "_", text)
    return f"{field} = '{text}'" if plain == text else f"{field} LIKE '{plain}'"  # _ stands for any character


def _recorded(run: Any) -> RecordedRun:
    info = run.info
    return RecordedRun(
        run_id=info.run_id,
        name=info.run_name or info.run_id,
        status=info.status,
        began=info.start_time,
        seconds=None if info.end_time is None else (info.end_time - info.start_time) / 1000,
        params=dict(run.data.params),
        tags=dict(run.data.tags),
        metrics=dict(run.data.metrics),
    )
