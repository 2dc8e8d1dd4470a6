"""The page of a run that is being written: what it shows is what the table holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from easyzloc_mm.io.runs.frames import FrameWriter
from easyzloc_mm.io.runs.localizations import LocalizationWriter
from easyzloc_mm.io.runs.status import RunStatus, read_status, write_status
from easyzloc_mm.monitor.follow.run import BLOCK_FRAMES, Follower, Phase
from easyzloc_mm.monitor.pages.heading import heading
from tests.helpers.monitored_run import PIXEL_SIZE_NM, molecules, monitored_run


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[LocalizationWriter]:
    with monitored_run(tmp_path / "run.zarr") as made:
        yield made


def test_nothing_is_shown_before_the_run_begins(tmp_path: Path) -> None:
    follower = Follower(tmp_path / "later.zarr")
    assert not follower.poll()
    assert not follower.started
    assert follower.status() is None


def test_the_picture_grows_with_the_table(writer: LocalizationWriter) -> None:
    follower = Follower(writer.path)
    assert not follower.poll()  # begun, and nothing is there yet
    writer.append(molecules(range(100)))
    writer.flush()
    assert follower.poll()
    assert not follower.poll()
    picture, (left, right, top, bottom) = follower.picture()
    assert (right - left, bottom - top) == (64 * PIXEL_SIZE_NM, 48 * PIXEL_SIZE_NM)
    row, column = np.unravel_index(np.argmax(picture.max(axis=2)), picture.shape[:2])
    assert left + (column + 0.5) / picture.shape[1] * (right - left) == pytest.approx(
        16 * PIXEL_SIZE_NM, abs=PIXEL_SIZE_NM / 2
    )
    assert top + (row + 0.5) / picture.shape[0] * (bottom - top) == pytest.approx(
        12 * PIXEL_SIZE_NM, abs=PIXEL_SIZE_NM / 2
    )
    # What must not be believed is not drawn.
    assert picture[round(40 / 48 * picture.shape[0]), round(50 / 64 * picture.shape[1])].max() == 0
    writer.append(molecules(range(100, 200), z_nm=400.0))
    writer.flush()
    assert follower.poll()
    assert follower.rows == writer.n_committed == 4000
    edges, counts = follower.depths()
    assert counts.sum() == 3600
    assert counts[(edges[:-1] >= 340) & (edges[:-1] < 460)].sum() == 1800


def test_a_nearer_look_shows_the_same_molecules(writer: LocalizationWriter) -> None:
    follower = Follower(writer.path)
    writer.append(molecules(range(50)))
    writer.flush()
    follower.poll()
    near = (1500.0, 1700.0, 1100.0, 1300.0)
    follower.look_at(near)
    picture, extent = follower.picture()
    assert extent == near
    rows, columns = np.nonzero(picture.max(axis=2) > 0.5)
    assert np.median(columns) / picture.shape[1] == pytest.approx(0.5, abs=0.05)
    assert np.median(rows) / picture.shape[0] == pytest.approx(0.5, abs=0.05)
    follower.look_at(None)
    assert follower.picture()[1] == follower.field_nm


def test_the_side_view_shows_the_depths_of_what_is_looked_at(writer: LocalizationWriter) -> None:
    follower = Follower(writer.path)
    writer.append(molecules(range(50), z_nm=300.0))
    writer.append(molecules(range(50, 100), z_nm=-100.0, seed=1))
    writer.flush()
    follower.poll()
    picture, (left, right, top, bottom) = follower.section()
    assert (left, right) == follower.field_nm[:2]
    assert (-bottom, -top) == follower.z_range_nm
    rows, columns = np.nonzero(picture.max(axis=2) > 0.5)
    assert np.median(left + columns / picture.shape[1] * (right - left)) == pytest.approx(1600, abs=100)
    depth = -(top + (rows + 0.5) / picture.shape[0] * (bottom - top))
    assert depth.max() == pytest.approx(300, abs=60)
    assert depth.min() == pytest.approx(-100, abs=60)
    assert follower.section(brightness=4.0)[0].sum() > picture.sum()


def test_the_newest_frame_has_its_own_spots(writer: LocalizationWriter) -> None:
    frames = FrameWriter(writer.path, (48, 64), pixel_size_nm=PIXEL_SIZE_NM, expected=8)
    for number in range(8):
        frames.append(number, np.full((48, 64), number + 1, np.uint16))
    frames.close()
    writer.append(molecules(range(6)))
    writer.flush()
    follower = Follower(writer.path)
    follower.poll()
    shown = follower.last_frame()
    assert shown is not None
    assert (shown.number, shown.size_px, len(shown.x)) == (5, (64.0, 48.0), 20)
    assert np.median(shown.x) == pytest.approx(16, abs=1)


def test_alarms_stand_first_and_say_what_to_do(writer: LocalizationWriter) -> None:
    write_status(writer.path, RunStatus(frames=5, frames_expected=65, frames_per_s=2.0, camera_running=True,
                                        alarms=("too dim", "<b>")))  # fmt: skip
    text = heading(Follower(writer.path))
    assert text.index("more excitation light") < text.index("imaging")
    assert "&lt;b&gt;" in text
    assert "0:30" in text
    assert "stopping" in heading(Follower(writer.path), stopping=True)


def test_light_is_shown_against_its_budget(writer: LocalizationWriter) -> None:
    write_status(writer.path, RunStatus(camera_running=True, light_ms=12_300.0, light_budget_ms=60_000.0))
    assert "12.3 of 60 s" in heading(Follower(writer.path))


def test_how_far_a_run_is_stands_in_its_store(writer: LocalizationWriter, tmp_path: Path) -> None:
    def phase() -> Phase:
        follower = Follower(writer.path)
        follower.poll()
        return follower.phase()

    assert Follower(tmp_path / "later.zarr").phase() is Phase.WAITING
    write_status(writer.path, RunStatus(camera_running=True))
    assert phase() is Phase.IMAGING
    write_status(writer.path, RunStatus(camera_running=False))
    assert phase() is Phase.LOCALIZING
    for file in (writer.path / "status.json", writer.path / "localizations" / "zarr.json"):
        os.utime(file, (0, 0))  # its writer has been silent since 1970
    assert phase() is Phase.CUT_OFF
    command = f"<code>easyzloc-mm localize {writer.path} --model MODEL --out {writer.path} --resume</code>"
    assert f"cut off before its end: {command} finishes it" in heading(Follower(writer.path))
    writer.update(complete=True)
    writer.flush()
    assert phase() is Phase.OVER
    assert Follower(writer.path).phase() is Phase.OVER  # also before anything was read of it


def test_curves_are_means_over_whole_blocks(writer: LocalizationWriter) -> None:
    follower = Follower(writer.path)
    for block, z in enumerate((100.0, 130.0, 190.0)):
        writer.append(molecules(range(BLOCK_FRAMES * block, BLOCK_FRAMES * (block + 1)), z_nm=z, seed=block))
        writer.flush()
        follower.poll()
    writer.append(molecules(range(3 * BLOCK_FRAMES, 3 * BLOCK_FRAMES + 7)))
    writer.flush()
    follower.poll()
    curves = follower.curves()
    np.testing.assert_allclose(curves.frame, (np.arange(3) + 0.5) * BLOCK_FRAMES)
    np.testing.assert_allclose(curves.spots, 20)
    # Standard error of a mean of 900 molecules that scatter by 10 nm: 0.33 nm.
    np.testing.assert_allclose(curves.z_nm, [0, 30, 90], atol=2)
    np.testing.assert_allclose(curves.lpz_nm, 20)


def test_the_state_is_replaced_as_a_whole(writer: LocalizationWriter, tmp_path: Path) -> None:
    write_status(tmp_path / "none.zarr", RunStatus(frames=1))
    assert not (tmp_path / "none.zarr").exists()
    write_status(writer.path, RunStatus(frames=1))
    write_status(writer.path, RunStatus(frames=2))
    assert read_status(writer.path) == RunStatus(frames=2)
