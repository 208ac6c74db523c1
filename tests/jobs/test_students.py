from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dfkd.assembly import Materials
from dfkd.cluster.checkpoints import CheckpointStore
from dfkd.cluster.local_session import LocalSession
from dfkd.cluster.worker import run_worker
from dfkd.data.image_set import ImageSet
from dfkd.jobs.students import Judgement, count_parameters, judge, load_student
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.synthesis import ContrastSettings
from dfkd.tasks.protocol import predict_logits


@pytest.mark.parametrize("kind", ["bank", "none"], ids=["with a head", "without a head"])
def test_a_student_comes_back_from_its_checkpoint(
    tiny_settings: Callable[..., ExperimentSettings], tiny_materials: Materials, tmp_path: Path, kind: str
) -> None:
    settings = tiny_settings(contrast=ContrastSettings(kind=kind))  # type: ignore[arg-type]
    store, teacher = CheckpointStore(str(tmp_path)), tiny_materials.teacher
    trained = run_worker(settings, tiny_materials, LocalSession(torch.device("cpu"), lambda report: None, store))
    state = store.newest(rank=0, world_size=1)
    assert state is not None
    student = load_student(settings, teacher, state)
    assert not student.training
    assert list(student.state_dict()) == list(trained.state_dict())
    images = tiny_materials.validation
    assert images is not None
    logits = [
        predict_logits(model, images.images, normalise=teacher.normalise, device="cpu") for model in (trained, student)
    ]
    torch.testing.assert_close(logits[0], logits[1])
    judgement = judge(student, teacher, images, ("accuracy", "agreement"))
    assert judgement.scores["accuracy/top1"] == state["report"]["val/accuracy/top1"]
    assert judge(student, teacher, None, ("accuracy",)) == Judgement()
    assert count_parameters(student) == sum(tensor.numel() for tensor in trained.parameters())


def test_scores_and_confusion_come_of_one_look_at_each_image(tiny_materials: Materials) -> None:
    teacher, images = tiny_materials.teacher, tiny_materials.validation
    assert images is not None
    student, seen = copy.deepcopy(teacher.model), []
    student.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    judgement = judge(student, teacher, images, ("accuracy", "agreement"))
    assert sum(seen) == len(images)
    matrix = torch.tensor(judgement.confusion)
    assert matrix.sum() == len(images)
    assert matrix.trace() / len(images) == pytest.approx(judgement.scores["accuracy/top1"])
    assert Judgement(**json.loads(json.dumps(judgement.to_dict()))) == judgement
    unlabelled = judge(student, teacher, ImageSet(images.images, None), ("accuracy", "agreement"))
    assert (set(unlabelled.scores), unlabelled.confusion) == ({"agreement/top1", "agreement/kl"}, [])
