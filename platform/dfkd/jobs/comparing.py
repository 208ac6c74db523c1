"""``Comparing``: what the phases of one comparison share, and what they ask of the cluster."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from dfkd.assembly import Materials, load_images
from dfkd.cluster.pool import Finished, Task, run_here, run_tasks, share
from dfkd.comparison.budget import ScaledRun, scale_to_budget
from dfkd.comparison.cost import PartCosts, count_macs, time_parts
from dfkd.comparison.results import ResultsFolder
from dfkd.config.comparison import Comparison, without_places
from dfkd.data.real_data import RealData
from dfkd.jobs.console import Console
from dfkd.probe_set import ProbeSet
from dfkd.settings.comparison import REVISION
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.identity import flatten, settings_key
from dfkd.settings.synthesis import StoredImagesSettings
from dfkd.teachers import Teacher

Name = TypeVar("Name")
TeacherOf = tuple[str, int]  # pair, training seed


@dataclass(frozen=True, kw_only=True)
class Comparing:
    """A comparison between its checks and its end.

    Attributes:
        comparison: what is compared.
        folder: of its results.
        storage: absolute folder or URI of its checkpoints.
        data: all real images, the test split among them.
        teachers: by pair and training seed.
        console: what a person reads.
        gpu: whether every run has a GPU.
        at_once: runs at a time.
        dry: tasks run in this process, where only parts of runs are tried, and the folder is read alone.
    """

    comparison: Comparison
    folder: ResultsFolder
    storage: str
    data: RealData
    teachers: dict[TeacherOf, Teacher]
    console: Console
    gpu: bool
    at_once: int
    dry: bool = False
    _shared: dict[Any, Any] = field(default_factory=dict)

    def materials(
        self, settings: ExperimentSettings, teacher: TeacherOf, *, probe: ProbeSet | None = None, test: bool = True
    ) -> Any:
        """Return a reference to what a run works on, put where every node can read it once; itself in a dry run.

        Args:
            settings: of the run.
            teacher: which.
            probe: the teacher's exam, where the objective of a tuning is computed on it.
            test: whether the student is followed on test images.
        """
        stored = settings.synthesis if isinstance(settings.synthesis, StoredImagesSettings) else None
        key = teacher, probe is not None, test, stored
        if key not in self._shared:
            materials = Materials(
                teacher=self.teachers[teacher],
                probe=probe,
                validation=self.data.validation,
                test=self.data.test if test else None,
                images=load_images(settings, self.data),
            )
            self._shared[key] = materials if self.dry else share(materials)
        return self._shared[key]

    def labelled_images(self, student: str) -> Any:
        """Return a reference to what a student that is not distilled is trained on: the training images, or None."""
        if student != "from_labels":
            return None
        if "train" not in self._shared:
            self._shared["train"] = share(self.data.train)
        return self._shared["train"]

    def run(self, tasks: Sequence[Task[Name]]) -> Iterator[Finished[Name]]:
        """Run tasks, as many at once as this comparison allows, and yield each as it ends."""
        return run_here(tasks) if self.dry else run_tasks(tasks, gpu=self.gpu, at_once=self.at_once)

    @property
    def unit(self) -> str:
        """What the budget counts."""
        return self.comparison.settings.budget.unit


@dataclass(frozen=True, kw_only=True)
class KnownCosts:
    """What the parts of a row's runs cost, or why they could not be run.

    Attributes:
        macs: counted.
        seconds: timed, where the budget is in seconds.
        error: of an attempt.
    """

    macs: PartCosts | None = None
    seconds: PartCosts | None = None
    error: str | None = None


def cost_key(settings: ExperimentSettings, *, coarse: bool = False) -> str:
    """Return what is equal for runs whose parts cost the same: the settings without their seeds.

    Args:
        settings: of a run, unscaled.
        coarse: take rates and weights as one, as long as they are not 0: the trials of a tuning differ in little else.
    """
    training = dataclasses.replace(settings.teacher.training, seed=0)
    same = dataclasses.replace(settings, seed=0, teacher=dataclasses.replace(settings.teacher, training=training))
    plain = without_places(same)
    if coarse:
        plain = {name: value != 0 if isinstance(value, float) else value for name, value in flatten(plain).items()}
    return settings_key({"revision": REVISION, "settings": plain})


def find_costs(
    comparing: Comparing, wanted: Mapping[str, tuple[ExperimentSettings, TeacherOf]]
) -> dict[str, KnownCosts]:
    """Return the costs of the parts of these runs: remembered in the results folder, or counted (and timed) now.

    Args:
        comparing: the comparison.
        wanted: unscaled settings with one of their teachers, by ``cost_key``.
    """
    remembered = comparing.folder.costs()
    known = {key: _read_costs(entry) for key, entry in remembered.items()}
    missing = {key: run for key, run in wanted.items() if key not in known}
    if missing:
        comparing.console.say(f"counting what the parts of {len(missing)} kinds of run cost, by running them")
    tasks = [
        Task(name=(key, unit), function=function, arguments=(settings, comparing.materials(settings, teacher)))
        for key, (settings, teacher) in missing.items()
        for unit, function in (("macs", count_macs), ("seconds", time_parts))
        if unit in ("macs", comparing.unit)
    ]
    for finished in comparing.run(tasks):
        key, unit = finished.name
        now = {"error": finished.error} if finished.error else {unit: finished.value}
        known[key] = dataclasses.replace(known.get(key, KnownCosts()), **now)
        if known[key].error is None:
            method = missing[key][0].synthesis.method
            remembered[key] = {"method": method} | dataclasses.asdict(known[key])
            if not comparing.dry:
                comparing.folder.note_costs(remembered)
    return known


def _read_costs(entry: dict[str, Any]) -> KnownCosts:
    parts = {unit: PartCosts(**entry[unit]) for unit in ("macs", "seconds") if entry.get(unit)}
    return KnownCosts(macs=parts.get("macs"), seconds=parts.get("seconds"))


def scale(comparing: Comparing, settings: ExperimentSettings, costs: KnownCosts, *, fraction: float) -> ScaledRun:
    """Return settings scaled to a share of the budget.

    Raises:
        ValueError: it does not pay one epoch.
    """
    parts = costs.macs if comparing.unit == "macs" else costs.seconds
    assert parts is not None
    return scale_to_budget(settings, parts, comparing.comparison.settings.budget.amount * fraction)
