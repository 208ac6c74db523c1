"""A trained network put to tasks on other data; the next command goes on with what an interruption left."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from dfkd.assembly import choose_device
from dfkd.cluster.checkpoints import CheckpointStore
from dfkd.jobs.command import open_output
from dfkd.jobs.console import Console, duration
from dfkd.jobs.environment import commit, versions
from dfkd.jobs.evaluate import describe, facts_of
from dfkd.jobs.evaluate_options import REGISTRY, EvaluateOptions
from dfkd.settings.checks import check_choice
from dfkd.settings.identity import settings_key, to_dict, without_folder
from dfkd.settings.tasks import TransferSettings, is_reportable
from dfkd.tasks.transfer import TransferInput
from dfkd.tasks.transfer_tasks import transfer
from dfkd.teachers import Teacher
from dfkd.teachers.backbone import load_backbone
from dfkd.tracking.connection import check_reachable
from dfkd.tracking.home import open_home, resolve_tracking_uri
from dfkd.tracking.registry_reading import load_registered

SECONDS_BETWEEN_CHECKPOINTS = 10.0  # and between the lines that a person reads


def run_transfer(settings: TransferSettings, options: EvaluateOptions, console: Console) -> dict[str, float]:
    """Put a network to the tasks of a file, print the scores and return them.

    Raises:
        ValueError: the network or its data cannot be had, or a task does not suit them.
        ConnectionError: MLflow is needed and does not answer.
    """
    names = check_options(settings, options)
    home = open_home(options.home)
    tracking_uri = resolve_tracking_uri(options.tracking_uri, home=home)
    json_file = open_output(options.json_file)
    if options.model.startswith(REGISTRY):
        check_reachable(tracking_uri)
    network = load_backbone(
        options.model,
        channels=settings.transfer[names[0]].dataset.channels or 3,
        seed=settings.seed,
        registry=partial(load_registered, tracking_uri=tracking_uri),
    )
    console.say(f"model: {describe(network)}")
    folder = TransferFolder(home / "transfer" / run_key(settings, options, network, names))
    scores: dict[str, float] = {}
    for name in names:
        if (known := folder.known(name)) is None:
            known = _run_task(name, settings, options, network, folder, console)
            folder.keep(name, known)
        else:
            console.say(f"{name}: done before an interruption")
        scores |= known
    console.show("\n".join(f"  {name:<40} {value:.4f}" for name, value in scores.items()))
    if json_file:
        facts = {options.split: scores, "seed": settings.seed, "model": facts_of(network)}
        facts |= {"tasks": {name: shareable_task(settings, name) for name in names}}
        facts |= {"commit": commit(), "versions": versions(), "cpu_count": os.cpu_count()}
        json_file.write_text(json.dumps(facts, indent=1))
    folder.remove()
    return scores


def check_options(settings: TransferSettings, options: EvaluateOptions) -> tuple[str, ...]:
    """Return the names of the tasks that are asked for, all of them by default; raise ValueError for what cannot be."""
    names = options.tasks or tuple(settings.transfer)
    for name in names:
        check_choice("--task", name, tuple(settings.transfer))
    if options.teacher is not None:
        raise ValueError("--teacher: these tasks judge one network alone. Put the teacher to them as the model.")
    if options.split == "train":
        raise ValueError("--split: these tasks learn from the train images; take validation or test.")
    drawn = [name for name in names if not is_reportable(settings.transfer[name])]
    if drawn and options.json_file:
        raise ValueError(
            f"--json: '{drawn[0]}' runs on drawn scenes, which test the plumbing and nothing else; no table of results "
            "may hold their scores. Leave --json out, or take real images."
        )
    return names


def run_key(settings: TransferSettings, options: EvaluateOptions, network: Teacher, names: tuple[str, ...]) -> str:
    """Return what identifies a command that can be gone on with: tasks, split, seed, the network and the code."""
    tasks = {name: to_dict(settings.transfer[name]) for name in names}
    identity = {"tasks": tasks, "split": options.split, "seed": settings.seed, "network": network.hash}
    return settings_key(identity | {"architecture": network.architecture, "commit": commit()})


def shareable_task(settings: TransferSettings, name: str) -> dict[str, Any]:
    """Return a task's settings for result files, which travel: without the folders of this machine."""
    plain = to_dict(settings.transfer[name])
    plain["dataset"]["path"] = without_folder(plain["dataset"]["path"])
    return plain


class TransferFolder:
    """The folder of a command that has not ended yet: scores of its tasks, and the state of the one under way."""

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self._path = path

    def known(self, name: str) -> dict[str, float] | None:
        """Return the scores of a task that is done, or None."""
        file = self._path / f"{name}.json"
        scores: dict[str, float] | None = json.loads(file.read_text()) if file.exists() else None
        return scores

    def keep(self, name: str, scores: Mapping[str, float]) -> None:
        """Keep the scores of a task, and let go of its state."""
        partial_file = self._path / f"{name}.partial"
        partial_file.write_text(json.dumps(scores))
        os.replace(partial_file, self._path / f"{name}.json")
        shutil.rmtree(self._path / name, ignore_errors=True)

    def checkpoints(self, name: str) -> CheckpointStore:
        """Return where the state of a task is kept."""
        return CheckpointStore(str(self._path / name), keep=1)

    def remove(self) -> None:
        """Remove all of it: the command has ended."""
        shutil.rmtree(self._path, ignore_errors=True)


class ConsoleProgress:
    """Prints the epochs of one task and keeps its state, both every few seconds."""

    def __init__(self, name: str, checkpoints: CheckpointStore, console: Console) -> None:
        self._name, self._checkpoints, self._console = name, checkpoints, console
        self._first = 0
        self._began = self._last = time.monotonic()

    def restore(self) -> Mapping[str, Any] | None:
        """Return the newest state that an interruption left."""
        state = self._checkpoints.newest(rank=0, world_size=1)
        if state is not None:
            self._first = int(state["epoch"])
            self._console.say(f"{self._name}: going on after epoch {self._first}")
        self._began = self._last = time.monotonic()
        return state

    def report(self, *, done: int, epochs: int, loss: float, state: dict[str, Any]) -> None:
        """Print and keep, unless that was just done."""
        now = time.monotonic()
        if now - self._last < SECONDS_BETWEEN_CHECKPOINTS and done < epochs:
            return
        digest = self._checkpoints.write(state, epoch=done, rank=0)
        self._checkpoints.commit(epoch=done, digests=[digest])
        left = (now - self._began) / (done - self._first) * (epochs - done)
        self._console.say(f"{self._name}: epoch {done}/{epochs}, loss {loss:.4f}, {duration(left)} left")
        self._last = now


def _run_task(
    name: str,
    settings: TransferSettings,
    options: EvaluateOptions,
    network: Teacher,
    folder: TransferFolder,
    console: Console,
) -> dict[str, float]:
    assert options.split != "train", "check_options refuses it"
    began = time.monotonic()
    console.say(f"{name}: {settings.transfer[name].task} on {options.split} images")
    given = TransferInput(
        network=network,
        exam=options.split,
        seed=settings.seed,
        device=choose_device(settings),
        progress=ConsoleProgress(name, folder.checkpoints(name), console),
    )
    scores = transfer(name, settings.transfer[name], given)
    console.say(f"{name}: done in {duration(time.monotonic() - began)}")
    return scores
