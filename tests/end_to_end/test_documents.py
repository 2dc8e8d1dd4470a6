"""Blocks of commands in the documents: each does what it says, or says in its page why no test runs it."""

from __future__ import annotations

import shutil
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import tifffile

from easyzloc_mm.benchmarks.npc import pore_field
from easyzloc_mm.cli.app import main
from easyzloc_mm.io.beads.dataset import read_bead_set
from tests.helpers.document_blocks import Line, lines_of
from tests.helpers.document_walk import follow
from tests.helpers.paths import ROOT
from tests.helpers.pores import as_locs
from tests.helpers.program import command, write_profile

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
LINES = [line for page in PAGES for line in lines_of(page, page.relative_to(ROOT).as_posix())]
BLOCKS = [list(lines) for _, lines in groupby(LINES, lambda line: (line.page, line.block))]
CHEAP = {"undrift", "link", "render", "resolution", "report", "export", "verify", "depth"}
"""Commands on a table."""
EXCUSED, RUN = 12, 52
"""Lines that no test runs, each with its reason in the page; and lines that one does."""
GIVEN = {
    "README.md": ("micro_manager", "my.cfg"),
    "docs/depth.md": ("cell1.zarr",),
    "docs/first_calibration.md": ("dark.tif", "flat.tif", "micro_manager", "my.cfg"),
    "docs/index.md": (),
    "docs/live.md": ("today",),
    "docs/on_files.md": ("today", "cell1.zarr"),
    "docs/passport.md": ("today",),
    "docs/refresh.md": ("today", "movie.tif"),
    "docs/scan.md": ("today",),
}
"""What each page supposes to be there, besides the profile ``my.toml``; `other_programs` writes more, on the way."""


def run(line: Line) -> None:
    assert main(line.words) == 0, str(line)


def test_no_block_is_skipped_in_silence() -> None:
    excused = [line for line in LINES if line.excuse]
    assert all(len(line.excuse or "") > 10 for line in excused)
    assert (len(excused), len(LINES) - len(excused)) == (EXCUSED, RUN)
    assert {line.page for line in LINES if not line.excuse} == set(GIVEN)


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


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What pages suppose: a calibration, a run, a movie, images of the dark and of even light, a Micro-Manager."""
    import mm_test_adapters

    folder = tmp_path_factory.mktemp("shelf")
    profile = write_profile(folder).rename(folder / "my.toml")
    command("calibrate", "--profile", profile, "--out", folder / "today", "--steps", "200")
    command("live", "--profile", profile, "--model", folder / "today" / "model", "--out", folder / "cell1.zarr")
    command("simulate", "movie", "--profile", profile, "--out", folder / "movie.tif")
    adapters = Path(mm_test_adapters.device_adapter_path())
    shutil.copytree(adapters, folder / "micro_manager")
    devices = (adapters / "MMConfig_demo.cfg").read_text(encoding="utf-8")
    (folder / "my.cfg").write_text(f"{devices}\nPixelSize_um,Res10x,0.11\n", encoding="utf-8")
    rng = np.random.default_rng(1)
    for name, light in (("dark.tif", 0.0), ("flat.tif", 400.0)):
        counts = rng.poisson(light, (200, 96, 96)) / 0.45 + 100 + rng.normal(0, 3, (200, 96, 96))
        tifffile.imwrite(folder / name, counts.round().astype(np.uint16))
    return folder


def other_programs() -> None:
    """Write what the page of files supposes, of its own data: cut-out ROIs, a folder of stacks, a table of Picasso."""
    with tifffile.TiffFile("stacks.tif") as stacks:
        first = stacks.series[0].asarray()
    Path("folder").mkdir()
    tifffile.imwrite("folder/one.tif", first)
    tifffile.imwrite("rois.tif", read_bead_set(Path("beads.zarr")).rois[:8].astype(np.uint16))
    command("export", "run.zarr", "--out", "locs.hdf5", "--where", "frame >= 0")


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("page", GIVEN)
def test_a_page_can_be_followed_from_its_first_line(
    page: str, shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("my.toml", *GIVEN[page]):
        given = shelf / name
        shutil.copytree(given, name) if given.is_dir() else shutil.copy(given, name)
    for line in LINES:
        if line.page == page and line.excuse is None:
            if "rois.tif" in line.words:
                other_programs()
            print(line)
            follow(line.words)
