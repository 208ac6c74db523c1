from __future__ import annotations

import dataclasses
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from dfkd.data import load_dataset
from dfkd.data.image_set import ImageSet
from dfkd.data.real_data import RealData
from dfkd.jobs.console import Console
from dfkd.jobs.evaluate import (
    default_tasks,
    left_out,
    run_evaluation,
    score_alone,
    score_beside,
)
from dfkd.jobs.evaluate_options import EvaluateOptions, needs_registry
from dfkd.jobs.evaluated_networks import described, of_networks, read_network
from dfkd.jobs.teacher import description_of, training_key
from dfkd.models import build_model
from dfkd.probe_set import ProbeSet
from dfkd.settings.experiment import DatasetSettings, ExperimentSettings, StudentSettings, TeacherSettings
from dfkd.teachers import Teacher, build_network, save_teacher

ROOT = Path(__file__).parents[2]
DIGITS = tuple("zero one two three four five six seven eight nine".split())
GEOMETRY = ("alignment", "uniformity")
CPU = torch.device("cpu")


def settings(**teacher: Any) -> ExperimentSettings:
    return ExperimentSettings(
        dataset=DatasetSettings(name="digits"),
        teacher=TeacherSettings(**({"architecture": "digits_student"} | teacher)),
        student=StudentSettings(architecture="digits_student"),
    )


def network(seed: int, classes: tuple[str, ...] = DIGITS, *, std: float = 0.4) -> Teacher:
    """A network that was never trained."""
    torch.manual_seed(seed)
    model = build_model("digits_student", num_classes=len(classes), in_channels=1)
    with torch.no_grad():
        model.train()(torch.randn(64, 1, 8, 8))
    return Teacher(
        model=model.eval(),
        architecture="digits_student",
        class_names=classes,
        image_shape=(1, 8, 8),
        mean=(0.0,),
        std=(std,),
        provenance=f"seed {seed}",
    )


def images(num_classes: int) -> ImageSet:
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (40, 1, 8, 8), generator=random, dtype=torch.uint8)
    return ImageSet(pixels, torch.arange(40) % num_classes)


def run(settings: ExperimentSettings, **options: Any) -> tuple[dict[str, float], str]:
    printed = io.StringIO()
    return run_evaluation(settings, EvaluateOptions(**options), Console(printed)), printed.getvalue()


def test_one_function_under_two_normalisations_agrees_with_itself() -> None:
    first, second = network(0, std=0.4), network(0, std=0.2)  # mean 0: pixels reach the second twice as large ...
    convolution = next(module for module in second.model.modules() if isinstance(module, torch.nn.Conv2d))
    with torch.no_grad():
        convolution.weight /= 2  # ... and are halved again
    scores = score_beside(first, second, images(10), ("accuracy", "agreement"), CPU)
    assert scores["agreement/top1"] == 1.0
    assert scores["agreement/kl"] == pytest.approx(0, abs=1e-6)
    assert scores["accuracy/ratio"] == 1.0
    assert score_beside(first, network(1), images(10), ("agreement",), CPU)["agreement/top1"] < 1


def test_a_model_alone_has_the_accuracy_that_it_has_beside_a_teacher() -> None:
    model = network(0)
    alone = score_alone(model, images(10), ("accuracy", "agreement"), CPU)
    beside = score_beside(model, network(1), images(10), ("accuracy",), CPU)
    assert alone == {"accuracy/top1": beside["accuracy/top1"]}


def test_a_task_that_gives_no_score_is_named_with_the_reason() -> None:
    labelled, unlabelled = images(10), ImageSet(images(10).images, None)
    tasks = ("accuracy", "agreement", "representation")
    alone = score_alone(network(0), labelled, tasks, CPU)
    assert left_out(tasks, alone, labelled) == [
        "not scored: agreement (no teacher is known, or not two classes)",
        "not scored: representation/cka (no teacher is known)",
    ]
    beside = score_beside(network(0), network(1), unlabelled, ("accuracy", "agreement"), CPU)
    assert left_out(("accuracy", "agreement"), beside, unlabelled) == [
        "not scored: accuracy (these images have no labels)"
    ]
    assert left_out(("accuracy",), alone, labelled) == []


def test_two_classes_bring_the_binary_scores() -> None:
    tasks = default_tasks(settings(), 2)
    assert tasks == ("accuracy", "agreement", "binary")
    assert "binary" not in default_tasks(settings(), 10)
    alone = score_alone(network(0, ("normal", "ill")), images(2), tasks, CPU)
    assert set(alone) == {
        "accuracy/top1", "binary/balanced_accuracy", "binary/auroc", "binary/sensitivity", "binary/specificity",
    }  # fmt: skip


def test_a_comparison_without_a_teacher_is_refused() -> None:
    with pytest.raises(ValueError, match="--task: agreement needs a teacher, and none is known. Give --teacher."):
        score_alone(network(0), images(10), ("agreement",), CPU)


def test_a_file_that_describes_itself_needs_nothing_of_the_configs_teacher(tmp_path: Path) -> None:
    save_teacher(tmp_path / "own.safetensors", network(0))
    torch.save(network(0).model.state_dict(), tmp_path / "bare.pt")
    of_config = settings(weights="another.safetensors", mean=(0.1,), std=(0.2,), shifted=True)
    assert described(str(tmp_path / "own.safetensors"), of_config, "unused") == TeacherSettings(
        weights=str(tmp_path / "own.safetensors")
    )
    bare = described(str(tmp_path / "bare.pt"), of_config, "unused")
    assert (bare.architecture, bare.mean, bare.std, bare.shifted) == ("digits_student", (0.1,), (0.2,), False)


def test_images_without_labels_can_be_agreed_on_and_nothing_else() -> None:
    unlabelled = ImageSet(images(10).images, None)
    scores = score_beside(network(0), network(1), unlabelled, ("accuracy", "agreement"), CPU)
    assert set(scores) == {"agreement/top1", "agreement/kl"}
    with pytest.raises(ValueError, match="--task: accuracy needs labels, and these images have none"):
        score_beside(network(0), network(1), unlabelled, ("accuracy",), CPU)
    with pytest.raises(ValueError, match="labels: these images have none"):
        score_alone(network(0), unlabelled, ("accuracy",), CPU)


def test_where_features_lie_needs_neither_teacher_nor_labels() -> None:
    labelled, unlabelled = images(10), ImageSet(images(10).images, None)
    beside = score_beside(network(0), network(1), unlabelled, ("representation",), CPU)
    for tasks, shown in ((("representation",), labelled), (("representation", "accuracy"), unlabelled)):
        alone = score_alone(network(0), shown, tasks, CPU)
        assert alone == {f"representation/{name}": beside[f"representation/{name}"] for name in GEOMETRY}
    both = score_alone(network(0), labelled, ("representation", "accuracy"), CPU)
    assert set(both) == {*alone, "accuracy/top1"}
    graph = dataclasses.replace(network(0), model=torch.nn.Flatten(), hash="")
    with pytest.raises(ValueError, match="model: this task needs features, and a Flatten gives logits alone"):
        score_alone(graph, labelled, ("representation",), CPU)


def test_an_untrained_network_is_scored_like_any_other(tmp_path: Path) -> None:
    tasks = ("accuracy", "calibration", "representation")
    common = {"model": "untrained:digits_student", "home": str(tmp_path / "home"), "tasks": tasks}
    common["teacher"] = "untrained:resnet8"
    scores, printed = run(settings(), **common)
    assert "model    untrained, seed 0: digits_student" in printed and "note" not in printed
    assert scores["accuracy/top1"] < 0.3 and 0 < scores["representation/cka"] < 1
    again, _ = run(settings(), **common)
    other, _ = run(dataclasses.replace(settings(), seed=1), **common)
    assert again == scores != other


def test_a_published_backbone_is_scored_by_its_features_and_not_by_its_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "torchvision:shufflenet_v2_x0_5"
    publish_shufflenet(tmp_path, monkeypatch)
    coloured = dataclasses.replace(settings(), dataset=DatasetSettings(name="digits", title="digits", channels=3))
    common = {"model": name, "home": str(tmp_path / "home"), "teacher": "untrained:digits_student"}
    scores, printed = run(coloured, **common, tasks=("representation",), json_file=str(tmp_path / "scores.json"))
    assert 0 < scores["representation/cka"] < 1 and "representation/teacher_alignment" in scores
    assert "made for images of 224x224, these are 8x8" in printed
    facts = json.loads((tmp_path / "scores.json").read_text())["model"]
    assert facts["architecture"] == name and facts["source"].startswith("ShuffleNet_V2_X0_5_Weights")
    same, _ = run(coloured, **common | {"teacher": name}, tasks=("representation",))
    assert same["representation/cka"] == pytest.approx(1.0)

    head = (
        r"--task: accuracy, agreement needs answers in the 10 classes of digits, and torchvision:\S+ knows 1000 others"
    )
    with pytest.raises(ValueError, match=f"{head}. Take what looks at features alone .--task representation., a file"):
        run(coloured, **common)
    mixed = {"model": "untrained:digits_student", "home": common["home"], "teacher": name}
    with pytest.raises(ValueError, match="--task: calibration needs answers in the 10 classes of digits"):
        run(coloured, **mixed, tasks=("representation", "calibration"))
    with pytest.raises(ValueError, match="3 channels, those of digits have 1. Set dataset.channels to 3"):
        run(settings(), **common)


def test_a_network_of_one_size_says_which() -> None:
    pytest.importorskip("timm", reason="needs the extra [timm]")
    data = load_dataset(DatasetSettings(name="digits"))
    vit = TeacherSettings(
        weights="untrained:timm:vit_tiny_patch16_224?img_size=16&patch_size=4&depth=1&embed_dim=12&num_heads=2"
    )
    with pytest.raises(
        ValueError,
        match=r"image_size: untrained:timm:vit\S+ cannot take images of 1x8x8 .*Set dataset.image_size to the",
    ):
        read_network(vit, data, ("representation",), seed=0, tracking_uri="unused")
    fits = load_dataset(DatasetSettings(name="digits", image_size=16))
    found = read_network(vit, fits, ("representation",), seed=0, tracking_uri="unused")
    assert found.image_shape == (1, 16, 16)


def test_a_head_of_as_many_classes_is_taken_for_the_datas_and_a_note_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_shufflenet(tmp_path, monkeypatch)
    names = ("n01440764", *(f"class {number}" for number in range(1, 1000)))
    pixels = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    shown = ImageSet(pixels, torch.tensor([0, 1]))
    data = RealData(title="ImageNet", class_names=names, train=None, validation=None, test=shown)
    source = TeacherSettings(weights="torchvision:shufflenet_v2_x0_5")
    found = read_network(source, data, ("accuracy",), seed=0, tracking_uri="unused")
    taken = "its classes are taken for the data's, 'tench' for 'n01440764'"
    assert of_networks([found], data, ("accuracy",))[1].endswith(taken)
    assert len(of_networks([found], data, ("representation",))) == 1  # the size alone
    same = dataclasses.replace(data, class_names=found.class_names)
    assert len(of_networks([found], same, ("accuracy",))) == 1


def test_a_file_of_other_classes_is_scored_by_its_features(tmp_path: Path) -> None:
    save_teacher(tmp_path / "two.safetensors", network(0, ("a", "b")))
    common = {"model": str(tmp_path / "two.safetensors"), "teacher": str(tmp_path / "two.safetensors")}
    common |= {"home": str(tmp_path / "home")}
    scores, _ = run(settings(), **common, tasks=("representation",))
    assert scores["representation/cka"] == pytest.approx(1.0)
    with pytest.raises(ValueError, match="knows 2 classes .a, b., but the data have 10"):
        run(settings(), **common, tasks=("representation", "accuracy"))


def publish_shufflenet(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put weights into torch's cache where torchvision looks for its smallest network's."""
    torch.manual_seed(0)
    published = build_network("torchvision:shufflenet_v2_x0_5", num_classes=1000, in_channels=3)
    (folder / "hub" / "checkpoints").mkdir(parents=True)
    state = published.network.state_dict()  # type: ignore[union-attr]
    torch.save(state, folder / "hub" / "checkpoints" / "shufflenetv2_x0.5-f707e7126e.pth")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(folder / "hub"))


def test_mlflow_is_left_alone_where_only_files_are_named() -> None:
    trained_here, given = settings(), settings(weights="teacher.safetensors")
    assert needs_registry(trained_here, EvaluateOptions(model="a.safetensors"))
    assert needs_registry(given, EvaluateOptions(model="models:/digits-student@champion"))
    assert not needs_registry(given, EvaluateOptions(model="a.safetensors"))
    assert not needs_registry(trained_here, EvaluateOptions(model="a.safetensors", teacher="b.safetensors"))


def test_privacy_compares_the_train_split_with_another_and_says_what_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_teacher(tmp_path / "student.safetensors", network(0))
    save_teacher(tmp_path / "teacher.safetensors", network(1))
    common = {"model": str(tmp_path / "student.safetensors"), "teacher": str(tmp_path / "teacher.safetensors")}
    common |= {"home": str(tmp_path / "home"), "tasks": ("privacy",), "json_file": str(tmp_path / "scores.json")}
    scores, printed = run(settings(), **common)
    assert set(scores) == {"privacy/auc", "privacy/teacher_auc"}
    assert scores["privacy/auc"] == pytest.approx(0.5, abs=0.1)  # it was never trained
    too_few = "not scored: privacy/tpr_at_fpr_0.001 (0.1 % of 360 non-members is less than one image; it takes 1,000)"
    assert f"note     {too_few}" in printed
    assert "not scored: privacy/nearest_member (this home has no probe set of the teacher)" in printed
    assert too_few in json.loads((tmp_path / "scores.json").read_text())["notes"]

    probe = ProbeSet(images=images(10).images, teacher_logits=torch.zeros(40, 10))
    monkeypatch.setattr("dfkd.jobs.evaluate.known_probe_set", lambda teacher_hash, home: probe)
    scores, _ = run(settings(), **common)
    assert 0 < scores["privacy/nearest_member"] < 1 and 0 <= scores["privacy/nearer_to_a_member"] <= 1
    with pytest.raises(ValueError, match="--split: 'privacy' compares the train split with another one"):
        run(settings(), **common, split="train")


def test_a_registered_student_is_held_against_the_teacher_of_its_config(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    teacher, student = network(0), network(1)
    register(uri, tmp_path, teacher=teacher, student=student)
    common = {"model": "models:/digits-student@champion", "home": str(tmp_path), "tracking_uri": uri}
    scores, printed = run(settings(), **common, json_file=str(tmp_path / "scores.json"))
    assert "test split: 360 images" in printed
    assert "models:/digits-teacher/1" in printed
    assert "another teacher" not in printed
    assert json.loads((tmp_path / "scores.json").read_text())["teacher"]["hash"] == teacher.hash
    assert scores["accuracy/ratio"] == pytest.approx(scores["accuracy/top1"] / scores["accuracy/teacher_top1"])

    test = load_dataset(settings().dataset).test
    assert test is not None
    features, _ = run(settings(), **common, tasks=("representation",))  # neither of them is asked for its classes
    assert features == score_beside(student, teacher, test, ("representation",), CPU)

    other = network(2)
    save_teacher(tmp_path / "other.safetensors", other)
    scored, printed = run(settings(), **common, split="validation", teacher=str(tmp_path / "other.safetensors"))
    assert f"distilled from another teacher ({teacher.hash[:16]})" in printed
    validation = load_dataset(settings().dataset).validation
    assert validation is not None
    assert scored == score_beside(student, other, validation, ("accuracy", "agreement"), CPU)

    _, printed = run(settings(shifted=True), **common, teacher=str(tmp_path / "other.safetensors"))
    assert "  shifted teacher other.safetensors" in printed
    assert re.search(r"accuracy/teacher_top1 +0\.\d+ \(shifted teacher\)", printed)

    retrained = settings(training=dataclasses.replace(settings().teacher.training, seed=1))
    alone, printed = run(retrained, **common)
    assert "none is known" in printed
    assert "note     not scored: agreement (no teacher is known, or not two classes)" in printed
    assert alone == {"accuracy/top1": scores["accuracy/top1"]}


def register(uri: str, home: Path, *, teacher: Teacher, student: Teacher) -> None:
    from dfkd.tracking.card import StudentCard
    from dfkd.tracking.connection import import_mlflow
    from dfkd.tracking.registry import register_student, register_teacher

    client = import_mlflow().MlflowClient(uri)
    run_id = client.create_run(client.create_experiment("digits", str(home / "artifacts"))).info.run_id
    description = description_of(teacher)
    register_teacher(
        uri, "digits-teacher", model=teacher.model, description=description, card="", run_id=run_id,
        training_key=training_key(settings(), load_dataset(settings().dataset)),
    )  # fmt: skip
    card = StudentCard(
        num_classes=10,
        image_shape=(1, 8, 8),
        latency="0.5 ms an image on cpu",
        method="m", teacher_name="t", teacher_hash=teacher.hash, teacher_shifted=False, teacher_parameters=1,
        student_parameters=1, settings={}, scores={},
        learnt_from="synthetic images", data_free=True, selection_data="", objective="agreement", objective_value=0.5,
        direction="maximize", exam_hash="P", seed=0, commit="c", versions={},
    )  # fmt: skip
    register_student(uri, "digits-student", model=student.model, description=description, card=card, run_id=run_id)


def test_the_command_scores_a_file_and_writes_what_it_prints(tmp_path: Path) -> None:
    save_teacher(tmp_path / "student.safetensors", network(0))
    save_teacher(tmp_path / "teacher.safetensors", network(1))
    finished = command(
        str(tmp_path / "student.safetensors"), "search_spaces/digits_cae.yaml", "--home", str(tmp_path / "home"),
        "--teacher", str(tmp_path / "teacher.safetensors"), "--task", "accuracy", "--json", str(tmp_path / "out.json"),
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    result = json.loads((tmp_path / "out.json").read_text())
    assert set(result["scores"]) == {"accuracy/top1", "accuracy/teacher_top1", "accuracy/ratio"}
    assert f"accuracy/top1                    {result['scores']['accuracy/top1']:.4f}" in finished.stdout
    assert not (tmp_path / "home" / "mlflow.db").exists()


def test_the_command_names_a_misspelt_setting_before_it_looks_for_the_model() -> None:
    finished = command("nowhere.safetensors", "search_spaces/digits_cae.yaml", "--set", "dataset.image_sise=8")
    assert finished.returncode == 2
    assert "Did you mean 'image_size'?" in finished.stderr
    assert "nowhere" not in finished.stderr


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "experiments/evaluate.py", *arguments], capture_output=True, text=True, cwd=ROOT
    )
