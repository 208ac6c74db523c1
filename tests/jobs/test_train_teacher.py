from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from dfkd.data.digits import DIGIT_NAMES
from dfkd.jobs.console import Console
from dfkd.jobs.train_teacher import TrainTeacherOptions, run_teacher_training
from dfkd.settings.experiment import (
    DatasetSettings,
    ExperimentSettings,
    StudentSettings,
    TeacherSettings,
    TeacherTrainingSettings,
)
from dfkd.settings.search import TrackingSettings
from dfkd.teachers import Teacher


def train(folder: Path, teacher: TeacherSettings | None = None, **options: Any) -> tuple[Teacher, dict[str, Any]]:
    settings = ExperimentSettings(
        dataset=DatasetSettings(name="digits", crop_padding=1, horizontal_flip=False),
        teacher=teacher or TeacherSettings(architecture="digits_student", training=TeacherTrainingSettings(epochs=3)),
        student=StudentSettings(architecture="digits_student"),
        device="cpu",
    )
    file, out = folder / "teacher.json", io.StringIO()
    wanted = TrainTeacherOptions(home=str(folder / "home"), json_file=str(file), **options)
    trained = run_teacher_training(settings, wanted, Console(out))
    assert str(file) in out.getvalue()
    return trained, json.loads(file.read_text())


def test_a_teachers_file_has_its_scores_and_the_seconds_of_its_training_only_where_it_was_trained(
    tmp_path: Path,
) -> None:
    teacher, first = train(tmp_path)
    assert first["hash"] == teacher.hash
    assert first["teacher"]["architecture"] == "digits_student"
    assert set(first["accuracy"]) == {"val", "test"} and first["accuracy"]["test"] > 0.3
    assert first["training_seconds"] > 0
    found_again, second = train(tmp_path)
    assert found_again.hash == teacher.hash and second["training_seconds"] is None
    assert second["accuracy"] == first["accuracy"]
    _, anew = train(tmp_path, retrain=True)
    assert anew["training_seconds"] > 0


def test_a_sensitive_teachers_file_has_no_class_names(tmp_path: Path) -> None:
    weights = tmp_path / "teacher.safetensors"
    train(tmp_path / "first", save=str(weights))
    given = TeacherSettings(weights=str(weights), class_names=DIGIT_NAMES)
    _, plain = train(tmp_path / "plain", given)
    assert plain["teacher"]["class_names"] == list(DIGIT_NAMES)
    _, sensitive = train(tmp_path / "sensitive", given, tracking=TrackingSettings(profile="sensitive"))
    assert "three" not in json.dumps(sensitive)
