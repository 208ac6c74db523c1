from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from dfkd.settings.experiment import DatasetSettings
from dfkd.settings.objectives import CostObjective, TransferObjective
from dfkd.settings.tasks import NearestNeighboursSettings, SegmentationSettings
from dfkd.settings.tasks.dense import AnnotatedImagesSettings
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
