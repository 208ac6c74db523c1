"""Every command that the documentation shows is one that works: scripts, options, search spaces and settings exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import torch
import yaml

from dfkd.config import apply_overrides, experiment_settings, load_settings, read_yaml
from dfkd.config.comparison import load_comparison
from dfkd.data import load_dataset
from dfkd.search.space import load_search_space
from dfkd.settings.tasks import TransferSettings
from dfkd.teachers import build_network, load_teacher

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BENCHMARKS = (ROOT / "benchmarks" / "README.md").read_text()
PAGES = [README, BENCHMARKS, *(page.read_text() for page in sorted(ROOT.glob("docs/**/*.md")))]
TUTORIAL_SPACE = "my_student.yaml"  # docs/tutorials/own-teacher.md shows it whole
DEFAULT_SPACE = "search_spaces/digits_cae.yaml"
READ_A_CONFIG = ("search.py", "distill.py", "train_teacher.py", "evaluate.py")
STATEMENTS = ("python experiments/", "python benchmarks/")


def code(text: str) -> list[str]:
    """Fenced blocks line by line, and what stands between single backticks."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines()] + inline


def script_commands() -> list[str]:
    """From `python` on: what stands before it is `ray job submit` or an installation."""
    lines = dict.fromkeys(line for page in PAGES for line in code(page))
    return [line[line.index("python ") :] for line in lines if any(start in line for start in STATEMENTS)]


@cache
def help_of(script: str) -> str:
    finished = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True, cwd=ROOT)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def check(script: str, arguments: list[str]) -> None:
    """A script with its arguments: options that it has, files that exist, settings that are accepted."""
    if "--" in arguments:
        nested = arguments[arguments.index("--") + 1 :]
        check(nested[0], nested[1:])
        arguments = arguments[: arguments.index("--")]
    options = {argument for argument in arguments if argument.startswith("--")}
    assert options <= set(re.findall(r"--[a-z-]+", help_of(script))), f"{script} has no such option"
    spaces = [argument for argument in arguments if argument.startswith(("search_spaces/", "benchmarks/transfer/"))]
    overrides = [value for option, value in zip(arguments, arguments[1:], strict=False) if option == "--set"]
    if Path(script).name == "compare.py":
        assert load_comparison(ROOT / arguments[0], overrides).settings.methods
    elif TUTORIAL_SPACE in arguments:
        return
    elif Path(script).name in ("search.py", "platform_overhead.py"):
        load_search_space(ROOT / (spaces or [DEFAULT_SPACE])[0], overrides)
    elif Path(script).name in READ_A_CONFIG:
        raw = read_yaml(ROOT / spaces[0])
        if "transfer" in raw:
            assert load_settings(TransferSettings, apply_overrides(raw, overrides), where=spaces[0]).transfer
            return
        experiment_settings(apply_overrides(raw["experiment"], overrides), spaces[0])


def test_the_first_screen_has_both_commands() -> None:
    first_screen = "\n".join(README.splitlines()[:25])
    assert "pip install -e . && python experiments/search.py" in first_screen
    assert "pip install -e '.[dev]' && pytest" in first_screen


def test_ci_runs_what_the_readme_says() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    install, tests = re.findall(r'^(?:install|test_command)="(.*)"$', script, flags=re.MULTILINE)
    assert f"{install} && {tests}" in code(README)
    for command in ('eval "$install', "$test_command 2>&1", "ruff check .", "ruff format --check .", "mypy platform"):
        assert command in script


@pytest.mark.parametrize("command", script_commands())
def test_a_command_can_be_run(command: str) -> None:
    _, script, *arguments = shlex.split(command)
    check(script, arguments)


def test_every_script_for_users_is_shown() -> None:
    shown = {shlex.split(line[line.index("python ") :])[1] for line in code(README) if STATEMENTS[0] in line}
    scripts = {f"experiments/{path.name}" for path in (ROOT / "experiments").glob("[!_]*.py")}
    assert scripts - shown == {"experiments/make_label_embeddings.py"}  # in platform/dfkd/label_embeddings/README.md


def test_every_search_space_is_listed() -> None:
    for path in (ROOT / "search_spaces").glob("*.yaml"):
        assert f"(search_spaces/{path.name})" in README


def test_the_search_space_for_an_own_teacher_is_valid(tmp_path: Path) -> None:
    (block,) = re.findall(r"^```yaml\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    (tmp_path / "my_student.yaml").write_text(block)
    space = load_search_space(tmp_path / "my_student.yaml")
    assert space.settings.name == yaml.safe_load(block)["name"]
    assert len(space.defaults()) == 2


def test_the_search_space_of_the_tutorial_finds_its_teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the page has it: a state_dict of that network, and no image."""
    page = (ROOT / "docs" / "tutorials" / "own-teacher.md").read_text()
    (block,) = re.findall(r"^```yaml\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    assert len(block.splitlines()) <= 15 and f"python experiments/search.py {TUTORIAL_SPACE}" in page
    (tmp_path / TUTORIAL_SPACE).write_text(block)
    monkeypatch.chdir(tmp_path)
    torch.save(build_network("resnet20", num_classes=3, in_channels=3).state_dict(), "teacher.pt")
    settings = load_search_space(TUTORIAL_SPACE).resolve({})
    data = load_dataset(settings.dataset)
    teacher = load_teacher(settings.teacher, image_shape=data.image_shape, class_names=data.class_names)
    assert teacher.architecture == "resnet20" and teacher.class_names == ("healthy", "rust", "blight")


def test_every_number_names_its_command() -> None:
    section = README.partition("\n## Numbers\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    assert rows[0] == ["what", "command", "hardware", "seeds", "result"]
    assert len(rows) > 10
    for what, command, hardware, seeds, result in rows[2:]:
        named = command.startswith("`python ") and hardware and seeds
        assert result == "not measured yet" or named, f"{what}: a result needs its command, hardware and seeds"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["search_spaces/digits_cae.yaml", "--worker", "2"], AssertionError),
        (["search_spaces/digits.yaml"], ValueError),
        (["search_spaces/digits_cae.yaml", "--set", "seeed=1"], ValueError),
    ],
)
def test_a_command_that_cannot_be_run_would_be_noticed(arguments: list[str], error: type[Exception]) -> None:
    with pytest.raises(error):
        check("experiments/distill.py", arguments)
