"""Pages that are written to be read in the repository, as a site: the README as its start, links that hold."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s:]+)\)")


def on_files(files: Files, *, config: Any) -> Files:
    """Add the README as the first page."""
    files.append(File.generated(config, "index.md", content=(ROOT / "README.md").read_text()))
    return files


def on_page_markdown(text: str, *, page: Any, config: Any, files: Files) -> str:
    """Turn links to files of the repository that are no pages into their names."""
    folder = "" if page.file.src_uri == "index.md" else posixpath.join("docs", posixpath.dirname(page.file.src_uri))

    def mended(link: re.Match[str]) -> str:
        words, target = link[1], link[2]
        path, _, anchor = target.partition("#")
        if not path:
            return link[0]
        place = posixpath.normpath(posixpath.join(folder, path))
        if not (ROOT / place).exists():
            return link[0]  # the strict build says so
        name = place.removeprefix("docs/")
        known = place.startswith("docs/") and files.get_file_from_path(name) is not None
        known = known and files.get_file_from_path(name).is_documentation_page()  # type: ignore[union-attr]
        if not known:
            return words if words.startswith("`") else f"{words} (`{place}`)" if words != place else f"`{words}`"
        here = posixpath.dirname(page.file.src_uri)
        return f"[{words}]({posixpath.relpath(name, here or '.')}{'#' + anchor if anchor else ''})"

    return LINK.sub(mended, text)
