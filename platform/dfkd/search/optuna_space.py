"""Search space and sampler settings -> Optuna's, and the study that keeps a search's trials on disk."""

from __future__ import annotations

import itertools
import random
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, QMCSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from dfkd.search.space import SearchSpace
from dfkd.settings.search import (
    CategoricalChoices,
    Direction,
    IntegerRange,
    LogUniformRange,
    ParameterRange,
    SamplerSettings,
    Scalar,
)

_STALE = "stale_trials"  # the study's user attribute: numbers of trials that a dead driver left running
_REFUSED = "refused"  # a trial's user attribute: it was never run, as its point ran already or is no experiment
_LOST = "lost"  # a trial's user attribute: it ended by no fault of its own, and is to be run again
_ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
_MANY = 10_000  # values of one whole number: more than any search has trials


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """Return Optuna's distribution of every parameter, by its dotted path."""
    return distributions_of(space.settings.parameters)


def distributions_of(parameters: Mapping[str, ParameterRange]) -> dict[str, BaseDistribution]:
    """Return Optuna's distribution of every range, by its name."""
    return {name: _distribution(parameter) for name, parameter in parameters.items()}


def _distribution(parameter: ParameterRange) -> BaseDistribution:
    if isinstance(parameter, CategoricalChoices):
        return CategoricalDistribution(parameter.choices)
    if isinstance(parameter, IntegerRange):
        return IntDistribution(parameter.low, parameter.high)
    return FloatDistribution(parameter.low, parameter.high, log=isinstance(parameter, LogUniformRange))


def make_sampler(settings: SamplerSettings) -> BaseSampler:
    """Return the sampler, seeded. TPE counts running trials as bad ones, so that parallel trials differ."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # Optuna 5.0: QMCSampler, and TPE's two options
        if settings.name == "tpe":
            return TPESampler(
                seed=settings.seed, n_startup_trials=settings.startup_trials, multivariate=True, constant_liar=True
            )
        if settings.name == "random":
            return RandomSampler(seed=settings.seed)
        if settings.name == "qmc":  # without scrambling the points would not depend on the seed
            return QMCSampler(seed=settings.seed, scramble=True, warn_independent_sampling=False)
        if settings.name == "nsga2":
            return NSGAIISampler(seed=settings.seed, population_size=settings.population)
        return GPSampler(seed=settings.seed, n_startup_trials=settings.startup_trials)


def sampler_at(settings: SamplerSettings, suggestion: int, attempt: int = 0) -> BaseSampler:
    """Return the sampler of one suggestion: it draws by the seed and these numbers, whatever was drawn before.

    So a search that was cut off goes on with the suggestions that it would have had; but by QMC, whose points are one
    sequence, in which a trial that is run again takes one more.

    Args:
        settings: of the sampler.
        suggestion: how many points were settled or suggested before.
        attempt: counts the proposals for one suggestion.
    """
    if settings.name == "qmc":
        return make_sampler(settings)
    seed = random.Random(f"{settings.seed} {suggestion} {attempt}").randrange(2**32)
    return make_sampler(replace(settings, seed=seed))


def study_storage(path: Path) -> RDBStorage:
    """Return the SQLite storage in the file ``path``, which optuna-dashboard opens too; made if it does not exist.

    Raises:
        OSError: the folder cannot be written to, or the file is no study storage.
    """
    path = path.expanduser().resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return RDBStorage(f"sqlite:///{path}")
    except SQLAlchemyError as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise OSError(f"{path}: expected a file in which Optuna can keep its trials, got '{reason}'.") from error


def open_study(
    storage: BaseStorage | Path, *, name: str, direction: Direction, further: Sequence[Direction] = ()
) -> optuna.Study:
    """Return the study of this name, new or as it was left. Trials that a dead driver left running are closed.

    Only the driver of a search may open its study: another one's running trials would be taken for dead.

    Args:
        storage: of ``study_storage``, or the path of its file.
        name: unique in the storage.
        direction: of the objective.
        further: of further objectives, in order.

    Raises:
        OSError: the file cannot be used.
        ValueError: the study exists and has other directions. (Optuna 5.0 would keep the old one without a word.)
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # the console shows one line a trial already, ours
    if isinstance(storage, Path):
        storage = study_storage(storage)
    wanted = [direction, *further]
    study = optuna.create_study(storage=storage, study_name=name, directions=wanted, load_if_exists=True)
    found = [each.name.lower() for each in study.directions]
    if found != wanted:
        raise ValueError(
            f"study '{name}': expected one to {', '.join(wanted)}, found one to {', '.join(found)}. "
            "Give the search another name, or remove the old study."
        )
    _close_stale(study)
    return study


def _close_stale(study: optuna.Study) -> None:
    """Tell every running trial FAIL and note its number: nobody else would ever close it."""
    running = [trial.number for trial in study.get_trials(states=(TrialState.RUNNING,))]
    if running:
        study.set_user_attr(_STALE, [*study.user_attrs.get(_STALE, []), *running])
    for number in running:
        study.tell(number, state=TrialState.FAIL)


def stale_params(study: optuna.Study) -> list[dict[str, Scalar]]:
    """Return the parameters of trials that were lost, or that a dead driver left, and that no other has repeated."""
    trials = [trial for trial in study.get_trials() if _REFUSED not in trial.user_attrs]
    stale_numbers = _unfinished(study)
    repeated = [_planned_params(trial) for trial in trials if trial.number not in stale_numbers]
    missing: list[dict[str, Any]] = []
    for trial in trials:
        if trial.number in stale_numbers and trial.params and trial.params not in [*repeated, *missing]:
            missing.append(dict(trial.params))
    return missing


def settled_params(study: optuna.Study, *, only_stopped: bool = False) -> list[dict[str, Scalar]]:
    """Return the parameters of trials that ended by themselves, well or not; or of those that were stopped early."""
    stale_numbers = _unfinished(study)
    states = (TrialState.PRUNED,) if only_stopped else _ENDED
    ended = [trial for trial in study.get_trials(states=states) if _REFUSED not in trial.user_attrs]
    return [dict(trial.params) for trial in ended if trial.params and trial.number not in stale_numbers]


def _unfinished(study: optuna.Study) -> set[int]:
    """Return the numbers of trials that ended without an outcome of their own."""
    lost = {trial.number for trial in study.get_trials() if _LOST in trial.user_attrs}
    return lost | set(study.user_attrs.get(_STALE, []))


def lose(study: optuna.Study, trial: optuna.Trial) -> None:
    """Tell a trial FAIL that was lost: a search that goes on runs its point again."""
    trial.set_user_attr(_LOST, True)
    study.tell(trial, state=TrialState.FAIL)


def refuse(study: optuna.Study, trial: optuna.Trial) -> None:
    """Tell a proposal FAIL that is not run: it settles nothing, for the trial that has its point may still run."""
    trial.set_user_attr(_REFUSED, True)
    study.tell(trial, state=TrialState.FAIL)


def reported_values(study: optuna.Study) -> list[tuple[dict[str, Scalar], dict[int, float]]]:
    """Return the parameters of every trial and its objective after each epoch; a trial that went on counts as two."""
    return [(dict(trial.params), trial.intermediate_values) for trial in study.get_trials() if trial.params]


def enqueue(study: optuna.Study, points: Iterable[Mapping[str, Scalar]]) -> None:
    """Have these points asked next, in order; what a driver that died has enqueued already is not enqueued twice."""
    waiting = [_planned_params(trial) for trial in study.get_trials(states=(TrialState.WAITING,))]
    for point in points:
        if dict(point) not in waiting:
            study.enqueue_trial(dict(point))


def random_points(space: Mapping[str, BaseDistribution], seed: int) -> Iterator[dict[str, Scalar]]:
    """Return every point of a finite space once, shuffled; a continuous parameter has one value in all of them."""
    generator = random.Random(seed)
    values = [_shuffled(distribution, generator) for distribution in space.values()]
    return (dict(zip(space, point, strict=True)) for point in itertools.product(*values))


def _shuffled(distribution: BaseDistribution, generator: random.Random) -> list[Any]:
    if isinstance(distribution, FloatDistribution):
        low, high = distribution.low, distribution.high
        value = low * (high / low) ** generator.random() if distribution.log else generator.uniform(low, high)
        return [min(value, high)]  # rounding may lead a little above
    if isinstance(distribution, IntDistribution):
        choices: Sequence[Any] = range(distribution.low, distribution.high + 1)
    else:
        choices = distribution.choices
    return generator.sample(choices, k=min(len(choices), _MANY))


def _planned_params(trial: FrozenTrial) -> dict[str, Any]:
    """Return the parameters of a trial, also of one that is enqueued but not asked for yet."""
    params: dict[str, Any] = trial.params or trial.system_attrs.get("fixed_params", {})
    return params
