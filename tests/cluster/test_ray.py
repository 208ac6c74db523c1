"""Ray Train and Ray Tune around the tiny experiment, on one local cluster of two CPUs."""

from __future__ import annotations

import os
import re
import signal
import sys
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import cloudpickle, tune
from ray._raylet import GCS_AUTOSCALER_CLUSTER_CONFIG_KEY, GCS_AUTOSCALER_STATE_NAMESPACE
from ray.core.generated.autoscaler_pb2 import ClusterConfig
from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_put
from ray.util.state import list_actors

from dfkd.assembly import Materials
from dfkd.cluster.data_parallel import run_data_parallel_here
from dfkd.cluster.resources import (
    autoscales,
    check_fits,
    concurrent_trials,
    known_growth,
    limits,
    num_nodes,
    trial_resources,
    uses_gpu,
)
from dfkd.cluster.trial import TrialPlan, last_state
from dfkd.cluster.trial_events import TrialEvents
from dfkd.cluster.tuner import Objective, make_searcher, run_trials
from dfkd.cluster.worker import PREVIEW_KEY, RESTARTS, Report
from dfkd.jobs.ray_cluster import ENVIRONMENT
from dfkd.search.optuna_space import open_study, study_storage
from dfkd.search.space import SearchSpace
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.identity import to_dict
from dfkd.settings.search import CategoricalChoices, SamplerSettings, SearchSettings

pytestmark = pytest.mark.ray

Make = Callable[..., ExperimentSettings]
AGREEMENT = Objective(metric="probe/agreement", mode="max")
HOPELESS = 1e30  # a learning rate that makes the loss infinite in the first epoch with student steps


@pytest.fixture(scope="module", autouse=True)
def dashboard() -> Iterator[str]:
    """A cluster, and the address at which it says what its processes are."""
    before = dict(os.environ)
    os.environ.update(ENVIRONMENT | {"OMP_NUM_THREADS": "1"})
    context = ray.init(address="local", num_cpus=2, num_gpus=0, log_to_driver=False, logging_level="ERROR")
    yield f"http://{context.dashboard_url}"
    ray.shutdown()
    os.environ.clear()
    os.environ.update(before)


class Diary:
    """Writes down what it hears of trials."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, Any, Any]] = []

    def started(self, params: dict[str, Any]) -> None:
        self.lines.append(("started", params["distillation.learning_rate"], None))

    def reported(self, params: dict[str, Any], report: Report) -> None:
        self.lines.append(("reported", params["distillation.learning_rate"], report))

    def ended(self, params: dict[str, Any], *, error: str | None, lost: bool = False) -> None:
        self.lines.append(("lost" if lost else "ended", params["distillation.learning_rate"], error))

    def of(self, what: str, rate: float | None = None) -> list[Any]:
        return [content for kind, of, content in self.lines if kind == what and rate in (None, of)]


class Witness:
    """Writes down, in every process that it is sent to, where ``import platform`` finds its module."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder

    def __setstate__(self, state: dict[str, Any]) -> None:
        import os
        import platform
        from pathlib import Path

        self.__dict__ = state
        Path(state["folder"], str(os.getpid())).write_text(platform.__file__)

    def found(self) -> dict[int, str]:
        return {int(file.name): file.read_text() for file in self.folder.iterdir()}


cloudpickle.register_pickle_by_value(sys.modules[__name__])  # a worker cannot import this module
STANDARD_LIBRARY = f"{sysconfig.get_paths()['stdlib']}/platform.py"


class Processes(tune.Callback):  # type: ignore[misc]
    """Writes down which process each trial ran in, and what Ray Tune keeps of it."""

    def __init__(self) -> None:
        self.of_trial: dict[str, int] = {}
        self.last_results: list[dict[str, Any]] = []

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.last_results.append(trial.last_result)

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        self.of_trial[trial.trial_id] = result["pid"]


def space_of(settings: ExperimentSettings, rates: tuple[float, ...]) -> SearchSpace:
    plain = to_dict(settings)
    return SearchSpace(
        settings=SearchSettings(
            name="tiny",
            experiment=plain,
            parameters={"distillation.learning_rate": CategoricalChoices(choices=rates)},
            trials=len(rates),
        ),
        where="a test",
    )


def test_the_cluster_is_known(tiny_settings: Make) -> None:
    assert (num_nodes(), autoscales(), uses_gpu(tiny_settings())) == (1, False, False)
    assert (limits(), known_growth()) == ({"CPU": 2.0, "GPU": 0.0}, None)
    assert not uses_gpu(replace(tiny_settings(), device="auto"))
    assert [concurrent_trials(tiny_settings(), workers, wanted=None) for workers in (1, 2, 3)] == [2, 1, 1]
    assert [concurrent_trials(tiny_settings(), 1, wanted=wanted) for wanted in (1, 5)] == [1, 2]
    assert trial_resources(tiny_settings(), 1) == {"CPU": 1}
    assert "CPU" not in trial_resources(tiny_settings(), 2)  # its workers reserve theirs themselves


def test_more_workers_than_the_cluster_has_are_refused_at_once(tiny_settings: Make) -> None:
    check_fits(tiny_settings(), 2)
    with pytest.raises(ValueError, match="workers: 3 needed, each with a CPU; the cluster can give 2 at most"):
        check_fits(tiny_settings(), 3)
    with pytest.raises(ValueError, match="workers: 1 needed, each with a GPU, which `device: cuda` asks for"):
        check_fits(replace(tiny_settings(), device="cuda"), 1)


@pytest.fixture
def gpu_nodes_may_come() -> Iterator[None]:
    """Ray's own store says what an autoscaler reported: the head, and up to 8 nodes with 4 CPUs and a GPU each."""
    config = ClusterConfig()
    config.node_group_configs.add(name="head", max_count=1, resources={"CPU": 2})
    config.node_group_configs.add(name="gpu_spot", max_count=8, resources={"CPU": 4, "GPU": 1})
    key, namespace = GCS_AUTOSCALER_CLUSTER_CONFIG_KEY.encode(), GCS_AUTOSCALER_STATE_NAMESPACE.encode()
    _internal_kv_put(key, config.SerializeToString(), namespace=namespace)
    yield
    _internal_kv_del(key, namespace=namespace)


def test_what_an_autoscaler_may_add_counts(tiny_settings: Make, gpu_nodes_may_come: None) -> None:
    automatic = replace(tiny_settings(), device="auto")
    assert limits() == {"CPU": 34.0, "GPU": 8.0}
    assert uses_gpu(automatic) and not uses_gpu(tiny_settings())
    assert trial_resources(automatic, 1) == {"CPU": 1, "GPU": 1}
    assert [concurrent_trials(automatic, 1, wanted=wanted) for wanted in (None, 3, 99)] == [8, 3, 8]
    assert [concurrent_trials(automatic, workers, wanted=None) for workers in (2, 3)] == [4, 2]
    check_fits(automatic, 8)
    with pytest.raises(ValueError, match="workers: 9 needed, each with a GPU; the cluster can give 8 at most"):
        check_fits(automatic, 9)


def tune_trials(
    plan: TrialPlan,
    materials: Materials,
    *,
    num_trials: int,
    rates: tuple[float, ...],
    callbacks: list[tune.Callback],
    concurrency: int | None = 1,
) -> int:
    """Run trials on Ray Tune, one by one if not told else, their points given; the study is called tiny."""
    storage = study_storage(Path(plan.storage) / "optuna.db")
    open_study(storage, name="tiny", direction="maximize")
    return run_trials(
        plan,
        materials,
        name="tiny",
        num_trials=num_trials,
        objective=AGREEMENT,
        searcher=make_searcher(
            plan,
            objective=AGREEMENT,
            sampler=SamplerSettings(name="random"),
            storage=storage,
            study_name="tiny",
            first=[{"distillation.learning_rate": rate} for rate in rates],
        ),
        callbacks=callbacks,
        concurrency=concurrency,
    )


def test_a_search_goes_on_after_a_trial_that_cannot_end_well(
    tiny_settings: Make, tiny_materials: Materials, tmp_path: Path
) -> None:
    rates = (0.2, HOPELESS, 0.1, 0.05)
    plan = TrialPlan(space=space_of(tiny_settings(), rates), storage=str(tmp_path), workers=1, image_every=2)
    diary, processes, witness = Diary(), Processes(), Witness(tmp_path / "witness")
    materials = replace(tiny_materials, images=witness)  # that no method asks for here
    ran = tune_trials(
        plan,
        materials,
        num_trials=6,
        rates=rates,
        callbacks=[TrialEvents(diary, compared_by=[AGREEMENT.metric]), processes],
    )
    assert ran == 4  # the space has no other point
    for rate in rates:
        assert len(diary.of("started", rate)) == 1
        assert [report["epoch"] for report in diary.of("reported", rate)][:1] == [0]
    (why,) = diary.of("ended", HOPELESS)
    assert re.match(r"epoch 1: distillation/\w+ is (inf|nan)\. ", why)
    for rate in (0.2, 0.1, 0.05):
        assert diary.of("ended", rate) == [None]
        assert [report["finished"] for report in diary.of("reported", rate)] == [False, False, True]
        assert [PREVIEW_KEY in report for report in diary.of("reported", rate)] == [True, False, True]
        state = last_state(plan.trial_uri(plan.resolve({"distillation.learning_rate": rate})), world_size=1)
        assert state["report"]["probe/agreement"] == diary.of("reported", rate)[-1]["probe/agreement"]
    study = open_study(study_storage(tmp_path / "optuna.db"), name="tiny", direction="maximize")
    assert [trial.state.name for trial in study.trials][:4] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    complete = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    assert [trial.params["distillation.learning_rate"] for trial in complete] == [0.2, 0.1, 0.05]
    assert len(processes.last_results) == 4
    assert not any(PREVIEW_KEY in result for result in processes.last_results)
    (process,) = set(processes.of_trial.values())  # a process goes on to the next trial, also after a failed one
    assert witness.found()[process] == STANDARD_LIBRARY
    assert tune_trials(plan, tiny_materials, num_trials=1, rates=(), callbacks=[]) == 0


class Murders(tune.Callback):  # type: ignore[misc]
    """Kills the process of a trial after each of its first epochs."""

    def __init__(self) -> None:
        self.count = 0

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        self.count += 1
        os.kill(result["pid"], signal.SIGKILL)


def test_a_trial_whose_process_dies_goes_on_and_is_given_up_in_the_end(
    tiny_settings: Make, tiny_materials: Materials, tmp_path: Path
) -> None:
    plan = TrialPlan(space=space_of(tiny_settings(), (0.2,)), storage=str(tmp_path), workers=1, image_every=0)
    diary, murders = Diary(), Murders()
    assert (
        tune_trials(
            plan,
            tiny_materials,
            num_trials=1,
            rates=(),
            callbacks=[TrialEvents(diary, compared_by=[AGREEMENT.metric]), murders],
        )
        == 1
    )
    assert len(diary.of("started")) == murders.count == 1 + RESTARTS
    (why,) = diary.of("lost")
    assert re.match(r"\w*Actor\w*Error: ", why), why
    study = open_study(study_storage(tmp_path / "optuna.db"), name="tiny", direction="maximize")
    assert [trial.state.name for trial in study.trials] == ["FAIL"]


@pytest.mark.slow
def test_a_killed_worker_does_not_change_the_numbers(
    tiny_settings: Make, tiny_materials: Materials, tmp_path: Path, two_workers: list[dict[str, Any]], dashboard: str
) -> None:
    undisturbed = two_workers[0]["long"]  # two plain processes without Ray
    made = tiny_settings(workers=2, distillation={"epochs": len(undisturbed["reports"]) - 1})
    killed: list[int] = []

    def kill_one(report: Report) -> None:
        if report["epoch"] == 1 and not killed:
            killed.append(int(train_workers(dashboard, "ALIVE")[0].pid))
            os.kill(killed[0], signal.SIGKILL)

    num_before = len(train_workers(dashboard))
    witness = Witness(tmp_path / "witness")
    disturbed = reports_of(made, replace(tiny_materials, images=witness), tmp_path, kill_one)
    workers = {int(worker.pid) for worker in train_workers(dashboard)}
    assert killed[0] in witness.found().keys() & workers
    assert set(witness.found().values()) == {STANDARD_LIBRARY}
    assert len(train_workers(dashboard)) - num_before == 4  # both were started anew
    assert {report["epoch"]: without_times(report) for report in disturbed} == {
        report["epoch"]: without_times(report) for report in undisturbed["reports"]
    }
    network = last_state(str(tmp_path), world_size=2)["run"]["network"]
    for name, tensor in undisturbed["weights"].items():
        assert tensor.equal(network[f"student.{name}"]), name


@pytest.mark.slow
def test_a_trial_of_two_workers_goes_on_when_one_dies(
    tiny_settings: Make, tiny_materials: Materials, tmp_path: Path, dashboard: str
) -> None:
    settings = tiny_settings(workers=2, distillation={"epochs": 12})
    plan = TrialPlan(space=space_of(settings, (0.2,)), storage=str(tmp_path), workers=2, image_every=0)
    diary = Diary()

    class Kill(tune.Callback):  # type: ignore[misc]
        killed = 0

        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
            alive = train_workers(dashboard, "ALIVE")
            if result["epoch"] == 1 and alive and not self.killed:
                self.killed = int(alive[0].pid)
                os.kill(self.killed, signal.SIGKILL)

    tune_trials(
        plan,
        tiny_materials,
        num_trials=1,
        rates=(),
        callbacks=[TrialEvents(diary, compared_by=[AGREEMENT.metric]), Kill()],
    )
    assert len(diary.of("started")) == 2
    assert diary.of("ended") == [None]
    epochs = [report["epoch"] for report in diary.of("reported")]
    assert sorted(set(epochs)) == list(range(13))
    assert diary.of("reported")[-1]["finished"]


@pytest.mark.slow
def test_trials_of_two_workers_take_turns_where_there_is_room_for_one(
    tiny_settings: Make, tiny_materials: Materials, tmp_path: Path
) -> None:
    """Each would hold one of the two CPUs and wait for the other for ever, if both began."""
    rates = (0.2, 0.1, 0.05)
    plan = TrialPlan(space=space_of(tiny_settings(workers=2), rates), storage=str(tmp_path), workers=2, image_every=0)
    diary = Diary()
    events = TrialEvents(diary, compared_by=[AGREEMENT.metric])
    assert tune_trials(plan, tiny_materials, num_trials=3, rates=rates, callbacks=[events], concurrency=None) == 3
    assert diary.of("ended") == [None] * 3
    assert [kind for kind, *_ in diary.lines if kind != "reported"] == ["started", "ended"] * 3


@pytest.mark.slow
def test_what_cannot_end_well_on_ray_train_is_told_in_its_own_words_and_not_tried_again(
    tiny_settings: Make, tiny_materials: Materials, tmp_path: Path
) -> None:
    made = tiny_settings(workers=2, distillation={"learning_rate": HOPELESS})
    with pytest.raises(FloatingPointError, match=r"epoch 1: distillation/\w+ is (nan|inf)"):
        reports_of(made, tiny_materials, tmp_path)


def reports_of(
    settings: ExperimentSettings,
    materials: Materials,
    folder: Path,
    on_report: Callable[[Report], None] = lambda report: None,
) -> list[Report]:
    reports: list[Report] = []

    def listen(report: Report) -> None:
        reports.append(report)
        on_report(report)

    run_data_parallel_here(settings, materials, str(folder), image_every=0, on_report=listen)
    return reports


def train_workers(address: str, state: str | None = None) -> list[Any]:
    """Return Ray Train's worker processes so far."""
    filters = [("class_name", "=", "RayTrainWorker")] + ([("state", "=", state)] if state else [])
    return list(list_actors(address, filters=filters))


def without_times(report: Report) -> Report:
    return {name: value for name, value in report.items() if not name.startswith(("time/", "system/"))}
