"""A calibration as its page sees it: planes as they come, how sharp each is, beads that were counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from easyzloc_mm.io.beads.writer import BeadStackWriter, PlaneRecord
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.monitor.follow.stacks import StacksFollower
from easyzloc_mm.typing import U16

PLANES, FOCUS = 9, 5
PROFILE = load_profile("demo").replace(beads={"fovs": 2})
BEAD_PX = (40.0, 20.0)
LOG = """# calibration
2026-11-26 09:53:32.965 INFO    [MainProcess, MainThread] easyzloc_mm._log: calibration begins
2026-11-26 09:53:33.058 DEBUG   [MainProcess, MainThread] easyzloc_mm.microscope.deadlines: reading the stages: 0.0 ms
2026-11-26 09:57:20.298 WARNING [MainProcess, MainThread] easyzloc_mm.warnings: new (FutureWarning, x.py:21)
"""


def plane(number: int) -> U16:
    y, x = np.mgrid[:48, :64].astype(float)
    width = 1.5 + 0.5 * abs(number - FOCUS)
    bead = 9000 / width**2 * np.exp(-((x - BEAD_PX[0]) ** 2 + (y - BEAD_PX[1]) ** 2) / (2 * width**2))
    noise = np.random.default_rng(number).normal(100, 2, bead.shape)
    return np.asarray(bead + noise, np.uint16)


def record(number: int) -> PlaneRecord:
    z_um = 40.0 + 0.1 * number
    return PlaneRecord(
        requested_z_um=z_um, measured_z_um=z_um, x_um=0.0, y_um=0.0, exposure_ms=30.0, illumination=None, time_s=0.0
    )


def test_planes_and_their_sharpness_are_followed(tmp_path: Path) -> None:
    stacks = tmp_path / "stacks.ome.zarr"
    follower = StacksFollower(stacks, tmp_path)
    assert not follower.poll()
    assert follower.newest() is None
    with BeadStackWriter(
        stacks, PROFILE.model_dump(mode="json"), 110.0, 100.0, (48, 64), planned_planes=PLANES
    ) as writer:
        assert not follower.poll()
        visited = [
            {"x_um": 0, "y_um": 0, "fov": None, "spots": []},
            {"x_um": 1, "y_um": 0, "fov": 0, "spots": [BEAD_PX]},
        ]
        writer.note({"start": [0, 0, 0], "visited": visited})
        writer.add_fov(0, PLANES)
        for number in range(PLANES):
            writer.write_plane(0, number, plane(number), record(number))
            assert follower.poll()
            assert not follower.poll()
            assert follower.planes == number + 1
    assert follower.planned() == (2, PLANES)
    assert follower.beads() == (1, 1)
    (curve,) = follower.curves()
    np.testing.assert_allclose(curve.z_um, 40.0 + 0.1 * np.arange(PLANES))
    assert np.argmax(curve.contrast) == FOCUS
    assert np.all(np.diff(curve.contrast[: FOCUS + 1]) > 0)
    assert np.all(np.diff(curve.contrast[FOCUS:]) < 0)
    newest = follower.newest()
    assert newest is not None
    assert (newest.number, newest.size_px) == (PLANES - 1, (64.0, 48.0))
    assert (newest.x.tolist(), newest.y.tolist()) == ([BEAD_PX[0]], [BEAD_PX[1]])
    assert follower.brightest == plane(PLANES - 1).max() / (2**PROFILE.camera.bit_depth - 1)


def test_the_log_says_what_is_at_work(tmp_path: Path) -> None:
    follower = StacksFollower(tmp_path / "stacks.ome.zarr", tmp_path)
    assert follower.log_lines() == []
    (tmp_path / "log.txt").write_text(LOG, encoding="utf-8")
    assert follower.log_lines() == ["09:53:32 calibration begins"]
