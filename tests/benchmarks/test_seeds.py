from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def seeds() -> ModuleType:
    spec = importlib.util.spec_from_file_location("seeds", ROOT / "benchmarks" / "seeds.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def results(folder: Path, *commits: str) -> list[Path]:
    files = [folder / f"seed-{seed}.json" for seed in range(len(commits))]
    for file, commit in zip(files, commits, strict=True):
        file.write_text(json.dumps({"commit": commit}))
    return files


def test_results_of_one_clean_commit_are_summarised(seeds: ModuleType, tmp_path: Path) -> None:
    assert seeds.check_commits(results(tmp_path, "abc", "abc"), allow_mixed=False) == "commit abc"


@pytest.mark.parametrize("commits", [("abc", "abd"), ("abc+", "abc+"), ("abc", "abc+")])
def test_results_of_no_one_commit_are_refused_or_called_that(
    seeds: ModuleType, tmp_path: Path, commits: tuple[str, str]
) -> None:
    files = results(tmp_path, *commits)
    with pytest.raises(SystemExit, match=f"got seed-0.json {commits[0].replace('+', '.')}, .*--allow-mixed"):
        seeds.check_commits(files, allow_mixed=False)
    assert "NOT OF ONE COMMIT" in seeds.check_commits(files, allow_mixed=True)


def test_a_shifted_teacher_is_called_that_in_the_summary(seeds: ModuleType) -> None:
    test = {"accuracy/top1": 0.5, "accuracy/teacher_top1": 0.75}
    plain, shifted = ({"teacher": label, "test": test} for label in ("teacher", "shifted teacher"))
    assert seeds.summarise([plain, plain])[0] == "test/accuracy/teacher_top1: 0.7500 +- 0.0000 (n = 2: 0.7500 0.7500)"
    lines = seeds.summarise([shifted, shifted])
    assert lines[0].startswith("test/accuracy/teacher_top1 (shifted teacher): 0.7500")
    assert lines[1].startswith("test/accuracy/top1: 0.5000")
