from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from dfkd.jobs.command import run_command


@pytest.mark.parametrize("error", [ValueError("lower it"), OSError("lower it"), ConnectionError("lower it")])
def test_what_a_user_can_mend_is_one_message(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, run_command():
        raise error
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: lower it\n"


def test_a_defect_keeps_its_trace() -> None:
    with pytest.raises(RuntimeError, match="ours"), run_command():
        raise RuntimeError("ours")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_and_a_termination_leave_nothing_open(number: signal.Signals, status: int) -> None:
    code = """
import time
from dfkd.jobs.command import run_command
with run_command() as console:
    try:
        console.say("here")
        time.sleep(60)
    finally:
        console.say("closed")
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert "here" in process.stdout.readline()
    os.kill(process.pid, number)
    output, errors = process.communicate(timeout=30)
    assert "closed" in output
    assert process.returncode == status
    assert "Traceback" not in errors
