"""YAML text -> plain values, with the scalars of YAML 1.2: what a reader of the file would expect them to be.

PyYAML follows YAML 1.1, where ``1e-3`` is text, ``off`` and ``no`` are booleans, ``010`` is eight, ``1:30`` is ninety
and a repeated key silently wins. None of that holds here.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from dfkd.settings.checks import did_you_mean

# Source: YAML Ain't Markup Language, version 1.2.2, section 10.3.2 (core schema), plus `_` between digits.
_RESOLVERS = (
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9][0-9_]*|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
)


class _Loader(yaml.SafeLoader):
    """The safe loader with the scalars of YAML 1.2 and without repeated keys."""

    yaml_implicit_resolvers: dict[str, Any] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Return the mapping of ``node``; a key that is no text or stands twice is an error."""
        if not isinstance(node, yaml.MappingNode):
            raise yaml.constructor.ConstructorError(None, None, "expected a mapping", node.start_mark)
        lines: dict[str, int] = {}
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                problem = f"expected text as a key, got {key!r} (quote it)"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            if key in lines:
                problem = f"the key '{key}' stands twice, first in line {lines[key]}; keep one"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            lines[key] = key_node.start_mark.line + 1
        return super().construct_mapping(node, deep=deep)


def _construct_int(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = loader.construct_scalar(node).replace("_", "")
    return int(text, 0) if text.startswith(("0o", "0x")) else int(text)


def _construct_float(loader: _Loader, node: yaml.ScalarNode) -> float:
    text = loader.construct_scalar(node).replace("_", "").lower()
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


for _tag, _pattern, _first in _RESOLVERS:
    _first_characters = ["" if character == "\0" else character for character in _first]
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first_characters)
_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _construct_float)


def parse_yaml(text: str, *, where: str) -> Any:
    """Return the value of one YAML document.

    Raises:
        ValueError: the text is no YAML; the message holds ``where`` and the line.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # a subclass of SafeLoader: it builds plain values only
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise ValueError(f"{where}{line}: {error.problem or error.context}.") from None
    except yaml.reader.ReaderError as error:
        line_number = text.count("\n", 0, error.position) + 1
        raise ValueError(f"{where}, line {line_number}: YAML allows no {text[error.position]!r}.") from None
    except ValueError as error:  # an explicit tag on a value that is none, such as `!!int x`
        raise ValueError(f"{where}: {error}.") from None
    except RecursionError:
        raise ValueError(f"{where}: nested too deeply to be settings.") from None


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Return the mapping that a YAML file holds.

    Raises:
        ValueError: there is no such file, or it is empty, broken, or no mapping; the message holds file and line.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected text in UTF-8, got the byte {error.object[error.start]:#04x}.") from None
    except OSError as error:
        hint = did_you_mean(path.name, (file.name for file in path.parent.glob("*.y*ml"))) if not path.exists() else ""
        raise ValueError(f"{path}: cannot be read ({error.strerror}).{hint}") from None
    value = parse_yaml(text, where=str(path))
    if value is None:
        raise ValueError(f"{path}, line 1: the file is empty; expected settings as 'key: value' lines.")
    if not isinstance(value, dict):
        kind = "a list" if isinstance(value, list) else f"only {value!r}"
        raise ValueError(f"{path}, line 1: expected settings as 'key: value' lines, got {kind}.")
    return value
