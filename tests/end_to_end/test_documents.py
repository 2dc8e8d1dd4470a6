"""Blocks of commands in the documents: each can be run, or says in its page why not; those on tables are run."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import pytest

from easyzloc_mm.benchmarks.npc import pore_field
from easyzloc_mm.cli.app import main
from tests.end_to_end.test_workflow import write_profile
from tests.helpers.document_blocks import Line, lines_of
from tests.helpers.paths import ROOT
from tests.helpers.pores import as_locs

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
LINES = [line for page in PAGES for line in lines_of(page, page.relative_to(ROOT).as_posix())]
BLOCKS = [list(lines) for _, lines in groupby(LINES, lambda line: (line.page, line.block))]
CHEAP = {"undrift", "link", "render", "resolution", "report", "export", "verify", "depth"}
"""Commands on a table."""
EXCUSED, RUN = 19, 45
"""Lines that no test can run, each with its reason in the page; and lines that can be run in a folder."""


def run(line: Line) -> None:
    assert main(line.words) == 0, str(line)


def test_no_block_is_skipped_in_silence() -> None:
    excused = [line for line in LINES if line.excuse]
    assert all(len(line.excuse or "") > 10 for line in excused)
    assert (len(excused), len(LINES) - len(excused)) == (EXCUSED, RUN)


def test_an_excuse_of_nothing_would_be_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- not run (livee): no camera -->\n```\neasyzloc-mm live\n```\n", encoding="utf-8")
    with pytest.raises(AssertionError, match="no line holds"):
        lines_of(page, "page.md")
    page.write_text("<!-- not run (live): no camera -->\n```\neasyzloc-mm live\nsleep 5\n```\n", encoding="utf-8")
    live, sleep = lines_of(page, "page.md")
    assert (live.excuse, sleep.excuse) == ("no camera", None)
    with pytest.raises(AssertionError, match=r"page\.md:4"):
        _ = sleep.words


def cheap(block: list[Line]) -> bool:
    return all(line.excuse is None and line.words[0] in CHEAP for line in block)


@pytest.mark.parametrize("block", [block for block in BLOCKS if cheap(block)], ids=lambda block: str(block[0]))
def test_a_block_on_tables_does_what_it_says(
    block: list[Line], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_profile(tmp_path).rename("my.toml")
    table = as_locs(pore_field("two rings", pores=25, per_pore=60, sigma_z_nm=10))
    for name in ("run.zarr", "cell1.zarr"):
        table.save(Path(name))
    for line in block:
        run(line)
