"""The commands that README and tutorials show for a finished search of the digits, run on one of smoke size."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
#: What a page says -> what is there: the smoke search in place of the default one, which has fewer trials and versions.
IN_PLACE = {
    "search_spaces/digits_cae.yaml": "search_spaces/smoke.yaml",
    "digits-student": "smoke",
    "--version 3": "--version 1",
    "--trials 20": "--trials 3",
}
NOT_ACCEPTED = 3  # a student of two epochs is not
WITHOUT_HOME = ("deliver.py",)


def documented() -> list[str]:
    """Return the commands on a finished search, each once, in an order in which they can be run."""
    lines = [line for page in PAGES for line in page.read_text().splitlines() if line.startswith("python experiments/")]
    wanted = re.compile(r"digits-student|--resume --trials|distill\.py search_spaces/digits")
    found = dict.fromkeys(line for line in lines if wanted.search(line) and not re.search(r"/data/|[<>\\]", line))
    return sorted(found, key=lambda line: ("accept.py" not in line, "promote.py" in line, "--resume" in line))


@pytest.fixture(scope="module")
def home(run: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("documented") / "home"
    done = run("search.py", "search_spaces/smoke.yaml", "--home", str(home), timeout=600)
    assert done.status == 0, done.errors
    return home


def test_the_pages_show_commands_of_every_kind() -> None:
    scripts = {shlex.split(line)[1].removeprefix("experiments/") for line in documented()}
    wanted = {
        "accept.py",
        "deliver.py",
        "distill.py",
        "evaluate.py",
        "export.py",
        "promote.py",
        "report.py",
        "search.py",
    }
    assert scripts == wanted


@pytest.mark.parametrize("line", documented())
def test_a_documented_command_does_what_it_says(
    run: Callable[..., Any], home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    there = re.sub(r"~/\.dfkd/tracking/\S+", str(next((home / "tracking").glob("smoke-*"))), line)
    for said, is_there in IN_PLACE.items():
        there = there.replace(said, is_there)
    _, script, *arguments = shlex.split(there)
    script = script.removeprefix("experiments/")
    if script == "search.py":
        arguments.insert(0, "search_spaces/smoke.yaml")
    if "--output" in arguments:  # the page writes into the folder that it is run in
        place = arguments.index("--output") + 1
        arguments[place] = str(tmp_path / arguments[place])
    options = [] if script in WITHOUT_HOME else ["--home", str(home)]
    done = run(script, *arguments, *options, timeout=600)
    if script == "accept.py":
        assert done.status in (0, NOT_ACCEPTED), done.output + done.errors
        assert "accepted" in done.output
    elif "--require-acceptance" in arguments:
        assert done.status in (0, 2) and "accepted" in done.output + done.errors, done.errors
    else:
        assert done.status == 0, done.output + done.errors


def test_the_readmes_student_elsewhere_answers_as_the_page_says(home: Path, tmp_path: Path) -> None:
    (block,) = (
        found for found in re.findall(r"```python\n(.*?)```", PAGES[0].read_text(), re.S) if "load_model" in found
    )
    there = re.sub(r"sqlite:[^\"]+", f"sqlite:///{home}/mlflow.db", block).replace("digits-student", "smoke")
    script = tmp_path / "elsewhere.py"
    script.write_text(there + "\nprint(tuple(logits.shape))\n")
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[-2] == "(5, 10)"
