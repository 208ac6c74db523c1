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
from dfkd.tasks import TaskInput, evaluate
from dfkd.tasks.further_objectives import check_data, further_scores
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
    }
    is_unchanged = unchanged(student)
    check_data(objectives, teacher, validation=images)
    scores = further_scores(objectives, student, teacher, CPU, validation=images)
    task_input = TaskInput(student=student, teacher=teacher.model, images=images, normalise=teacher.normalise)
    expected = evaluate(("representation", "calibration", "corruption"), task_input)
    keys = ("representation/cka", "representation/uniformity", "calibration/ece", "corruption/top1")
    assert list(scores.values()) == pytest.approx([expected[key] for key in keys])
    assert [objective.goal for objective in objectives.values()] == ["maximize", "minimize", "minimize", "maximize"]
    assert is_unchanged()

    same = further_scores({"similar": objectives["similar"]}, teacher.model, teacher, CPU, validation=images)
    assert same["further/similar"] == pytest.approx(1.0)
    with pytest.raises(ValueError, match="further_objectives.similar: 'representation' needs validation images, and"):
        check_data(objectives, teacher)
    unlabelled = replace(images, labels=None)
    check_data({"similar": objectives["similar"]}, teacher, validation=unlabelled)
    with pytest.raises(ValueError, match="further_objectives.sure: 'calibration' needs validation images with labels"):
        check_data({"sure": objectives["sure"]}, teacher, validation=unlabelled)


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
