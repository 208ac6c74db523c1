from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

FILE = Path(__file__).parents[2] / "benchmarks" / "generator_steps.py"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generator_steps", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_diversity_is_one_less_the_mean_cosine_of_different_images_of_a_class(benchmark: ModuleType) -> None:
    features = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0], [5.0, 0.0], [1.0, 1.0]])
    # Class 0: three images, pairs of cosine 1, 0, 0. Class 1: one image, which has no pair. Class 2: one image.
    assert benchmark.diversity(features, torch.tensor([0, 0, 0, 1, 2])) == pytest.approx(2 / 3)
    # With class 1 of two images at 45 degrees: the classes count alike.
    with_a_pair = benchmark.diversity(features, torch.tensor([0, 0, 0, 1, 1]))
    assert with_a_pair == pytest.approx((2 / 3 + 1 - math.sqrt(0.5)) / 2)
    assert math.isnan(benchmark.diversity(features, torch.arange(5)))


def test_collapsed_images_are_sure_at_once_and_never_equal(benchmark: ModuleType) -> None:
    step = benchmark.Step
    honest = [[step(0.5, 3.0, 0.2), step(0.99, 2.0, 0.3), step(1.0, 1.0, 0.4)]]
    collapsed = [[step(1.0, 1.0, 0.0)] * 3]
    own = benchmark.row(honest, honest, 0.1)
    assert (own["steps_to_sure"], own["steps_to_sure_and_equal"]) == (2, 3)
    other = benchmark.row(collapsed, honest, 0.1)
    assert (other["steps_to_sure"], other["steps_to_sure_and_equal"]) == (1, None)
    assert other["share_sure_and_equal"] == 0
