"""What MLflow hears of a comparison's runs: a real store on SQLite."""

from __future__ import annotations

from pathlib import Path

from dfkd.comparison.results import ResultsFolder, RunResult
from dfkd.config.comparison import load_comparison
from dfkd.jobs.comparison_report import Reporter
from dfkd.settings.comparison import RunName
from dfkd.tracking.connection import import_mlflow
from dfkd.tracking.mlflow_tracker import MlflowTracking

SMOKE = Path(__file__).parents[2] / "benchmarks" / "comparisons" / "smoke.yaml"


def test_a_student_that_was_not_distilled_is_told_with_its_scores_and_without_a_method(tmp_path: Path) -> None:
    comparison, folder, uri = load_comparison(SMOKE), ResultsFolder(tmp_path / "results"), f"sqlite:///{tmp_path}/m.db"
    folder.claim(comparison)
    name = RunName(pair="", fraction=1.0, row="untrained", column="preset", teacher=0, seed=0)
    result = RunResult(
        run=name,
        key=comparison.key(name),
        status="complete",
        title="random initialisation",
        prior="no teacher",
        settings={"seed": 0, "student": {"architecture": "digits_student"}, "synthesis": {"method": "cae"}},
        test={"accuracy/top1": 0.1, "accuracy/teacher_top1": 0.9, "agreement/top1": 0.1},
        best_epoch={"epoch": 0, "score": 0.1},
        transfer={"ten_shot": 0.4, "calibration": 0.05},
        teacher_transfer={"calibration": 0.02},
        made_with={"commit": "c0ffee", "teacher": "abc123"},
    )
    folder.write(result)
    with MlflowTracking(uri, tmp_path, "made") as tracking:
        reporter = Reporter(comparison, folder, tracking, tmp_path / "told.json")
        parent = reporter.open("made")  # as a command that goes on: of results that it never told of
        assert "| random initialisation | preset | no teacher | 1 | 10.00 % |" in reporter.conclude(parent)
        parent.close("FINISHED")
        assert tracking.flush()
    client = import_mlflow().MlflowClient(uri)
    (experiment,) = (each for each in client.search_experiments() if each.name == "smoke")
    runs = client.search_runs([experiment.experiment_id], "tags.`dfkd.kind` = 'comparison run'")
    assert [run.info.status for run in runs] == ["FINISHED"]
    assert runs[0].data.metrics["transfer/ten_shot"] == 0.4 and runs[0].data.metrics["test/accuracy/top1"] == 0.1
    assert runs[0].data.metrics["transfer/calibration"] == 0.05
    assert runs[0].data.metrics["teacher_transfer/calibration"] == 0.02
    assert runs[0].data.tags["teacher_hash"] == "abc123" and runs[0].data.tags["commit"] == "c0ffee"
    assert "student.architecture" in runs[0].data.params and "synthesis.method" not in runs[0].data.params
