"""A report from what MLflow holds; the runs were told by hand, under names that would like to be more than text."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from dfkd.jobs.console import Console
from dfkd.jobs.report import run_report
from dfkd.jobs.report_figures import draw_confusion, draw_curves, draw_multiples, draw_progress
from dfkd.preview import png_grid
from dfkd.tracking.home import default_tracking_uri
from dfkd.tracking.mlflow_tracker import MlflowTracking
from dfkd.tracking.run_reading import RunReader

HOSTILE = '<script src="http://evil.example/x.js">alert(1)</script>'
PICTURE = png_grid(torch.zeros(3, 1, 8, 8, dtype=torch.uint8))
SPACE = {"objective": {"metric": "agreement"}, "parameters": {"distillation.learning_rate": {}, "synthesis.kind": {}}}
QUOTED = 'it\'s "mine" \\'
FRONT = {"large": (0.9, 800.0), "worse": (0.4, 900.0), "small": (0.5, 200.0)}  # agreement, size
TRIALS = {"first": (0.5, "0.1"), "second": (0.9, "0.3"), "third": (0.7, "0.2")}  # agreement, learning rate


def tell_of_a_front(tracking: MlflowTracking) -> None:
    """A search of two objectives and three trials, two of which are on the front."""
    parent = tracking.open_parent("pairs", "pairs-1", {"dfkd.kind": "search"})
    space = SPACE | {"further_objectives": {"size": {"type": "cost", "of": "parameters"}}}
    parent.log_artifact("search_space.json", json.dumps(space).encode())
    rows = [{"key": key, "on_front": key != "worse", "agreement": 0.0} for key in FRONT]
    pq.write_table(pa.Table.from_pylist(rows), buffer := io.BytesIO())
    parent.log_artifact("pareto_front.parquet", buffer.getvalue())
    for number, (key, (agreement, size)) in enumerate(FRONT.items()):
        trial = tracking.open_child(key, key, {"dfkd.kind": "trial", "dfkd.trial": str(number)})
        trial.log_metrics({"probe/agreement": agreement, "further/size": size}, step=0)
        trial.close("FINISHED")
    parent.close("FINISHED")


@pytest.fixture(scope="module")
def told(home: Path) -> Path:
    """A home whose MLflow knows a search of three trials, one that failed, and a distillation."""
    uri = default_tracking_uri(home)
    with MlflowTracking(uri, home, "quoted") as tracking:
        tracking.open_parent("distillations", QUOTED, {"dfkd.kind": "distillation"}).close("FINISHED")
    with MlflowTracking(uri, home, "pairs-1") as tracking:
        tell_of_a_front(tracking)
    with MlflowTracking(uri, home, "eels-20260101-0000") as tracking:
        parent = tracking.open_parent("eels", "eels-20260101-0000", {"dfkd.kind": "search"})
        parent.log_artifact("search_space.json", json.dumps(SPACE).encode())
        parent.log_artifact(
            "confusion_matrix.json", json.dumps({"classes": [HOSTILE, "海鰻"], "matrix": [[3, 1], [0, 4]]}).encode()
        )
        parent.log_params({"distillation.learning_rate": 0.1, "teacher.architecture": HOSTILE})
        parent.set_tags({"commit": "abc123+", "version.torch": "9.9", "dfkd.chosen": "second"})
        parent.set_description(f"## The best\n| a | b |\n|---|---|\n| [link](http://evil.example) | {HOSTILE} |")
        parent.log_metrics({"test/accuracy/top1": 0.875, "trust/regret": float("nan")}, step=0)
        for number, (key, (agreement, rate)) in enumerate(TRIALS.items()):
            trial = tracking.open_child(key, f"cae {key} {HOSTILE}", {"dfkd.kind": "trial", "dfkd.trial": str(number)})
            trial.log_params({"distillation.learning_rate": rate, "synthesis.kind": "bank"})
            trial.set_tags({"dfkd.status": "complete", "device": "cpu"})
            for epoch in range(6):
                metrics = {"probe/agreement": agreement * (epoch + 1) / 6, "distillation/kd": 1 / (epoch + 1)}
                trial.log_metrics(metrics, step=epoch)
                trial.log_image("synthetic images", PICTURE, step=epoch)
            trial.close("FINISHED")
        failed = tracking.open_child("failed", "cae failed", {"dfkd.kind": "trial", "dfkd.trial": "3"})
        failed.set_tags({"dfkd.status": "failed", "dfkd.error": f"it is nan {HOSTILE}"})
        failed.close("FAILED")
        parent.close("FINISHED")
    with MlflowTracking(uri, home, "one-run") as tracking:
        run = tracking.open_parent("distillations", "one-run", {"dfkd.kind": "distillation", "device": "cpu"})
        run.log_params({"seed": 3, "commit": "def456", "torch": "9.8"})
        for epoch in range(3):
            run.log_metrics({"probe/agreement": epoch / 3, "val/accuracy/top1": 0.1, "synthesis/x": 1.0}, step=epoch)
        run.log_metrics({"test/accuracy/top1": 0.625}, step=3)
        run.close("FINISHED")
    return home


class Elements(HTMLParser):
    """Every attribute of a page as (tag, name, value), as a browser takes it apart."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str, str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [(tag, "", ""), *((tag, name, value or "") for name, value in attrs)]


def report(home: Path, folder: Path, name: str) -> str:
    console = Console(io.StringIO())
    uri = default_tracking_uri(home)  # whatever the environment says
    file = run_report(name, output=str(folder / "r.html"), home=str(home), tracking_uri=uri, console=console)
    return file.read_text(encoding="utf-8")


def visible(page: str) -> str:
    """What a reader sees, figures left out."""
    return " ".join(re.sub(r"<svg.*?</svg>|<style.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL).split())


@pytest.fixture(scope="module")
def of_search(told: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("report")
    return report(told, folder, "eels-20260101-0000"), folder


def test_a_searchs_report_has_its_leaderboard_with_the_registered_trial_marked(of_search: tuple[str, Path]) -> None:
    page, _ = of_search
    places = [page.index(f"<td>cae {key} ") for key in ("second", "third", "first")]
    assert places == sorted(places) and places[-1] < page.index("<td>cae failed</td>")
    (marked,) = re.findall(r'<tr class="chosen">\s*<td>cae (\w+)', page)
    assert marked == "second"
    assert "<th>distillation.<wbr>learning_<wbr>rate</th>" in page
    text = visible(page)
    for words in (
        "test split",
        "0.875",
        "regret -",
        "abc123+",
        "torch 9.9",
        "device cpu",
        "By agreement, largest first",
    ):
        assert words in text, words
    assert "it is nan" in text


def test_its_figures_lie_in_the_page_and_beside_it(of_search: tuple[str, Path]) -> None:
    page, folder = of_search
    assert "cae failed" not in (folder / "r-figures" / "objective_by_epoch.svg").read_text()  # it has no epoch
    files = {file.stem: file.read_text() for file in (folder / "r-figures").glob("*.svg")}
    expected = {"objective_by_trial", "objective_by_setting", "objective_by_epoch", "losses", "confusion_matrix"}
    assert set(files) == expected
    assert all(svg in page for svg in files.values())
    for svg in files.values():
        assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    assert "海鰻" in files["confusion_matrix"]


def test_synthetic_images_of_the_best_trial_are_shown_over_its_epochs(of_search: tuple[str, Path]) -> None:
    captions = re.findall(r"<figcaption>cae (\w+) .*?, epoch (\d)</figcaption>", of_search[0])
    assert captions == [("second", "2"), ("second", "4"), ("second", "6"), ("third", "6"), ("first", "6")]
    assert of_search[0].count('src="data:image/png;base64,iVBOR') >= 5


@pytest.mark.parametrize("name", ["eels-20260101-0000", "one-run"])
def test_a_report_needs_no_network_and_runs_no_script(told: Path, tmp_path: Path, name: str) -> None:
    page = report(told, tmp_path, name)
    elements = Elements(page).found
    assert not {"script", "link", "iframe", "object", "embed", "base", "a"} & {tag for tag, _, _ in elements}
    fetched = {
        value for _, name, value in elements if name in ("src", "href", "xlink:href", "srcset", "data", "action")
    }
    assert [value for value in fetched if not value.startswith(("data:", "#"))] == []
    styles = [value for _, name, value in elements if name not in ("src", "xlink:href")] + re.findall(
        "<style.*?</style>", page, flags=re.DOTALL
    )
    assert any("body {" in style for style in styles)
    assert not any(re.search(r"url\((?!#)|@import", value) for value in styles)
    assert not [name for _, name, _ in elements if name.startswith("on")]
    assert "default-src 'none'" in page


def test_a_name_is_text_whatever_it_looks_like(of_search: tuple[str, Path]) -> None:
    page = of_search[0]
    assert HOSTILE not in page
    assert page.count("&lt;script src=") > 5


def test_a_distillations_report_has_scores_curves_and_environment(told: Path, tmp_path: Path) -> None:
    figures = tmp_path / "r-figures"
    figures.mkdir()
    for left in ("objective_by_trial.svg", "mine.svg"):  # of another run's report, and no figure of ours
        (figures / left).write_text("<svg/>")
    page = report(told, tmp_path, "one-run")
    text = visible(page)
    for words in ("distillation, finished", "0.625", "def456", "torch 9.8", "seed 3", "None were recorded"):
        assert words in text, words
    assert {file.stem for file in figures.iterdir()} == {"scores_by_epoch", "losses", "mine"}


def test_a_report_of_several_objectives_shows_them_all_and_the_front(told: Path, tmp_path: Path) -> None:
    page = report(told, tmp_path, "pairs")
    text = visible(page)
    assert "By agreement, largest first. It is one objective of several" in text and "of the others: size." in text
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", page, flags=re.DOTALL)]
    shown = {row[0]: row[1:4] for row in rows if row and row[0] in FRONT}
    assert shown == {"large": ["0.9", "800", "yes"], "small": ["0.5", "200", "yes"], "worse": ["0.4", "900", ""]}


def test_an_experiments_name_is_its_newest_search_and_mlflows_identifier_any_run(told: Path) -> None:
    reader = RunReader(default_tracking_uri(told))
    search = reader.find("eels")
    assert search.run_id == reader.find("eels-20260101-0000").run_id == reader.find(search.run_id).run_id
    trial = reader.children(search)[1]
    assert (trial.key, reader.find(trial.run_id)) == ("second", trial)
    assert reader.file(search, "nothing.json") is None
    assert reader.find(QUOTED).name == QUOTED
    with pytest.raises(ValueError, match="knows no run"):
        reader.find(QUOTED.replace("s", "t"))


def test_a_run_is_found_without_reading_the_others(told: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, read = RunReader(default_tracking_uri(told)), list[int]()
    search_runs = reader._client.search_runs

    def counted(*given: Any, **how: Any) -> Any:
        read.append(len(page := search_runs(*given, **how)))
        return page

    monkeypatch.setattr(reader._client, "search_runs", counted)
    for name in ("one-run", "eels", "eels-20260101-0000", QUOTED):
        reader.find(name)
    assert sum(read) == 4


def test_a_run_that_is_not_there_is_told_with_those_that_are(told: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="'eels-2026'. Did you mean 'eels-20260101-0000'. The newest: one-run, eels-20260101-0000"
    ):
        report(told, tmp_path, "eels-2026")
    with pytest.raises(ValueError, match="knows no run"):
        report(told, tmp_path, "0" * 32)
    assert list(tmp_path.iterdir()) == []


def test_a_figure_draws_what_it_can_of_missing_values_and_strange_names() -> None:
    nan = float("nan")
    curves: dict[str, Any] = {"_$x$ & <b>": [(0, 1.0), (1, nan)], "тест": [], "long " * 30: [(0, 0.0)]}
    drawn = [
        draw_progress([nan, 0.2, 0.1], maximise=False, y="$y$"),
        draw_curves(curves, x="epoch", y="share"),
        draw_multiples(curves),
        draw_confusion([[0, 0], [0, 0]], ["a", "<b>"]),
        draw_confusion([[1] * 40] * 40, [str(number) for number in range(40)]),
    ]
    for svg in drawn:
        ElementTree.fromstring(svg)
    assert "_$x$ &amp; &lt;b&gt;" in drawn[1] and "тест" in drawn[1] and "$y$" in drawn[0]
