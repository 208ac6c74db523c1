"""Many independent runs on the cluster: as many at once as fit, each a Ray task in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import ray

from dfkd.cluster.worker import RESTARTS

Name = TypeVar("Name")


@dataclass(frozen=True, kw_only=True)
class Task(Generic[Name]):
    """A call that is to be made somewhere on the cluster.

    Attributes:
        name: what it is to whoever asked for it.
        function: importable on every node.
        arguments: of the call; references into the object store are resolved.
    """

    name: Name
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Finished(Generic[Name]):
    """A task that has ended.

    Attributes:
        name: of the task.
        value: what the call returned.
        error: why there is none, in one line; None where there is.
    """

    name: Name
    value: Any = None
    error: str | None = None


def share(value: Any) -> Any:
    """Put a value where every node can read it, and return the reference that stands for it among arguments."""
    return ray.put(value)


def run_tasks(tasks: Sequence[Task[Name]], *, gpu: bool, at_once: int) -> Iterator[Finished[Name]]:
    """Run tasks with one CPU or GPU each, and yield each as it ends.

    A task whose process or node is lost is run again, as often as a trial of a search would be; what it raises itself
    is its outcome. Each has a process of its own, so that none finds another's memory. The tasks start in their order.

    Args:
        tasks: what to run.
        gpu: whether each gets a GPU.
        at_once: how many may run at a time.
    """
    waiting = list(reversed(tasks))
    running: dict[Any, Task[Name]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                task = waiting.pop()
                options = {"num_cpus": 1, "num_gpus": 1 if gpu else 0, "max_calls": 1, "max_retries": RESTARTS}
                running[ray.remote(**options)(task.function).remote(*task.arguments)] = task
            (done,), _ = ray.wait(list(running), num_returns=1)
            yield _finished(running.pop(done), done)
    finally:
        for reference in running:
            ray.cancel(reference, force=True)


def run_here(tasks: Sequence[Task[Name]]) -> Iterator[Finished[Name]]:
    """Run tasks without a cluster, in this process and one after the other, and yield each as ``run_tasks`` would.

    Args:
        tasks: whose arguments are values, not references.
    """
    for task in tasks:
        try:
            finished = Finished(name=task.name, value=task.function(*task.arguments))
        except Exception as error:  # whatever it raises is its outcome, as on a cluster
            finished = Finished(name=task.name, error=_in_one_line(error))
        yield finished


def _finished(task: Task[Name], reference: Any) -> Finished[Name]:
    try:
        return Finished(name=task.name, value=ray.get(reference))
    except ray.exceptions.RayError as error:
        return Finished(name=task.name, error=_in_one_line(getattr(error, "cause", None) or error))


def _in_one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]
