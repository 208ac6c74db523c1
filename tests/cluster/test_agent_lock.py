"""One agent a machine: the newest ends the one before it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dfkd.cluster.agent_lock import take_over

HOLDER = """
import signal, sys, time
from pathlib import Path
from dfkd.cluster.agent_lock import take_over
if sys.argv[2:] == ["deaf"]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
held = take_over(Path(sys.argv[1]))
print("holds", flush=True)
time.sleep(60)
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def start_holder(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLDER, str(tmp_path / "lock"), *arguments]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout and started[-1].stdout.readline() == "holds\n"
        return started[-1]

    yield start_holder
    for process in started:
        process.kill()
        process.communicate()


def test_the_newest_ends_the_one_before_it(tmp_path: Path, start: Start) -> None:
    first = start()
    second = start()
    assert first.wait(timeout=10) == -signal.SIGTERM
    assert second.poll() is None
    assert (tmp_path / "lock").read_text() == str(second.pid)


def test_a_holder_that_does_not_end_is_told_with_its_number(tmp_path: Path, start: Start) -> None:
    deaf = start("deaf")
    with pytest.raises(TimeoutError, match=f"got process {deaf.pid} still there"):
        take_over(tmp_path / "lock", timeout_seconds=0.3)
    assert deaf.poll() is None


def test_whoever_an_unheld_file_names_is_left_alone(tmp_path: Path) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        (tmp_path / "lock").write_text(str(bystander.pid))
        with take_over(tmp_path / "lock"):
            assert (tmp_path / "lock").read_text() == str(os.getpid())
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
