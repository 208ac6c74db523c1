"""Lists the licence of every package that nodes install, as each package states it: a table for docs/dependencies.md.

Run it where `deploy/requirements.lock` is installed; a package that is not there (of another system) is said to be so.

Example:
    python deploy/licences.py > docs/dependencies.md
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

LOCK = Path(__file__).with_name("requirements.lock")
INTRODUCTION = """# Dependencies

What `deploy/requirements.lock` puts on a node, with the licence that each package states, by
`python deploy/licences.py > docs/dependencies.md`. Statements are the packages' own and were not checked.

No audit for known holes is part of the build: `pip-audit -r deploy/requirements.lock --disable-pip --no-deps` makes one
where its data bases (PyPI or OSV) can be reached. Make it before a cluster is set up, and renew the lock
(`uv pip compile`, its first line has the command) when it finds something.

| package | version | licence |
|---|---|---|"""
LONGEST = 60  # of a statement: some put the whole text there


def locked(text: str) -> Iterator[tuple[str, str]]:
    """Yield name and version of every package of a lock."""
    for match in re.finditer(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s\\;]+)", text, flags=re.MULTILINE):
        yield match[1], match[2]


def licence_of(package: str) -> str:
    """Return what an installed package says of its licence."""
    try:
        stated = metadata(package)
    except PackageNotFoundError:
        return "not installed here"
    expression = stated.get("License-Expression")
    classifiers = [each.rpartition(" :: ")[2] for each in stated.get_all("Classifier", []) if "License ::" in each]
    plain = " ".join((stated.get("License") or "").split())
    short = plain if 0 < len(plain) <= LONGEST else ""
    return expression or short or ", ".join(dict.fromkeys(classifiers)) or "not stated"


def page() -> str:
    """Return the whole page."""
    rows = [f"| {name} | {version} | {licence_of(name)} |" for name, version in locked(LOCK.read_text())]
    return "\n".join([INTRODUCTION, *rows])


if __name__ == "__main__":
    print(page())
