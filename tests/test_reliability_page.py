import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`(?: \((\w+)\))?", (ROOT / "docs" / "reliability.md").read_text())


@pytest.mark.parametrize(("file", "name", "ring"), NAMED)
def test_what_holds_a_promise_is_there_and_of_the_ring_that_is_named(file: str, name: str, ring: str) -> None:
    source = (ROOT / file).read_text()
    assert f"\ndef {name}(" in source
    before = source.partition(f"\ndef {name}(")[0].rpartition("\n\n\n")[2]
    rings = re.findall(r"pytest\.mark\.(slow|chaos|browser|gpu)", before)
    whole_file = re.search(r"^pytestmark = .*$", source, re.MULTILINE)
    rings += re.findall(r"pytest\.mark\.(slow|chaos|browser|gpu)", whole_file[0] if whole_file else "")
    assert ([ring] if ring else []) == rings


def test_the_page_names_tests() -> None:
    assert len(NAMED) > 10
