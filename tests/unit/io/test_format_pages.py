"""docs/formats lists what the writers write: fields of every model, names of arrays and columns."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[3] / "docs" / "formats"
MARKER = re.compile(r"<!-- (fields|names) of ([\w.]+) -->\n((?:\|[^\n]*\n)+)")
LISTED = [
    (page.name, *found) for page in sorted(PAGES.glob("*.md")) for found in MARKER.findall(page.read_text("utf-8"))
]


def first_column(table: str) -> list[str]:
    return re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)


@pytest.mark.parametrize(("page", "kind", "path", "table"), LISTED, ids=[f"{row[0]}:{row[2]}" for row in LISTED])
def test_a_page_lists_what_is_written(page: str, kind: str, path: str, table: str) -> None:
    module, name = path.rsplit(".", 1)
    there = getattr(importlib.import_module(module), name)
    assert first_column(table) == list(there.model_fields if kind == "fields" else there)


@pytest.mark.parametrize("name", ["run", "bead_stacks", "bead_set", "camera_map", "scan_ledger"])
def test_a_pages_history_ends_with_the_version_that_is_written(name: str) -> None:
    text = (PAGES / f"{name}.md").read_text("utf-8")
    path = next(path for kind, path, _ in MARKER.findall(text) if kind == "fields")
    module, model = path.rsplit(".", 1)
    rows = re.findall(r"^\| (\d+) \|", text.split("## History")[1], re.MULTILINE)
    assert int(rows[-1]) == getattr(importlib.import_module(module), model).SCHEMA_VERSION


def test_every_page_is_in_the_index() -> None:
    index = (PAGES / "index.md").read_text("utf-8")
    assert {page.name for page in PAGES.glob("*.md")} - {"index.md"} == set(re.findall(r"\]\((\w+\.md)\)", index))
