"""Bead stacks and computed results on a disk that is full or away for a moment."""

from __future__ import annotations

import errno
import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest

from easyzloc_mm.api.analysing.verify import verify
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.stacks import open_bead_stacks
from easyzloc_mm.io.beads.writer import BeadStackWriter, PlaneRecord
from easyzloc_mm.io.writing import atomic
from easyzloc_mm.io.writing.kinds import Kind
from easyzloc_mm.io.writing.output import whole_or_nothing
from easyzloc_mm.profile.detection import Sync
from easyzloc_mm.typing import U16
from tests.helpers.faulty_disk import FaultyDisk

SHAPE, PLANES, STACKS = (20, 24), 5, 2


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FaultyDisk:
    monkeypatch.setattr(atomic, "SHARE_S", 0.2)
    return FaultyDisk(monkeypatch)


def pixels(stack: int, plane: int) -> U16:
    return np.random.default_rng([stack, plane]).poisson(200, SHAPE).astype(np.uint16)


def take(path: Path, written: list[tuple[int, int]]) -> None:
    """Write the planes as an acquisition does, noting those that were taken."""
    with BeadStackWriter(path, {"name": "t"}, 110.0, 50.0, SHAPE, planned_planes=PLANES, sync=Sync.ALWAYS) as writer:
        for stack in range(STACKS):
            writer.add_fov(stack, PLANES)
            for plane in range(PLANES):
                z_um = plane * 0.05
                writer.write_plane(
                    stack, plane, pixels(stack, plane), PlaneRecord(z_um, z_um, 0, 0, 30, "Low", float(plane))
                )
                written.append((stack, plane))


def readable(path: Path) -> set[tuple[int, int]]:
    try:
        stacks = open_bead_stacks(path)
    except InputError:
        return set()
    there = {(stack.fov, plane) for stack in stacks for plane in range(len(stack.planes))}
    assert all(np.array_equal(stack.pixels[plane], pixels(stack.fov, plane))
               for stack in stacks for plane in range(len(stack.planes)))  # fmt: skip
    return there


@pytest.mark.parametrize(
    ("number", "stride"), [(errno.ENOSPC, 7), pytest.param(errno.ENOSPC, 1, marks=pytest.mark.slow)]
)
def test_planes_that_were_taken_before_the_disk_was_full_are_kept(
    disk: FaultyDisk, tmp_path: Path, number: int, stride: int
) -> None:
    path = tmp_path / "b.ome.zarr"
    take(path, [])
    everything = list(itertools.product(range(STACKS), range(PLANES)))
    assert readable(path) == set(everything)
    shutil.rmtree(path)
    for step in range(0, disk.steps, stride):
        written: list[tuple[int, int]] = []
        disk.fail(step, errno.ENOSPC)
        with pytest.raises(OSError, match="No space left"):
            take(path, written)
        disk.repair()
        assert set(written) <= readable(path) <= set(everything[: len(written) + 1])
        if written:
            assert not verify(path).damaged, verify(path).damage
        shutil.rmtree(path)


def test_a_share_that_is_away_for_a_moment_costs_no_plane(disk: FaultyDisk, tmp_path: Path) -> None:
    path = tmp_path / "b.ome.zarr"
    take(path, [])
    shutil.rmtree(path)
    for step in range(0, disk.steps, 11):
        disk.fail(step, errno.EIO, times=1)
        take(path, [])
        assert disk.failed == 1
        disk.repair()
        assert len(readable(path)) == STACKS * PLANES
        assert verify(path).whole
        shutil.rmtree(path)


def test_an_older_result_outlives_a_full_disk(disk: FaultyDisk, tmp_path: Path) -> None:
    path = tmp_path / "report"
    path.mkdir()
    (path / "index.html").write_text("old", encoding="utf-8")

    def write() -> None:
        with whole_or_nothing(path, Kind.REPORT, if_exists="overwrite") as draft:
            draft.mkdir()
            (draft / "index.html").write_text("new", encoding="utf-8")

    for step in range(2):  # the page, and its folder
        disk.fail(step, errno.ENOSPC)
        with pytest.raises(OSError, match="No space left"):
            write()
        assert (path / "index.html").read_text(encoding="utf-8") == "old"
        assert [entry.name for entry in tmp_path.iterdir()] == ["report"]
    disk.repair()
    write()
    assert (path / "index.html").read_text(encoding="utf-8") == "new"
