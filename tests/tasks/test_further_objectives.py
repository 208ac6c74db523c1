from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from dfkd.data.image_set import ImageSet
from dfkd.settings.experiment import DatasetSettings
from dfkd.settings.objectives import CostObjective, TaskObjective, TransferObjective
from dfkd.settings.tasks import NearestNeighboursSettings, SegmentationSettings
from dfkd.settings.tasks.dense import AnnotatedImagesSettings
from dfkd.tasks import TASKS, TaskInput, evaluate
from dfkd.tasks.further_objectives import check_data, check_teacher, further_scores
from dfkd.tasks.nearest_neighbours import nearest_neighbours
from dfkd.tasks.transfer import TransferInput

Given = Callable[..., TransferInput]
CPU = torch.device("cpu")


def test_costs_and_transfer_are_those_of_the_student(coloured: DatasetSettings, given: Given, unchanged: Any) -> None:
    teacher, student = given().network, given("wrn_10_1", seed=0).network.model
    near = NearestNeighboursSettings(dataset=replace(coloured, validation_fraction=0.25))
    is_unchanged = unchanged(student)
    objectives = {
        "size": CostObjective(of="parameters"),
        "flops": CostObjective(of="flops"),
        "latency": CostObjective(of="latency"),
        "colours": TransferObjective(by=near),
    }
    scores = further_scores(objectives, student, teacher, CPU)
    assert list(scores) == ["further/size", "further/flops", "further/latency", "further/colours"]
    assert scores["further/size"] == sum(parameter.numel() for parameter in student.parameters())
    assert scores["further/flops"] > 1e6
    assert scores["further/latency"] > 0
    alone = TransferInput(network=replace(teacher, model=student, hash=""), exam="validation")
    assert scores["further/colours"] == nearest_neighbours(near, alone)["top1"]
    assert is_unchanged()


def test_tasks_on_the_searchs_own_images_are_those_of_the_student(given: Given, unchanged: Any) -> None:
    teacher, student = given().network, given("wrn_10_1", seed=0).network.model
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (30, *teacher.image_shape), generator=random, dtype=torch.uint8)
    images = ImageSet(pixels, torch.arange(30) % len(teacher.class_names))
    objectives = {
        "similar": TaskObjective(task="representation"),
        "spread": TaskObjective(task="representation", score="uniformity"),
        "sure": TaskObjective(task="calibration"),
        "robust": TaskObjective(task="corruption"),
        "same": TaskObjective(task="agreement"),
    }
    is_unchanged = unchanged(student)
    check_data(objectives, teacher, images=images)
    scores = further_scores(objectives, student, teacher, CPU, images=images)
    task_input = TaskInput(student=student, teacher=teacher.model, images=images, normalise=teacher.normalise)
    expected = evaluate(("representation", "calibration", "corruption", "agreement"), task_input)
    keys = {"similar": "representation/cka", "spread": "representation/uniformity", "sure": "calibration/ece"}
    keys |= {"robust": "corruption/top1", "same": "agreement/top1"}
    wanted = {f"further/{name}": expected[key] for name, key in keys.items()}
    teachers = {"spread": "representation/teacher_uniformity", "sure": "calibration/teacher_ece"}
    teachers |= {"robust": "corruption/teacher_top1"}  # a teacher is as similar to itself as can be
    wanted |= {f"further_teacher/{name}": expected[key] for name, key in teachers.items()}
    assert scores == pytest.approx(wanted)
    goals = ["maximize", "minimize", "minimize", "maximize", "maximize"]
    assert [objective.goal for objective in objectives.values()] == goals
    assert is_unchanged()

    same = further_scores({"similar": objectives["similar"]}, teacher.model, teacher, CPU, images=images)
    assert same["further/similar"] == pytest.approx(1.0)
    with pytest.raises(ValueError, match="further_objectives.similar: 'representation' needs validation images, and"):
        check_data(objectives, teacher)
    unlabelled = replace(images, labels=None)
    check_data({"similar": objectives["similar"]}, teacher, images=unlabelled)
    with pytest.raises(ValueError, match="further_objectives.sure: 'calibration' needs validation images with labels"):
        check_data({"sure": objectives["sure"]}, teacher, images=unlabelled)


def test_a_task_is_done_once_however_many_of_its_numbers_are_asked_for(
    given: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[TaskInput] = []

    def geometry(task_input: TaskInput) -> dict[str, float]:
        asked.append(task_input)
        return {"representation/cka": 0.5, "representation/alignment": 0.1, "representation/teacher_alignment": 0.2}

    monkeypatch.setitem(TASKS, "representation", geometry)
    network = given().network
    images = ImageSet(torch.zeros(2, *network.image_shape, dtype=torch.uint8), None)
    objectives = {score: TaskObjective(task="representation", score=score) for score in ("cka", "alignment")}
    scores = further_scores(objectives, network.model, network, CPU, images=images)
    assert scores == {"further/cka": 0.5, "further/alignment": 0.1, "further_teacher/alignment": 0.2}
    assert len(asked) == 1


def test_a_teacher_of_logits_alone_is_refused_where_features_are_compared(given: Given) -> None:
    graph = replace(given().network, model=torch.nn.Linear(1, 2), provenance="teacher.pt2", hash="")
    with pytest.raises(ValueError, match=r"transfer.cka: the teacher, teacher.pt2: .* a Linear gives logits alone"):
        check_teacher({"cka": TaskObjective(task="representation")}, graph, where="transfer")
    check_teacher({"e": TaskObjective(task="calibration"), "size": CostObjective()}, graph, where="transfer")


def test_no_further_objective_is_no_score(given: Given) -> None:
    network = given().network
    assert further_scores({}, network.model, network, CPU) == {}


def test_data_that_cannot_be_had_are_named_before_the_first_trial(coloured: DatasetSettings, given: Given) -> None:
    teacher = given().network
    near = TransferObjective(by=NearestNeighboursSettings(dataset=coloured))
    with pytest.raises(ValueError, match="further_objectives.colours.by: colours: this task needs validation images"):
        check_data({"colours": near}, teacher)
    check_data({"colours": replace(near, split="test"), "size": CostObjective()}, teacher)
    elsewhere = AnnotatedImagesSettings(name="voc", path="nowhere")
    with pytest.raises(ValueError, match="further_objectives.far.by: dataset.path: 'voc' expected nowhere"):
        check_data({"far": TransferObjective(by=SegmentationSettings(dataset=elsewhere), split="test")}, teacher)
