"""What a search is said to take on many GPUs, and what its driver took: docs/capacity.md against its scripts."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from dfkd.search.load import load_space
from dfkd.search.space import SearchSpace

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = (ROOT / "docs" / "capacity.md").read_text()
SPACE = "search_spaces/imagenet_cae.yaml"
DRIVER = "many_trials_1000.json"
SECONDS = {"warm_up_epoch": 10.0, "epoch": 1.0}


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, ModuleType]]:
    """The scripts; they import others of their folder."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    found = {}
    for name in ("capacity", "many_trials", "driver_queue", "platform_overhead"):
        spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
        assert spec is not None and spec.loader is not None
        sys.modules[name] = found[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(found[name])
    yield found
    sys.path.remove(str(ROOT / "benchmarks"))
    for name in found:
        del sys.modules[name]


@pytest.fixture
def space(monkeypatch: pytest.MonkeyPatch) -> SearchSpace:
    monkeypatch.chdir(ROOT)
    return load_space(SPACE, [], trials=64)


def result(name: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((RESULTS / name).read_text())
    return facts


def test_the_page_has_the_table_of_its_command(
    scripts: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["capacity.py", SPACE, "--trials", "64"])
    scripts["capacity"].main()
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == 2 + len(scripts["capacity"].CLUSTERS)
    assert printed in PAGE


def test_the_page_names_what_was_measured(scripts: dict[str, ModuleType]) -> None:
    measured = scripts["capacity"].measured()
    rows = [line for line in PAGE.splitlines() if line.startswith("|") and "measured" in line]
    shares = f"{measured['distillation_share_of_floor']:.2f} student steps, {measured['synthesis_share_of_floor']:.2f}"
    for value in (
        f"| {shares} generator steps |",
        f"| {measured['platform_overhead']:.3g} |",
        f"| {measured['start_seconds']:.0f} s |",
        f"| {measured['free_slot_seconds']:.1f} s |",
    ):
        assert sum(value in row for row in rows) == 1, value


def test_the_page_has_the_tables_of_the_driver(scripts: dict[str, ModuleType]) -> None:
    measured = result(DRIVER)
    assert scripts["many_trials"].table([measured]) in PAGE
    assert scripts["driver_queue"].table(measured, slots=64, trials=1000) in PAGE


def test_the_measured_driver_stays_small_and_flat() -> None:
    found = result(DRIVER)
    assert (found["asked"]["trials"], found["asked"]["concurrent"]) == (1000, 2)
    assert found["driver_gib"]["500"] < 1.5
    assert found["driver_gib"]["200"] - found["driver_gib"]["before"] < 0.1
    assert found["driver_gib_per_100_trials"] < 0.02
    assert not found["commit"].endswith("+")


def test_the_slowest_of_several_is_as_late_as_tables_of_normal_draws_say(scripts: dict[str, ModuleType]) -> None:
    expected = {1: 0.0, 2: 0.5642, 5: 1.1630, 10: 1.5388}  # Teichroew, Annals of Mathematical Statistics, 1956
    scaling = sys.modules["scaling"]
    assert {n: round(scaling.expected_maximum(n), 4) for n in expected} == expected
    assert scaling.predicted_step(2.0, 0.0, 2, latency=0.0, bandwidth=1.0, spread=0.1) == pytest.approx(
        2.11284, abs=1e-5
    )


def test_overhead_is_that_of_pairs(scripts: dict[str, ModuleType]) -> None:
    overhead_of_pairs = scripts["platform_overhead"].overhead_of_pairs
    assert overhead_of_pairs([11.0, 22.0, 5.5], [10.0, 20.0, 5.0]) == pytest.approx([0.1, 0.1, 0.1])
    mean, low, high = overhead_of_pairs([12.0, 10.0], [10.0, 12.0])
    assert mean == pytest.approx(0.0) and low < -0.5 and high > 1
    assert overhead_of_pairs([1.0], [1.0]) is None


def test_what_an_epoch_takes_beyond_its_steps_leaves_the_first_out(scripts: dict[str, ModuleType]) -> None:
    beyond_steps = scripts["platform_overhead"].beyond_steps
    first, second = [(10.0, 10.0), (25.0, 10.0), (36.0, 10.0), (48.0, 10.0)], [(9.0, 9.0), (20.0, 9.0), (32.0, 9.0)]
    assert beyond_steps([first]) == pytest.approx(1.5)
    assert beyond_steps([first, second]) == pytest.approx(2.0)


def test_without_early_stopping_trials_run_in_whole_waves(scripts: dict[str, ModuleType], space: SearchSpace) -> None:
    """64 trials, one of them before the others, 10 at a time: 7 waves of a gap, 10 warm-up epochs and 100 epochs."""
    over, busy = scripts["capacity"].search_seconds(space, SECONDS, slots=10, between=5.0, stops=False, seed=0)
    one = 5.0 + 10 * 10.0 + 100 * 1.0
    assert over == pytest.approx(7 * one)
    assert busy == pytest.approx(63 * one)


def test_early_stopping_saves_most_epochs_of_the_student_but_no_warm_up(
    scripts: dict[str, ModuleType], space: SearchSpace
) -> None:
    """With a factor of 3 from epoch 15 on, halving at its best leaves 15 + 30 / 3 + 55 / 9 epochs of 100."""
    search_seconds = scripts["capacity"].search_seconds
    of_seeds = [search_seconds(space, SECONDS, slots=4, between=0.0, stops=True, seed=seed)[1] for seed in range(20)]
    epochs = sum(of_seeds) / 20 / 63 - 10 * 10.0
    assert 15 + 30 / 3 + 55 / 9 < epochs < 50
    one_slot, _ = search_seconds(space, SECONDS, slots=1, between=0.0, stops=True, seed=0)
    many_slots, busy = search_seconds(space, SECONDS, slots=64, between=0.0, stops=True, seed=0)
    assert one_slot == pytest.approx(busy)
    assert many_slots == 10 * 10.0 + 100 * 1.0  # the default settings are never stopped


def test_a_floor_of_ones_own_gpu_takes_the_place_of_assumed_rates(
    scripts: dict[str, ModuleType], tmp_path: Path
) -> None:
    passes = {name: {"milliseconds": 64.0} for name in ("teacher", "student", "synthesis")}
    file = tmp_path / "floor.json"
    file.write_text(json.dumps({"passes": passes, "batch_sizes": {"student": 32, "synthesis": 16}}))
    found = scripts["capacity"].image_seconds(SimpleNamespace(floor=str(file)))
    assert found == pytest.approx({"teacher": 0.002, "student": 0.002, "synthesis": 0.004})


def test_a_pass_takes_as_long_as_the_slower_of_its_operations_and_bytes(scripts: dict[str, ModuleType]) -> None:
    cost = result("floor_imagenet_cpu.json")
    batch, of_one = cost["batch_sizes"]["student"], cost["passes"]["teacher"]
    image_seconds = scripts["capacity"].image_seconds
    slow_sums = image_seconds(SimpleNamespace(floor=None, teraflops=1e-3, terabytes=1e3))["teacher"]
    slow_memory = image_seconds(SimpleNamespace(floor=None, teraflops=1e3, terabytes=1e-6))["teacher"]
    assert slow_sums == pytest.approx(of_one["gflop"] / batch)
    assert slow_memory == pytest.approx(of_one["megabytes"] / batch)


def test_a_slot_is_free_from_a_last_report_to_the_next_trial(scripts: dict[str, ModuleType]) -> None:
    """Two processes: 1 begins at 0 and ends at 10, 2 at 1 and 12; their next trials begin at 10.5 and 14."""
    lines = [
        {"process": 1, "began": 0.0, "told": 5.0, "waited": None},
        {"process": 1, "began": 0.0, "told": 10.0, "waited": 0.25},
        {"process": 2, "began": 1.0, "told": 12.0, "waited": None},
        {"process": 1, "began": 10.5, "told": 20.0, "waited": None},
        {"process": 2, "began": 14.0, "told": 21.0, "waited": None},
    ]
    assert scripts["many_trials"].slot_delays(lines, 2) == pytest.approx([0.5, 2.0])


def test_a_slot_of_an_idle_driver_waits_for_a_report_and_a_turn_over(scripts: dict[str, ModuleType]) -> None:
    """Trials of a day on two slots never meet at the driver."""
    queue = scripts["driver_queue"]
    driver = queue.Driver(report=0.1, turn=0.4)
    waits = queue.simulate(driver, slots=2, trials=2000, reports=6.0, length=86400.0)
    assert len(waits.slots) == 1998 and len(waits.reports) == 12_000
    assert sum(waits.slots) / 1998 == pytest.approx(0.1 + 0.4 + 2 * queue.PER_RUNNING, rel=0.05)
    assert sum(waits.reports) / 12_000 == pytest.approx(0.1, rel=0.05)


def test_trials_that_come_faster_than_the_driver_takes_them_wait_for_each_other(
    scripts: dict[str, ModuleType],
) -> None:
    """A closed loop: 10 slots that work no time share a driver of one second a trial."""
    queue = scripts["driver_queue"]
    driver = queue.Driver(report=0.1, turn=0.4)
    waits = queue.simulate(driver, slots=10, trials=1000, reports=6.0, length=0.0)
    assert waits.seconds / 1000 == pytest.approx(6 * 0.1 + 0.4, rel=0.05)
    assert sum(waits.slots) / len(waits.slots) > 0.9
