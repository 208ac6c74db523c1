from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dfkd.assembly import Materials
from dfkd.cluster.checkpoints import CheckpointStore
from dfkd.cluster.local_session import LocalSession
from dfkd.cluster.worker import run_worker
from dfkd.jobs.embedding_map import IMAGES, embedding_map
from dfkd.jobs.synthetic_images import draw_images
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.synthesis import RandomNoiseSettings, RealImagesSettings

Make = Callable[..., ExperimentSettings]


@pytest.fixture
def finished(tiny_settings: Make, tiny_materials: Materials, tmp_path: Path) -> dict[str, Any]:
    """The last checkpoint of a tiny distillation."""
    session = LocalSession(torch.device("cpu"), lambda report: None, CheckpointStore(str(tmp_path)))
    run_worker(tiny_settings(), tiny_materials, session)
    state = CheckpointStore(str(tmp_path)).newest(rank=0, world_size=1)
    assert state is not None
    return state


def test_the_images_are_those_of_the_finished_bank(
    tiny_settings: Make, tiny_materials: Materials, finished: dict[str, Any]
) -> None:
    images = draw_images(tiny_settings(), tiny_materials, finished, count=25).images
    assert images.shape == (25, 1, 8, 8)
    bank = {image.numpy().tobytes() for image in finished["run"]["synthesizer"]["bank"]["images"]}
    assert {image.numpy().tobytes() for image in images.mul(255).round().to(torch.uint8)} <= bank


def test_a_method_without_a_bank_makes_its_images(tiny_settings: Make, tiny_materials: Materials) -> None:
    noise = replace(tiny_settings(), synthesis=RandomNoiseSettings())
    state = {"run": {"synthesizer": {}}}
    images = draw_images(noise, tiny_materials, state, count=20).images
    assert images.shape == (20, 1, 8, 8) and 0 <= images.min() < images.max() <= 1
    ceiling = replace(tiny_settings(), synthesis=RealImagesSettings())
    given = torch.full((3, 1, 8, 8), 51, dtype=torch.uint8)
    real = draw_images(ceiling, replace(tiny_materials, images=given), state, count=4).images
    assert torch.equal(real, torch.full((4, 1, 8, 8), 0.2))


def test_labels_and_sources_are_of_the_images(
    tiny_settings: Make, tiny_materials: Materials, finished: dict[str, Any]
) -> None:
    batch = draw_images(tiny_settings(), tiny_materials, finished, count=25)
    bank = finished["run"]["synthesizer"]["bank"]
    rows = {image.numpy().tobytes(): row for row, image in enumerate(bank["images"])}
    found = [rows[image.numpy().tobytes()] for image in batch.images.mul(255).round().to(torch.uint8)]
    assert batch.labels is not None and batch.sources is not None
    assert batch.labels.tolist() == [int(bank["labels"][row]) for row in found]
    assert batch.sources.tolist() == [int(bank["sources"][row]) for row in found]


def test_a_map_names_classes_and_sources(
    tiny_settings: Make, tiny_materials: Materials, finished: dict[str, Any]
) -> None:
    (content,) = embedding_map(tiny_settings(), tiny_materials, finished).values()
    text = content.decode()
    for name in tiny_materials.teacher.class_names:
        assert f'"name":"{name}"' in text
    for source in (1, 2):  # of a point, and of the legend that explains its shape
        assert f'"noise source {source}"' in text and f'"name":"noise source {source}"' in text
    assert f"features of {IMAGES} synthetic images" in text
    assert "what it was made for" in text


def test_images_without_a_class_are_coloured_by_the_teacher(tiny_settings: Make, tiny_materials: Materials) -> None:
    noise = replace(tiny_settings(), synthesis=RandomNoiseSettings())
    session = LocalSession(torch.device("cpu"), lambda report: None)
    student = run_worker(tiny_settings(), tiny_materials, session)
    weights = {f"student.{name}": value for name, value in student.state_dict().items()}
    state = {"run": {"synthesizer": {}, "network": weights}}
    (content,) = embedding_map(noise, tiny_materials, state).values()
    assert "what the teacher takes it for" in content.decode()
