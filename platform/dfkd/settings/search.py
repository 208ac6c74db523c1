"""Settings of one search: its fixed part, the ranges, what is selected on, and how trials are run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from dfkd.settings.acceptance import AcceptanceSettings
from dfkd.settings.checks import LARGEST_SEED, check_at_least, check_choice, check_name, check_seed
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.objectives import FrontSettings, FurtherObjective, TaskObjective, TransferObjective

Scalar = bool | int | float | str | None
Direction = Literal["maximize", "minimize"]
Metric = Literal["agreement", "kl", "agreement_real", "val_accuracy", "val_balanced_accuracy"]

MAX_FURTHER = 2  # with the search's own one, three: what a plot can show

#: Which way each objective is better, and what it is computed from besides teacher and student.
OBJECTIVES: dict[str, tuple[Direction, str]] = {
    "agreement": ("maximize", "no real image"),
    "kl": ("minimize", "no real image"),
    "agreement_real": ("maximize", "unlabelled real images"),
    "val_accuracy": ("maximize", "labelled real images"),
    "val_balanced_accuracy": ("maximize", "labelled real images"),
}


#: The task of the experiment that gives an objective on real images.
OBJECTIVE_TASKS = {"agreement_real": "agreement", "val_accuracy": "accuracy", "val_balanced_accuracy": "binary"}


@dataclass(frozen=True, kw_only=True, slots=True)
class UniformRange:
    """Numbers between ``low`` and ``high``, every one equally likely."""

    type: Literal["uniform"] = "uniform"
    low: float
    high: float

    def __post_init__(self) -> None:
        check_ends(self.low, self.high)


@dataclass(frozen=True, kw_only=True, slots=True)
class LogUniformRange:
    """Numbers between ``low`` and ``high``, every order of magnitude equally likely."""

    type: Literal["log_uniform"] = "log_uniform"
    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low > 0:
            raise ValueError(f"low: a logarithmic range must begin above 0, got {self.low!r}.")
        check_ends(self.low, self.high)


@dataclass(frozen=True, kw_only=True, slots=True)
class IntegerRange:
    """Whole numbers from ``low`` to ``high``, both included."""

    type: Literal["integer"] = "integer"
    low: int
    high: int

    def __post_init__(self) -> None:
        check_ends(self.low, self.high)


@dataclass(frozen=True, kw_only=True, slots=True)
class CategoricalChoices:
    """One of a few single values."""

    type: Literal["categorical"] = "categorical"
    choices: tuple[Scalar, ...]

    def __post_init__(self) -> None:
        if not self.choices:
            raise ValueError("choices: expected at least one, got none.")
        seen: set[str] = set()
        for choice in self.choices:
            if repr(choice) in seen:  # repr: 1, 1.0 and true are equal in Python but are three choices
                raise ValueError(f"choices: {choice!r} stands twice; keep one.")
            seen.add(repr(choice))


ParameterRange = UniformRange | LogUniformRange | IntegerRange | CategoricalChoices


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectiveSettings:
    """What trials are compared by. ``agreement`` and ``kl`` are of the student with the teacher on the probe set."""

    metric: Metric = "agreement"
    direction: Direction | None = None  # None: as the metric implies; written out, it must agree

    def __post_init__(self) -> None:
        check_choice("metric", self.metric, tuple(OBJECTIVES))
        if self.direction not in (None, self.goal):
            raise ValueError(f"direction: '{self.metric}' is better the {self._better}; expected '{self.goal}'.")

    @property
    def goal(self) -> Direction:
        """Whether the best trial has the largest or the smallest value."""
        return OBJECTIVES[self.metric][0]

    @property
    def needs(self) -> str:
        """What data the objective is computed from, in words."""
        return OBJECTIVES[self.metric][1]

    @property
    def _better(self) -> str:
        return "larger it is" if self.goal == "maximize" else "smaller it is"


@dataclass(frozen=True, kw_only=True, slots=True)
class EarlyStoppingSettings:
    """Successive halving (ASHA) on the epoch. Source: Li et al., A System for Massively Parallel HPO, MLSys 2020."""

    grace_epochs: int = 3  # no trial stops before
    reduction_factor: int = 3  # one in so many goes on at each rung

    def __post_init__(self) -> None:
        check_at_least("grace_epochs", self.grace_epochs, 1)
        check_at_least("reduction_factor", self.reduction_factor, 2)


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplerSettings:
    """Who proposes the next trial."""

    name: Literal["tpe", "random", "qmc", "gp", "nsga2"] = "tpe"
    seed: int = 0
    startup_trials: int = 10  # of tpe and gp: drawn at random before they learn from them; Optuna's own default
    population: int = 10  # of nsga2: trials of a generation, the first of which is drawn at random

    def __post_init__(self) -> None:
        check_seed("seed", self.seed)
        check_at_least("startup_trials", self.startup_trials, 1)
        check_at_least("population", self.population, 2)

    def in_words(self, trials: int) -> str:
        """Return who proposes so many trials, the default settings among them, and how many are drawn at random."""
        drawn = {"tpe": self.startup_trials, "gp": self.startup_trials, "nsga2": self.population}.get(self.name)
        if drawn is None:
            return self.name
        so_all = " and so all of these" if trials <= drawn else ""
        return f"{self.name}, which draws its first {drawn} at random{so_all}"


PREVIEWS = 20  # grids of a run, some hundred kB each


@dataclass(frozen=True, kw_only=True, slots=True)
class TrackingSettings:
    """What is tracked besides settings and metrics.

    ``profile: sensitive`` is for a teacher whose images or class names are confidential: no synthetic image is tracked,
    classes are called by their indices in all that is told, registered or delivered, and what holds synthetic images is
    removed at the end.
    """

    profile: Literal["open", "sensitive"] = "open"
    images: bool = True  # grids of synthetic images
    image_every: int | None = None  # epochs; None: as often as a run gives 20, after every epoch of a short one

    def __post_init__(self) -> None:
        if self.image_every is not None:
            check_at_least("image_every", self.image_every, 1)

    @property
    def is_sensitive(self) -> bool:
        """Whether synthetic images and class names go no further than the training."""
        return self.profile == "sensitive"

    def previews_every(self, epochs: int) -> int:
        """Return the epochs between two grids of synthetic images in a run of so many; 0 where there are none."""
        if not self.images or self.is_sensitive:
            return 0
        return self.image_every or math.ceil(epochs / PREVIEWS)

    def told(self, settings: ExperimentSettings) -> ExperimentSettings:
        """Return an experiment's settings as anybody may read them."""
        return settings.without_class_names() if self.is_sensitive else settings


@dataclass(frozen=True, kw_only=True, slots=True)
class ExperimentFile:
    """A file for commands that do not search: ``experiment`` and ``tracking`` are what they are in a search space.

    ``acceptance`` is read by ``experiments/accept.py`` alone, and checked for all.
    """

    experiment: dict[str, Any]
    tracking: TrackingSettings = field(default_factory=TrackingSettings)
    acceptance: AcceptanceSettings = field(default_factory=AcceptanceSettings)


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchSettings:
    """One search, as a file of ``search_spaces/`` describes it. Its first trial is the fixed part as it stands."""

    name: str  # of the study, the tracked experiment and the registered student
    experiment: dict[str, Any]  # the fixed part: plain values of ExperimentSettings, may hold ``schedule``
    parameters: dict[str, ParameterRange]  # dotted path into ``experiment`` -> range
    objective: ObjectiveSettings = field(default_factory=ObjectiveSettings)
    further_objectives: dict[str, FurtherObjective] = field(default_factory=dict)  # by name, read off finished students
    front: FrontSettings = field(default_factory=FrontSettings)  # which of them is registered, of several objectives
    trials: int
    workers_check: bool = True  # first run the fixed part once, alone, with two workers on Ray Train
    workers_check_epochs: int | None = None  # of that run in which the student learns; None: all of them
    seed_repeats: int = 1  # more runs of the fixed part, under the next seeds: how far two equal runs differ by chance
    noise_floor: bool = True  # KD on random noise beside the trials: what the method adds shows against it
    concurrency: int | None = None  # trials at a time; None: as many as fit
    early_stopping: EarlyStoppingSettings | None = None
    sampler: SamplerSettings = field(default_factory=SamplerSettings)
    promotion: Literal["automatic", "manual"] = "automatic"
    tracking: TrackingSettings = field(default_factory=TrackingSettings)
    tie_margin: float | None = None  # differences below are ties; None: estimated (see dfkd.search.selection)

    def __post_init__(self) -> None:
        check_name("name", self.name)
        if not self.parameters:
            raise ValueError("parameters: expected at least one range, got none. To run one setting, use distill.py.")
        check_at_least("trials", self.trials, 1)
        check_at_least("seed_repeats", self.seed_repeats, 0)
        seed = self.experiment.get("seed", 0)
        if isinstance(seed, int) and 0 <= seed <= LARGEST_SEED:  # else the experiment's own check says so
            check_seed("seed_repeats: the last one's seed", seed + self.seed_repeats)
        if self.workers_check_epochs is not None:
            check_at_least("workers_check_epochs", self.workers_check_epochs, 1)
        if self.concurrency is not None:
            check_at_least("concurrency", self.concurrency, 1)
        if self.tie_margin is not None:
            check_at_least("tie_margin", self.tie_margin, 0)
        self._check_objectives()

    def _check_objectives(self) -> None:
        further = self.further_objectives
        if len(further) > MAX_FURTHER:
            raise ValueError(f"further_objectives: expected at most {MAX_FURTHER}, got {len(further)}.")
        for name in further:
            check_name("further_objectives", name)
            if name == self.objective.metric:
                raise ValueError(f"further_objectives: '{name}' is the search's own objective; take another name.")
        if further and self.early_stopping is not None:
            raise ValueError("early_stopping: further objectives are known at a trial's end only; leave it out.")
        if self.sampler.name == "nsga2" and not further:
            raise ValueError("sampler.name: 'nsga2' is for several objectives; take 'tpe', or add further_objectives.")
        for name in self.front.limits:
            if name not in self.goals:
                raise ValueError(f"front.limits: '{name}' is no objective here. Valid: {', '.join(self.goals)}.")

    @property
    def selection_data(self) -> str:
        """What data choose one student among the others, in words: those of every objective."""
        further = [
            f"{each.split} images of {each.by.dataset.title or each.by.dataset.name} with their labels (`{name}`)"
            for name, each in self.further_objectives.items()
            if isinstance(each, TransferObjective)
        ]
        further += [
            f"validation images{' with their labels' if each.needs_labels else ''} (`{name}`)"
            for name, each in self.further_objectives.items()
            if isinstance(each, TaskObjective)
        ]
        return " and ".join([f"{self.objective.needs} (`{self.objective.metric}`)", *further])

    @property
    def goals(self) -> dict[str, Direction]:
        """Which way every objective is better, the search's own one first."""
        return {self.objective.metric: self.objective.goal} | {
            name: objective.goal for name, objective in self.further_objectives.items()
        }


def check_ends(low: float, high: float) -> None:
    """Raise ValueError unless a range's ends are in order."""
    if low > high:
        raise ValueError(f"low: {low!r} lies above high: {high!r}; exchange them.")
