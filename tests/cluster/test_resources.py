"""What an autoscaling cluster can give once it has grown. `test_ray.py` asks one that cannot grow."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray

from dfkd.cluster import resources
from dfkd.cluster.resources import (
    autoscales,
    check_fits,
    concurrent_trials,
    configured_growth,
    known_growth,
    limits,
    uses_gpu,
)
from dfkd.config import read_yaml
from dfkd.settings.experiment import ExperimentSettings

Make = Callable[..., ExperimentSettings]
ROOT = Path(__file__).parents[2]
HEAD = {"resources": {"CPU": 4}, "max_workers": 0}


def config(max_workers: int, **types: dict[str, Any]) -> dict[str, Any]:
    return {"max_workers": max_workers, "head_node_type": "head", "available_node_types": {"head": HEAD} | types}


def test_our_own_cluster_can_have_sixteen_gpus_though_none_is_up() -> None:
    assert configured_growth(read_yaml(ROOT / "cluster.yaml")) == {"CPU": 132.0, "GPU": 16.0}


@pytest.mark.parametrize(
    ("most", "growth"),
    [(0, {"CPU": 4.0, "GPU": 0.0}), (1, {"CPU": 68.0, "GPU": 4.0}), (9, {"CPU": 4.0 + 128 + 56, "GPU": 8.0 + 7})],
)
def test_the_number_of_nodes_is_limited_by_kind_and_in_all(most: int, growth: dict[str, float]) -> None:
    large = {"resources": {"CPU": 64, "GPU": 4}, "max_workers": 2}
    small = {"resources": {"CPU": 8, "GPU": 1}, "max_workers": 20}
    assert configured_growth(config(most, small=small, large=large)) == growth


def test_a_kind_without_stated_resources_counts_for_nothing() -> None:
    assert configured_growth(config(3, some={"max_workers": 3})) == {"CPU": 4.0, "GPU": 0.0}


@pytest.fixture(scope="module")
def head() -> Iterator[None]:
    """A cluster of one node, that `ray up` has started as far as it can tell: its type is in its environment."""
    before = dict(os.environ)
    os.environ |= {"RAY_NODE_TYPE_NAME": "head", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
    ray.init(address="local", num_cpus=2, num_gpus=0, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.ray
def test_a_search_on_the_head_knows_what_may_come(
    head: None, tiny_settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copy(ROOT / "cluster.yaml", tmp_path / "ray_bootstrap_config.yaml")
    automatic = replace(tiny_settings(), device="auto")
    assert autoscales()
    assert limits() == {"CPU": 132.0, "GPU": 16.0}
    assert uses_gpu(automatic) and not uses_gpu(tiny_settings())
    assert [concurrent_trials(automatic, 1, wanted=wanted) for wanted in (None, 3, 99)] == [16, 3, 16]
    check_fits(automatic, 16)
    with pytest.raises(ValueError, match="workers: 17 needed, each with a GPU; the cluster can give 16 at most"):
        check_fits(automatic, 17)


def test_a_cluster_of_gpus_without_a_cpu_is_refused(tiny_settings: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "autoscales", lambda: False)
    monkeypatch.setattr(resources, "limits", lambda: {"CPU": 0.0, "GPU": 1.0})
    with pytest.raises(ValueError, match="a trial takes a CPU beside its GPU, and the cluster can give none"):
        check_fits(replace(tiny_settings(), device="cuda"), 1)
    monkeypatch.setattr(resources, "limits", lambda: {"CPU": 1.0, "GPU": 1.0})
    check_fits(replace(tiny_settings(), device="cuda"), 1)


@pytest.mark.ray
@pytest.mark.parametrize("content", [None, "a: [1, 2"], ids=["no file", "no configuration"])
def test_where_nothing_tells_what_may_come_the_user_says_what_to_use(
    head: None, tiny_settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    if content:
        (tmp_path / "ray_bootstrap_config.yaml").write_text(content)
    assert known_growth() is None
    with pytest.raises(ValueError, match="device: 'auto' cannot tell .* Say 'cuda' or 'cpu', and give `concurrency`"):
        check_fits(replace(tiny_settings(), device="auto"), 1)
    on_gpus = replace(tiny_settings(), device="cuda")
    check_fits(on_gpus, 4)
    assert uses_gpu(on_gpus)
    assert [concurrent_trials(on_gpus, 1, wanted=wanted) for wanted in (None, 3)] == [1, 3]
    assert [concurrent_trials(tiny_settings(), 1, wanted=wanted) for wanted in (None, 3)] == [2, 3]
