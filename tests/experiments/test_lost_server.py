"""A whole search whose MLflow server goes away, and comes back late: before its end, or after it."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dfkd.tracking.connection import import_mlflow

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
SMOKE = "search_spaces/smoke.yaml"


@pytest.fixture
def space(tmp_path: Path) -> str:
    """Three trials of a few seconds each, one after another."""
    text = (ROOT / SMOKE).read_text()
    text = text.replace("epochs: 2, steps_per_epoch: 3", "epochs: 12, steps_per_epoch: 150")
    text = text.replace("trials: 2", "trials: 3\nworkers_check: false\nconcurrency: 1")
    file = tmp_path / "space.yaml"
    file.write_text(text)
    return str(file)


@pytest.mark.parametrize("when", ["before the end", "after the end"])
def test_a_search_trains_on_without_its_server_and_is_told_whole(
    run: Callable[..., Any],
    start: Callable[..., subprocess.Popen[str]],
    server: Any,
    space: str,
    tmp_path: Path,
    when: str,
) -> None:
    command = ("search.py", space, "--home", str(tmp_path / "home"), "--tracking-uri", server.uri)
    said: list[str] = []
    with start(*command) as search:
        assert search.stdout is not None and search.stderr is not None
        for line in search.stdout:
            said.append(line)
            if "trial 1/3 complete" in line:
                server.stop()
            if "trial 2/3 epoch" in line and when == "before the end" and not server.runs:
                server.start()
        errors = search.stderr.read()
    output = "".join(said)
    assert "trial 3/3 complete" in output, errors
    if when == "after the end":
        assert search.returncode == 2
        assert "the student was chosen and judged, and is not registered" in errors and "--resume" in errors
        server.start()
        again = run(*command, "--resume")
        assert again.status == 0, again.errors
        assert not again.said("starts:")  # no trial is run again
    else:
        assert search.returncode == 0, errors

    client = import_mlflow().MlflowClient(server.uri)
    (parent,) = [
        each
        for experiment in client.search_experiments()
        for each in client.search_runs([experiment.experiment_id], "tags.`dfkd.kind` = 'search'")
        if each.data.tags["mlflow.runName"] in output
    ]
    trials = client.search_runs(
        [parent.info.experiment_id], f"tags.mlflow.parentRunId = '{parent.info.run_id}'", max_results=10
    )
    assert len(trials) == 3
    assert {each.info.status for each in [parent, *trials]} == {"FINISHED"}
    for each in trials:
        steps = Counter(point.step for point in client.get_metric_history(each.info.run_id, "probe/agreement"))
        assert steps == Counter(range(13))  # every epoch, once
    assert parent.data.tags["dfkd.chosen"]
