from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from dfkd.jobs.command import AT_ONCE, EXIT_STATUS, catch_termination, going_on, open_output, run_command


@pytest.mark.parametrize(
    "error", [ValueError("lower it"), OSError("lower it"), ConnectionError("lower it"), FloatingPointError("lower it")]
)
def test_what_a_user_can_mend_is_one_message(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, run_command():
        raise error
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: lower it\n"


@pytest.mark.parametrize("defect", ["a, b = 1, 2, 3", "open('/nowhere/http://me:secret@host')", "json.loads('{')"])
def test_what_no_line_of_ours_says_in_words_has_its_trace_in_a_file(
    defect: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(SystemExit), run_command():
        exec(defect, {"json": json})
    first, second = capsys.readouterr().err.splitlines()
    (file,) = tmp_path.iterdir()
    assert first.startswith("error: ") and second == f"where it came from: {file}"
    assert "Traceback" in file.read_text() and "test_command.py" in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    assert "secret" not in first + file.read_text()


def test_an_error_in_words_over_several_lines_is_ours(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), run_command():
        open_output(
            "/dev/null/x.json",
        )
    said = capsys.readouterr().err
    assert said.startswith("error: --json: expected a file that can be written") and "where it came" not in said


def test_a_defect_keeps_its_trace() -> None:
    with pytest.raises(RuntimeError, match="ours"), run_command():
        raise RuntimeError("ours")


def test_warnings_are_shown_whatever_a_library_would_have_shown() -> None:
    code = """
import logging
from dfkd.jobs.command import run_command
with run_command():
    logging.basicConfig(level=logging.ERROR)  # as `import mlflow.pytorch` does
    logging.getLogger("dfkd.tracking.delivery").warning("MLflow is away")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "MLflow is away\n")


def test_mlflow_that_goes_away_is_told_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from dfkd.tracking.connection import import_mlflow

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(SystemExit) as ended, run_command():
        import_mlflow().MlflowClient("http://127.0.0.1:1").search_experiments()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: MLflow: ") and "127.0.0.1" in said and said.count("\n") == 1


def test_a_request_of_ours_that_mlflow_cannot_take_keeps_its_trace() -> None:
    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException), run_command():
        raise MlflowException.invalid_parameter_value("Invalid metric name")


def test_ray_that_goes_away_is_told_in_words_and_an_error_within_a_task_keeps_its_trace(
    capsys: pytest.CaptureFixture[str],
) -> None:
    import ray.exceptions

    with pytest.raises(SystemExit) as ended, run_command():
        raise ray.exceptions.LocalRayletDiedError
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: Ray: ")
    with pytest.raises(ray.exceptions.WorkerCrashedError), run_command():
        raise ray.exceptions.WorkerCrashedError


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


HELD = """
import time
from dfkd.jobs.command import run_command
with run_command() as console:
    try:
        console.say("here")
        time.sleep(60)
    finally:
        console.say("closing")
        time.sleep(60)
        console.say("closed")
"""


def test_a_second_interrupt_ends_at_once() -> None:
    process = subprocess.Popen([sys.executable, "-c", HELD], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert "here" in process.stdout.readline()
    os.kill(process.pid, signal.SIGINT)
    assert "closing" in process.stdout.readline()
    os.kill(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, output, errors) == (130, "", f"{AT_ONCE}\n")


def test_a_command_that_is_to_ignore_interrupts_ignores_them() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        catch_termination()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


ENDS = ("pass", "raise RuntimeError", "raise ValueError", "raise KeyboardInterrupt", "os.kill(os.getpid(), 15)")


def test_every_status_that_a_command_ends_with_is_told() -> None:
    begin = "import os\nfrom dfkd.jobs.command import run_command\nwith run_command():\n    "
    ended = [subprocess.run([sys.executable, "-c", begin + end], capture_output=True).returncode for end in ENDS]
    told = re.findall(r"^  (\d+) ", EXIT_STATUS, flags=re.MULTILINE)
    assert [str(status) for status in ended] == told


def test_every_command_tells_its_statuses_in_its_help() -> None:
    for script in sorted((Path(__file__).parents[2] / "experiments").glob("[!_]*.py")):
        text = script.read_text()
        assert "epilog=EXIT_STATUS" in text or "exit status is" in text or "run_command" not in text, script.name


def test_every_command_shows_examples_in_its_help() -> None:
    for script in sorted((Path(__file__).parents[2] / "experiments").glob("[!_]*.py")):
        text = script.read_text()
        assert "\nExamples:\n    python " in text.split('"""')[1] and "description=__doc__" in text, script.name


def test_an_interrupted_search_says_the_whole_command_that_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["experiments/search.py", "my space.yaml", "--resume", "--home", "/tmp/a b"])
    assert going_on().splitlines()[1] == ("  python experiments/search.py 'my space.yaml' --home '/tmp/a b' --resume")
