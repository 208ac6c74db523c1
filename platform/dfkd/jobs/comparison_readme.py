"""The part of a README that shows comparisons, made from their results alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from dfkd.comparison.leaderboard import make_leaderboard
from dfkd.comparison.results import ResultsFolder, RunResult
from dfkd.comparison.tables import readme_markdown
from dfkd.config.validation import load_settings
from dfkd.settings.comparison import ComparisonSettings

BEGIN, END = "<!-- comparisons: made by benchmarks/leaderboard_table.py -->", "<!-- end of comparisons -->"
NOTHING_YET = "No comparison has been run yet."


def comparison_folders(results: Path) -> list[ResultsFolder]:
    """Return the folders below ``results`` that hold a comparison with runs that have ended, by name."""
    folders = [ResultsFolder(path.parent) for path in sorted(results.glob("*/comparison.json"))]
    return [folder for folder in folders if folder.results()]


def readme_section(folders: Iterable[ResultsFolder]) -> str:
    """Return the tables of these comparisons, each with the command, hardware, code and seeds behind it."""
    parts = []
    for folder in folders:
        results = folder.results()
        settings = load_settings(ComparisonSettings, folder.facts()["settings"], where=str(folder.path))
        parts += [readme_markdown(settings, make_leaderboard(settings, results)), made_with(folder.path.name, results)]
    return "\n\n".join(parts) if parts else NOTHING_YET


def made_with(name: str, results: Sequence[RunResult]) -> str:
    """Return where these results come from, in one paragraph."""
    facts = [result.made_with for result in results]
    commits = _distinct(str(fact.get("commit", "unknown"))[:8] for fact in facts)
    hardware = [fact.get("hardware", {}) for fact in facts]
    devices = _distinct(str(each.get("accelerator") or each.get("processor", "unknown")) for each in hardware)
    threads = _distinct(str(each.get("threads", "?")) for each in hardware)
    versions = _distinct(f"{library} {version}" for fact in facts for library, version in _versions(fact))
    seeds = _distinct(str(seed) for seed in sorted({result.run.seed for result in results}))
    return (
        f"From `benchmarks/results/{name}/`: {len(results)} runs, seeds {seeds}; {devices}, threads a run: {threads}; "
        f"{versions}; commit {commits}."
    )


def _versions(fact: dict[str, dict[str, str]]) -> list[tuple[str, str]]:
    return [(library, version) for library, version in fact.get("versions", {}).items() if library in ("torch", "dfkd")]


def _distinct(values: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(values))


def replaced(page: str, section: str) -> str:
    """Return the page with the section between the two marks.

    Raises:
        ValueError: the marks are not there, once each.
    """
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise ValueError(f"expected the lines '{BEGIN}' and '{END}' in the page, once each.")
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{section}\n\n{END}{rest.partition(END)[2]}"
