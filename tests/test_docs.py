"""The documentation against the code: files that it names exist, settings are real, defaults are the defaults."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from dfkd.config import apply_overrides, experiment_settings, look_up, read_yaml
from dfkd.settings.experiment import DatasetSettings, ExperimentSettings, StudentSettings, TeacherSettings
from dfkd.settings.identity import to_dict

ROOT = Path(__file__).parents[1]
PAGES = sorted(ROOT.glob("docs/**/*.md")) + [
    ROOT / "README.md",
    ROOT / "benchmarks" / "README.md",
    ROOT / "CHANGELOG.md",
]
METHOD = (ROOT / "docs" / "method.md").read_text()
PARTS = ("dataset", "teacher", "student", "label_embeddings", "synthesis", "distillation")
CLASS = re.compile(r"^class (\w+)", flags=re.MULTILINE)
OVERRIDES = re.findall(rf"`((?:{'|'.join(PARTS)})[\w.]*=[^`]+)`", METHOD)
PATHS = sorted(set(re.findall(rf"`((?:{'|'.join(PARTS)})(?:\.\w+)+)`", METHOD)))
DEFAULTS = re.findall(r"^\|[^|]*\| `([\w.]+)` \| `([^`]+)` \|", METHOD, flags=re.MULTILINE)


def defaults() -> dict[str, Any]:
    settings = ExperimentSettings(
        dataset=DatasetSettings(),
        teacher=TeacherSettings(architecture="digits_teacher"),
        student=StudentSettings(architecture="digits_student"),
    )
    return to_dict(settings)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text()
    named = set(re.findall(r"\b(?:platform/dfkd|experiments|search_spaces|tests|docs|benchmarks)/[\w./-]*\w", text))
    linked = {target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target}
    written_by_commands = {name for name in named if name.startswith("benchmarks/results/")}
    missing = {name for name in named - written_by_commands if not (ROOT / name).exists()}
    missing |= {target for target in linked if target and not (page.parent / target).exists()}
    assert missing == set()


@pytest.mark.parametrize("name", ["design.md", "method.md"])
def test_every_class_that_a_page_on_the_code_names_exists(name: str) -> None:
    named = set(re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)+)[`.(]", (ROOT / "docs" / name).read_text()))
    defined = {name for file in (ROOT / "platform").rglob("*.py") for name in CLASS.findall(file.read_text())}
    assert named <= defined


def test_every_attribute_that_a_page_on_the_code_names_is_where_it_says() -> None:
    named = re.findall(r"`([A-Z]\w+)\.(\w+)` in\s+`(platform/[\w/]+\.py)`", METHOD)
    assert len(named) >= 2
    for owner, attribute, file in named:
        body = (ROOT / file).read_text().partition(f"class {owner}")[2].partition("\nclass ")[0]
        assert re.search(rf"^    def {attribute}\(", body, flags=re.MULTILINE), f"{owner}.{attribute} in {file}"


def test_the_pages_speak_of_something() -> None:
    assert len(OVERRIDES) > 20
    assert len(PATHS) > 20
    assert len(DEFAULTS) > 10


@pytest.mark.parametrize("override", OVERRIDES)
def test_an_ablation_is_one_setting(override: str) -> None:
    base = read_yaml(ROOT / "search_spaces" / "digits_cae.yaml")["experiment"]
    changed = experiment_settings(apply_overrides(base, [override]), "docs/method.md")
    path, _, text = override.partition("=")
    wanted, value = yaml.safe_load(text), look_up(to_dict(changed), path)
    if isinstance(wanted, dict):
        assert value.items() >= wanted.items()
    else:
        assert value == wanted


@pytest.mark.parametrize("path", PATHS)
def test_a_setting_of_the_method_exists(path: str) -> None:
    look_up(defaults(), path)


@pytest.mark.parametrize(("path", "value"), DEFAULTS)
def test_a_constant_is_the_default(path: str, value: str) -> None:
    assert look_up(defaults(), path) == yaml.safe_load(value)
