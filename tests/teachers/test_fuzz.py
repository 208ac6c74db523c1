"""A damaged file of weights is a ``ValueError`` that names it, or weights; nothing in it is run."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from dfkd.settings.experiment import TeacherSettings
from dfkd.teachers.description import describe
from dfkd.teachers.weights import read_safetensors, read_state_dict

FEW = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
WEIGHTS = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.zeros(2)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    file = tmp_path_factory.mktemp("whole") / "weights.pt"
    torch.save(WEIGHTS, file)
    return {"safetensors": save(WEIGHTS, {"architecture": "resnet8"}), "pt": file.read_bytes()}


READERS: dict[str, Callable[[Path], object]] = {"safetensors": read_safetensors, "pt": read_state_dict}


@pytest.mark.parametrize("kind", READERS)
@FEW
@given(place=st.floats(0, 1), length=st.integers(0, 64), instead=st.binary(max_size=16))
def test_a_damaged_file_is_weights_or_an_error(
    whole: dict[str, bytes], tmp_path: Path, kind: str, place: float, length: int, instead: bytes
) -> None:
    content = whole[kind]
    start = int(place * len(content))
    file = tmp_path / f"weights.{kind}"
    file.write_bytes(content[:start] + instead + content[start + length :])
    try:
        READERS[kind](file)
    except ValueError as error:
        assert str(file) in str(error)


NAMED = TeacherSettings(architecture="resnet8")
KEYS = ("class_names", "channels", "input_size", "input_mean", "input_std")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3),
)


@FEW
@given(metadata=st.dictionaries(st.sampled_from(KEYS), JSON.map(json.dumps) | st.text(max_size=12)))
def test_any_metadata_describes_a_teacher_or_is_an_error(metadata: dict[str, str]) -> None:
    whole = {"class_names": '["a", "b"]', "channels": "1", "input_mean": "[0.5]", "input_std": "[0.2]"}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            described = describe(
                NAMED, whole | metadata, image_shape=(1, 8, 8), class_names=("a", "b"), source="a file"
            )
    except ValueError as error:
        assert "a file" in str(error) or "classes" in str(error)
    else:
        assert described.class_names == ("a", "b")
        assert all(math.isfinite(value) for value in described.mean + described.std)
