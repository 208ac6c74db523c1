"""Class names that nobody should give do no harm: in files, in the registry, in plots and in what is exported."""

from __future__ import annotations

import dataclasses
import io
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import torch

from dfkd.comparison.cells import table
from dfkd.data.class_names import choose_class_names
from dfkd.export.snippet import snippet
from dfkd.jobs.console import Console
from dfkd.jobs.report_figures import draw_confusion
from dfkd.jobs.search_files import confusion_plot
from dfkd.jobs.teacher import description_of
from dfkd.settings.experiment import DatasetSettings, TeacherSettings
from dfkd.settings.search import LogUniformRange, SearchSettings
from dfkd.teachers import Teacher, build_network, load_teacher, save_teacher
from dfkd.tracking.connection import import_mlflow
from dfkd.tracking.registry import register_teacher
from dfkd.tracking.registry_reading import load_registered

NAMES = (
    "<script>alert(1)</script>",
    "<img src=http://evil.example/x onerror=alert(1)>",
    "../../etc/passwd",
    "C:\\Windows\\system32",
    "a null \x00 and an escape \x1b[31m",
    "two\nlines\r",
    "$\\frac{1}$",
    "{{ 7 * 7 }} %s {0} {",
    '""" + __import__("os").system("true") + """',
    "'; DROP TABLE experiments; --",
    "| a | b |",
    "__class__",
    "海鰻 \u202e gnp.exe",
    " " * 40,
)


RANGES = {"distillation.learning_rate": LogUniformRange(low=0.1, high=0.4)}


@pytest.fixture
def teacher() -> Teacher:
    torch.manual_seed(0)
    return Teacher(
        model=build_network("digits_student", num_classes=len(NAMES), in_channels=1),
        architecture="digits_student",
        class_names=NAMES,
        image_shape=(1, 8, 8),
        mean=(0.5,),
        std=(0.25,),
        provenance="made here",
    )


def test_files_keep_them_as_they_are(teacher: Teacher, tmp_path: Path) -> None:
    save_teacher(tmp_path / "teacher.safetensors", teacher)
    source = TeacherSettings(weights=str(tmp_path / "teacher.safetensors"))
    found = load_teacher(source, image_shape=(1, 8, 8), class_names=NAMES)
    assert found.class_names == NAMES
    assert [file.name for file in tmp_path.rglob("*")] == ["teacher.safetensors"]
    assert choose_class_names(DatasetSettings(name="digits", class_names=NAMES), None, len(NAMES)) == NAMES


def test_the_registry_keeps_them_as_they_are(teacher: Teacher, tmp_path: Path, empty_store: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(empty_store.read_bytes())
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = import_mlflow().MlflowClient(uri)
    experiment = client.create_experiment("names", str(tmp_path / "artifacts"))
    registered = register_teacher(
        uri,
        "hostile-teacher",
        model=teacher.model,
        description=description_of(teacher),
        card="\n".join(NAMES).replace("\x00", ""),
        training_key="k",
        run_id=client.create_run(experiment).info.run_id,
        tags={},
    )
    _, metadata = load_registered(registered.uri, tracking_uri=uri)
    assert tuple(json.loads(metadata["class_names"])) == NAMES


def test_plots_show_them_and_run_nothing() -> None:
    matrix = torch.eye(len(NAMES), dtype=torch.int64).tolist()
    files = confusion_plot(matrix, NAMES)
    page = files["plots/confusion_matrix.html"].decode()
    assert NAMES[0] not in page and NAMES[1] not in page
    assert json.loads(files["confusion_matrix.json"])["classes"] == list(NAMES)
    picture = draw_confusion(matrix, NAMES)
    assert {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(picture).iter()}.isdisjoint(
        {"script", "img"}
    )


def test_the_exported_program_holds_them_as_text_alone() -> None:
    program = snippet(title=NAMES[8], source=NAMES[5], class_names=NAMES, image_shape=(1, 8, 8), int8=False)
    code = compile(program, "predict.py", "exec")
    assert "system" not in code.co_names
    namespace: dict[str, object] = {}
    (line,) = [line for line in program.splitlines() if line.startswith("CLASS_NAMES = ")]
    exec(line, namespace)
    assert namespace["CLASS_NAMES"] == list(NAMES)


def test_a_terminal_only_shows_them() -> None:
    stream = io.StringIO()
    Console(stream).say(" ".join(NAMES))
    Console(stream).show("\t".join(NAMES))
    assert not set(stream.getvalue()) & {"\x00", "\x1b", "\r", "\u202e"}
    assert "海鰻" in stream.getvalue() and "\t" in stream.getvalue()


def test_a_cell_of_a_table_stays_one_cell() -> None:
    lines = table(["name"], [[name] for name in NAMES]).splitlines()
    assert len(lines) == 2 + len(NAMES)
    assert all(line.count("|") == 2 for line in lines)


def test_a_search_is_not_named_by_a_path() -> None:
    for name in ("../up", "a/b", "a\x00b", "<b>"):
        with pytest.raises(ValueError, match="name"):
            dataclasses.replace(SearchSettings(name="a", experiment={}, parameters=RANGES, trials=1), name=name)
