"""A whole search whose MLflow server loses its database twice: it is stopped and started again, and it crashes."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dfkd.tracking.connection import import_mlflow

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
SMOKE = "search_spaces/smoke.yaml"
Points = dict[tuple[str, str, int], tuple[int, float]]  # run, key, step -> timestamp, value


@pytest.fixture
def space(tmp_path: Path) -> str:
    """Three trials of a few seconds each, one after another."""
    text = (ROOT / SMOKE).read_text()
    text = text.replace("epochs: 2, steps_per_epoch: 3", "epochs: 6, steps_per_epoch: 60")
    text = text.replace("trials: 2", "trials: 3\nworkers_check: false\nconcurrency: 1")
    file = tmp_path / "space.yaml"
    file.write_text(text)
    return str(file)


def test_a_search_trains_on_without_the_database_of_its_server_and_is_told_whole(
    start: Callable[..., subprocess.Popen[str]],
    postgresql: Any,
    start_server: Callable[..., Any],
    space: str,
    tmp_path: Path,
) -> None:
    pytest.importorskip("psycopg2", reason="MLflow needs psycopg2 for PostgreSQL")
    server, home, said = start_server(postgresql.uri), tmp_path / "home", []
    with start("search.py", space, "--home", str(home), "--tracking-uri", server.uri) as search:
        assert search.stdout is not None and search.stderr is not None
        for line in search.stdout:
            said.append(line)
            if "trial 1/3 complete" in line:
                postgresql.stop()
            if "trial 2/3 complete" in line:
                postgresql.start()
                crash_in_a_commit(postgresql)
                postgresql.start()
        errors = search.stderr.read()
    assert search.returncode == 0, errors
    assert errors.count("does not take events now") == errors.count("takes events again") > 0, errors
    assert "refuse" not in errors
    assert not list(home.glob("tracking/*/refused.jsonl"))

    client = import_mlflow().MlflowClient(server.uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments)
    kinds = Counter(run.data.tags.get("dfkd.kind") for run in runs)
    assert kinds["search"] == 1 and kinds["trial"] == 3, kinds
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert points(client, runs) == told(home)
    assert len(client.search_registered_models()) == 2  # the teacher and the student
    for model in client.search_registered_models():
        (version,) = client.search_model_versions(f"name = '{model.name}'")
        assert version.status == "READY"
        assert client.get_model_version_by_alias(model.name, "champion").version == version.version
    assert {model.status.value for model in client.search_logged_models(experiments)} == {"READY"}


SLOW_TO_COMMIT = """
CREATE TABLE made AS SELECT now() AS at;
CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF pg_postmaster_start_time() < (SELECT at FROM made) THEN PERFORM pg_sleep(60); END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER wait AFTER INSERT OR UPDATE ON runs DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION wait();
"""


def crash_in_a_commit(postgresql: Any) -> None:
    """Crash while MLflow waits for the COMMIT of a run that begins or ends."""
    ask = ["psql", "-XqtA", "-h", postgresql.folder, "-U", "postgres", "-c"]
    subprocess.run([*ask, SLOW_TO_COMMIT], check=True)  # until it is started again
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    deadline = time.monotonic() + 60
    while subprocess.run([*ask, waiting], capture_output=True, text=True, check=True).stdout.strip() == "0":
        assert time.monotonic() < deadline, "no run has begun or ended in 60 s"
        time.sleep(0.2)
    postgresql.crash()


def told(home: Path) -> Points:
    """Return every point that a run was told, with the time at which it was told first."""
    found: Points = {}
    for journal in home.glob("tracking/*"):
        runs = json.loads((journal / "delivered.json").read_text())["runs"]
        for line in (journal / "journal.jsonl").read_text().splitlines():
            event = json.loads(line)
            if event["kind"] == "metrics":
                step, run = event["content"]["step"], runs[event["run_key"]]["run_id"]
                for key, value in event["content"]["values"].items():
                    found.setdefault((run, key, step), (event["time_ms"], value))
    return found


def points(client: Any, runs: list[Any]) -> Points:
    """Return every point that MLflow has, once each."""
    found: Points = {}
    for run in runs:
        for key in run.data.metrics:
            for point in client.get_metric_history(run.info.run_id, key):
                assert (run.info.run_id, key, point.step) not in found, (run.info.run_name, key, point.step)
                found[run.info.run_id, key, point.step] = (point.timestamp, point.value)
    return found
