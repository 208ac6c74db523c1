from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from dfkd.comparison.results import ResultsFolder, RunResult
from dfkd.config.comparison import load_comparison
from dfkd.jobs.comparison_readme import BEGIN, END, NOTHING_YET, comparison_folders, readme_section, replaced
from dfkd.settings.comparison import RunName

ROOT = Path(__file__).parents[2]
MADE_WITH = {
    "commit": "0123456789",
    "versions": {"torch": "2.14.1", "ray": "2.60.0"},
    "hardware": {"processor": "some core", "threads": 1, "accelerator": None},
}


def result(run: RunName, key: str, score: float) -> RunResult:
    return RunResult(
        run=run,
        key=key,
        status="complete",
        title=run.row.title(),
        prior="text",
        num_classes=10,
        test={"accuracy/top1": score, "accuracy/teacher_top1": 0.8, "agreement/top1": score},
        best_epoch={"epoch": 0.0, "score": score},
        made_with=MADE_WITH,
    )


@pytest.fixture
def folder(tmp_path: Path) -> ResultsFolder:
    """The results of the smoke comparison's presets."""
    folder = ResultsFolder(tmp_path / "results" / "smoke")
    comparison = load_comparison(ROOT / "benchmarks" / "comparisons" / "smoke.yaml")
    folder.claim(comparison)
    for run in comparison.runs():
        if run.column == "preset":
            folder.write(result(run, comparison.key(run), 0.5 + 0.1 * run.seed))
    return folder


def test_the_readme_shows_the_committed_results() -> None:
    page = (ROOT / "README.md").read_text()
    assert page == replaced(page, readme_section(comparison_folders(ROOT / "benchmarks" / "results")))


def test_a_section_says_where_its_numbers_come_from(folder: ResultsFolder) -> None:
    text = readme_section([folder])
    assert "**smoke**" in text and "| Cae | preset | text | 2 | 55.00 +- 63.53 % |" in text
    assert "`benchmarks/results/smoke/`: 12 runs, seeds 0, 1; some core, threads a run: 1; torch 2.14.1" in text
    assert "commit 01234567." in text


def test_folders_without_a_comparison_are_passed_over(folder: ResultsFolder) -> None:
    (folder.path.parent / "digits").mkdir()
    assert [found.path.name for found in comparison_folders(folder.path.parent)] == ["smoke"]
    assert readme_section([]) == NOTHING_YET


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="expected the lines"):
        replaced("# A page", "text")
    assert replaced(f"a\n{BEGIN}\nold\n{END}\nb\n", "new") == f"a\n{BEGIN}\n\nnew\n\n{END}\nb\n"


def test_the_check_fails_once_a_result_changes(folder: ResultsFolder, tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text(f"{BEGIN}\n{END}\n")
    command = [sys.executable, str(ROOT / "benchmarks" / "leaderboard_table.py"), "--page", str(page)]
    command += ["--results", str(folder.path.parent)]
    assert subprocess.run([*command, "--check"], capture_output=True).returncode == 1
    assert subprocess.run(command, capture_output=True).returncode == 0
    assert subprocess.run([*command, "--check"], capture_output=True).returncode == 0
    first = next(found for found in folder.results() if found.run.fraction == 1)
    folder.write(dataclasses.replace(first, test=first.test | {"accuracy/top1": 0.9}))
    changed = subprocess.run([*command, "--check"], capture_output=True, text=True)
    assert changed.returncode == 1 and "does not show the results" in changed.stderr
