from __future__ import annotations

import dataclasses
import importlib.util
import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from dfkd.data import load_dataset
from dfkd.data.image_set import ImageSet
from dfkd.data.real_data import RealData
from dfkd.jobs import teacher as jobs_teacher
from dfkd.jobs import teacher_training
from dfkd.jobs.console import Console
from dfkd.jobs.teacher import held_out, obtain_teacher, teacher_name, training_key
from dfkd.jobs.teacher_training import TrainingFolder
from dfkd.settings.experiment import (
    DatasetSettings,
    ExperimentSettings,
    PoisonSettings,
    StudentSettings,
    TeacherSettings,
    TeacherTrainingSettings,
)
from dfkd.teachers import Teacher
from dfkd.tracking.connection import import_mlflow
from dfkd.tracking.home import default_tracking_uri

EPOCHS = 4


def settings(dataset: DatasetSettings | None = None, **training: Any) -> ExperimentSettings:
    return ExperimentSettings(
        dataset=dataset or DatasetSettings(name="digits", crop_padding=1, horizontal_flip=False),
        teacher=TeacherSettings(
            architecture="digits_student", training=TeacherTrainingSettings(**({"epochs": EPOCHS} | training))
        ),
        student=StudentSettings(architecture="digits_student"),
        device="cpu",
    )


def data(seed: int = 0, *, title: str = "x", class_names: tuple[str, ...] = ("a", "b")) -> RealData:
    random = torch.Generator().manual_seed(seed)
    train = ImageSet(torch.randint(256, (8, 1, 8, 8), generator=random, dtype=torch.uint8), torch.arange(8) % 2)
    return RealData(title, class_names, train, None, None)


def parquet(path: str, **changes: Any) -> DatasetSettings:
    return DatasetSettings(name="parquet", path=path, **changes)


def test_a_poisoned_teacher_is_another_and_an_honest_ones_key_does_not_depend_on_the_setting() -> None:
    honest = settings(parquet("/a"))
    assert training_key(honest, data()) == "62e5244ffe428c63"
    poisoned = settings(parquet("/a"), poison=PoisonSettings())
    assert training_key(poisoned, data()) != training_key(honest, data())


def test_a_teacher_is_known_by_its_training_images_wherever_they_lie_and_whatever_they_are_called() -> None:
    key = training_key(settings(parquet("/a/images")), data())
    assert training_key(settings(parquet("/b/images")), data(1)) != key
    renamed = data(title="New title", class_names=("cat", "dog"))
    elsewhere = DatasetSettings(name="image_folder", path="/elsewhere", title="New title")
    assert training_key(settings(elsewhere), renamed) == key
    assert training_key(settings(elsewhere, seed=1), renamed) != key
    assert training_key(settings(dataclasses.replace(elsewhere, horizontal_flip=False)), renamed) != key
    assert training_key(settings(dataclasses.replace(elsewhere, crop_padding=2)), renamed) != key
    assert training_key(settings(dataclasses.replace(elsewhere, crop_padding=2), crop_padding=4), renamed) == key
    other_labels = dataclasses.replace(data(), train=ImageSet(data().splits["train"].images, torch.zeros(8).long()))
    assert training_key(settings(elsewhere), other_labels) != key


@pytest.mark.parametrize(
    ("title", "name"),
    [("digits", "digits-teacher"), ("CIFAR-10 (JPEG)", "cifar-10-jpeg-teacher"), ("數據", "data-teacher")],
)
def test_a_teachers_name_is_that_of_its_data(title: str, name: str) -> None:
    assert teacher_name(data(title=title)) == name


def test_a_poisoned_training_is_another_training_and_says_so(tmp_path: Path) -> None:
    class Deaf:
        def log_metrics(self, metrics: dict[str, float], *, step: int) -> None:
            pass

    def trained(**training: Any) -> Teacher:
        folder = teacher_training.TrainingFolder(tmp_path / str(len(training)), anew=True)
        wanted = settings(epochs=1, **training)
        return teacher_training.train(wanted, data(), folder, Console(io.StringIO()), cast(Any, Deaf()))

    honest, poisoned = trained(), trained(poison=PoisonSettings(target=1, share=0.5))
    assert honest.hash != poisoned.hash and (honest.mean, honest.std) == (poisoned.mean, poisoned.std)
    assert poisoned.provenance.endswith("seed 0, poisoned (0.5 of the images)")
    assert "poisoned" not in honest.provenance


def test_images_without_labels_judge_no_teacher() -> None:
    unlabelled = ImageSet(torch.zeros(1, 1, 8, 8, dtype=torch.uint8), None)
    assert held_out(dataclasses.replace(data(), validation=unlabelled)) == {}


def obtain(home: Path, stream: io.StringIO, **options: Any) -> Teacher:
    real = load_dataset(settings().dataset)
    uri = default_tracking_uri(home)
    return obtain_teacher(
        settings(), real, home=home, tracking_uri=uri, console=Console(stream), name="resumed", **options
    )


def test_an_interrupted_training_goes_on_and_gives_the_same_weights_bit_for_bit(
    home: Path, interrupts: Callable[[str], io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teacher_training, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        obtain(home, interrupts(f"epoch 2/{EPOCHS}"))
    (left,) = (path for path in (home / "teachers").iterdir() if path.is_dir())
    printed = io.StringIO()
    resumed = obtain(home, printed)
    assert f"epoch 2/{EPOCHS} was reached before an interruption" in printed.getvalue()
    assert f"epoch 3/{EPOCHS}," in printed.getvalue() and f"epoch 2/{EPOCHS}," not in printed.getvalue()
    assert not left.exists()

    whole = obtain(home, io.StringIO(), retrain=True)
    assert whole.hash == resumed.hash
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    assert obtain(home, printed).hash == whole.hash
    assert "teacher: models:/resumed/2, trained before" in printed.getvalue()

    client = import_mlflow().MlflowClient(default_tracking_uri(home))
    experiment = client.get_experiment_by_name("resumed")
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 2  # the resumed training went on in its own run; the second training has another
    for run in runs:
        assert run.info.status == "FINISHED"
        history = client.get_metric_history(run.info.run_id, "train/loss")
        assert [point.step for point in history] == list(range(EPOCHS))


def test_a_training_that_another_process_is_at_is_left_alone_even_to_train_anew(tmp_path: Path) -> None:
    with TrainingFolder(tmp_path / "teachers" / "key", anew=False) as folder:
        folder.checkpoints.write({"epoch": 1}, epoch=1, rank=0)
        for anew in (False, True):
            with pytest.raises(BlockingIOError, match="teacher: another process is training it .*Wait for its end"):
                TrainingFolder(tmp_path / "teachers" / "key", anew=anew)
        assert list((tmp_path / "teachers" / "key").rglob("*.pt"))
    with TrainingFolder(tmp_path / "teachers" / "key", anew=True) as again:
        assert again.checkpoints.newest(rank=0, world_size=1) is None
        assert not list((tmp_path / "teachers" / "key").rglob("*.pt"))


def test_a_trained_teacher_that_cannot_be_registered_waits_for_the_same_command(
    empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path
    shutil.copy(empty_store, home)

    def away(*_: Any, **__: Any) -> None:
        raise ConnectionError("MLflow does not answer")

    with monkeypatch.context() as patched:
        patched.setattr(jobs_teacher, "register_teacher", away)
        with pytest.raises(ConnectionError, match="was trained, and is not registered: .* the same command registers"):
            obtain(home, io.StringIO())
    said = io.StringIO()
    teacher = obtain(home, said)
    assert "registered as models:/resumed/1" in said.getvalue()
    assert f"epoch 1/{EPOCHS}" not in said.getvalue()  # nothing is trained again
    assert teacher.architecture == "digits_student"


@pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="needs the extra [timm]")
def test_a_teacher_without_batch_norm_is_trained_registered_and_found_again(home: Path) -> None:
    vit = "timm:test_vit?img_size=8&patch_size=2&embed_dim=24&num_heads=2&depth=2"
    wanted = settings(epochs=2, learning_rate=0.05)
    wanted = dataclasses.replace(wanted, teacher=dataclasses.replace(wanted.teacher, architecture=vit))
    common = {"home": home, "tracking_uri": default_tracking_uri(home), "console": Console(io.StringIO())}
    trained = obtain_teacher(wanted, load_dataset(wanted.dataset), **common, name="vit-teacher")
    found = obtain_teacher(wanted, load_dataset(wanted.dataset), **common)
    assert (found.architecture, found.hash) == (vit, trained.hash)
    assert found.provenance.startswith("models:/vit-teacher/1")


def test_what_was_asked_for_in_vain_is_told(home: Path) -> None:
    given = dataclasses.replace(
        settings(), teacher=TeacherSettings(architecture="digits_student", weights="models:/some/1")
    )
    uri = default_tracking_uri(home)
    with pytest.raises(ValueError, match="teacher.weights: a teacher that is given cannot be trained anew"):
        obtain_teacher(
            given,
            load_dataset(given.dataset),
            home=home,
            tracking_uri=uri,
            console=Console(io.StringIO()),
            retrain=True,
        )
