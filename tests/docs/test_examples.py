"""The examples of ``docs/examples`` and the README's lines of Python, at smoke size."""

from __future__ import annotations

import re
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

import dfkd
from dfkd import SYNTHESIZERS

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
#: A number of an example -> the one that is tried here.
SMALLER = {
    "epochs=20": "epochs=1",
    "steps_per_epoch=40": "steps_per_epoch=2",
    "warm_up_rounds=4": "warm_up_rounds=1",
    "generator_steps=30": "generator_steps=2",
    "CategoryAwareSettings(batch_size=100": "CategoryAwareSettings(batch_size=20, generator_steps=2",  # the README's
    "batch_size=100": "batch_size=20",
    "range(15)": "range(1)",  # epochs of the teacher
    "range(space.settings.trials)": "range(2)",
    "probe_set_of(teacher)": "probe_set_of(teacher, size=50, steps=2)",
    'with_name("own_search_space.yaml"))': 'with_name("own_search_space.yaml"), SMALL_SPACE)',
}
SMALL_SPACE = [
    "distillation.epochs=1",
    "distillation.steps_per_epoch=2",
    "synthesis.warm_up_rounds=1",
    "synthesis.generator_steps=2",
    "synthesis.batch_size=20",
]


def run_smaller(source: str, file: Path, **names: Any) -> dict[str, Any]:
    """Run an example's text with smaller numbers in it; return what it defined."""
    for number, smaller in SMALLER.items():
        source = source.replace(number, smaller)
    namespace = {"__name__": file.stem, "__file__": str(file), "SMALL_SPACE": SMALL_SPACE, **names}
    exec(compile(source, str(file), "exec", dont_inherit=True), namespace)
    return namespace


@pytest.fixture
def digits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Let the examples find what they share, with a teacher of one epoch, and write to a folder of the test's."""
    module = types.ModuleType("handwritten_digits")
    file = EXAMPLES / "handwritten_digits.py"
    vars(module).update(run_smaller(file.read_text(), file))
    monkeypatch.setitem(sys.modules, "handwritten_digits", module)
    monkeypatch.setitem(SYNTHESIZERS, "sure", None)  # taken out again afterwards
    monkeypatch.chdir(tmp_path)
    return module


@pytest.mark.parametrize("example", sorted(path.name for path in EXAMPLES.glob("own_*.py")))
def test_an_example_runs(digits: Any, capsys: pytest.CaptureFixture[str], example: str) -> None:
    run_smaller((EXAMPLES / example).read_text(), EXAMPLES / example)
    last = capsys.readouterr().out.splitlines()[-1]
    assert re.search(r"teacher 0\.\d{3}", last) and re.search(r"student 0\.\d{3}", last)


def test_every_smaller_number_stands_in_an_example() -> None:
    text = "".join(path.read_text() for path in [ROOT / "README.md", *EXAMPLES.glob("*.py")])
    assert [number for number in SMALLER if number not in text] == []


def test_every_example_is_listed() -> None:
    listed = set(re.findall(r"\]\((\w+\.py)\)", (EXAMPLES / "README.md").read_text()))
    assert listed == {path.name for path in EXAMPLES.glob("*.py")}


def test_the_readmes_lines_of_python_distil_a_student(digits: Any) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), flags=re.MULTILINE | re.DOTALL)
    (block,) = [block for block in blocks if "distill_student" in block]
    assert len([line for line in block.splitlines() if line.strip()]) <= 12
    made = run_smaller(block, ROOT / "README.md", my_network=digits.trained_network())
    assert made["result"].student is not None


def test_importing_the_package_imports_nothing_else_of_it_and_no_library() -> None:
    code = """
import sys
import dfkd
print([name for name in sys.modules if name.startswith("dfkd.") or name in ("torch", "ray", "mlflow", "pydantic")])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_public_name_is_there_and_another_is_told() -> None:
    for name in dfkd.PUBLIC:
        assert getattr(dfkd, name) is not None
    assert set(dfkd.PUBLIC) < set(dir(dfkd))
    with pytest.raises(AttributeError, match="module 'dfkd' has no attribute 'distil_student'"):
        getattr(dfkd, "distil_student")  # noqa: B009 - mypy knows that there is none
