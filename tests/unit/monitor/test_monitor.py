"""The page of a run that is being written: what it shows is what the table holds."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from easyzloc_mm.io.runs.frames import FrameWriter
from easyzloc_mm.io.runs.localizations import LocalizationWriter
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.io.runs.status import RunStatus, read_status, write_status
from easyzloc_mm.monitor.follow import BLOCK_FRAMES, Follower
from easyzloc_mm.monitor.heading import heading
from easyzloc_mm.monitor.page import make_page
from easyzloc_mm.monitor.serve import STOP_LINE, stop_button
from tests.helpers.patience import PATIENCE_S, wait_until

PIXEL_SIZE_NM = 100.0
FACTS = RunMetadata.model_validate(
    {
        "pixel_size_nm": PIXEL_SIZE_NM,
        "width_px": 64,
        "height_px": 48,
        "z_range_nm": [-1000.0, 1000.0],
        "complete": False,
    }
)


def molecules(frames: range, *, z_nm: float = 100.0, per_frame: int = 20, seed: int = 0) -> pd.DataFrame:
    """Molecules at x = 16 px, y = 12 px, and one in ten that must not be believed far away from there."""
    random = np.random.default_rng(seed)
    count = per_frame * len(frames)
    flag = (np.arange(count) % 10 == 0).astype(np.uint8)
    table = {
        "frame": np.repeat(np.array(frames, np.uint32), per_frame),
        "x": np.where(flag, 50.0, 16.0) + 0.1 * random.standard_normal(count),
        "y": np.where(flag, 40.0, 12.0) + 0.1 * random.standard_normal(count),
        "z": np.where(flag, -900.0, z_nm) + 10 * random.standard_normal(count),
        "lpz": np.full(count, 20.0),
        "z_flag": flag,
        "photons": np.full(count, 1500.0),
    }
    for name in ("lpx", "lpy"):
        table[name] = np.full(count, 0.1)
    for name in ("sx", "sy", "bg", "ellipticity", "net_gradient"):
        table[name] = np.ones(count)
    return pd.DataFrame(table)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[LocalizationWriter]:
    with LocalizationWriter.create(tmp_path / "run.zarr", FACTS) as made:
        yield made


def test_nothing_is_shown_before_the_run_begins(tmp_path: Path) -> None:
    follower = Follower(tmp_path / "later.zarr")
    assert not follower.poll()
    assert not follower.started
    assert follower.status() is None


def test_the_picture_grows_with_the_table(writer: LocalizationWriter) -> None:
    follower = Follower(writer.path)
    writer.append(molecules(range(100)))
    assert not follower.poll()  # nothing is committed yet
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


def test_only_who_has_the_token_can_stop_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    def tab(**given: list[bytes]) -> Any:
        return SimpleNamespace(session_context=SimpleNamespace(request=SimpleNamespace(arguments=given)))

    nobody: Any = SimpleNamespace(session_context=None)
    for stranger in (tab(), tab(token=[b"guess"]), tab(token=[b"\xff"]), nobody):
        assert stop_button(stranger, "secret") is None
        assert stop_button(stranger, "") is None
    assert stop_button(tab(token=[b""]), "") is None
    stop = stop_button(tab(token=[b"secret"]), "secret")
    assert stop is not None
    stop()
    assert capsys.readouterr().out == f"{STOP_LINE}\n"


def test_a_run_is_stopped_by_two_presses_of_the_button(writer: LocalizationWriter) -> None:
    from bokeh.document import Document
    from bokeh.events import ButtonClick
    from bokeh.models.widgets import Button

    stopped: list[bool] = []
    document = Document()
    make_page(document, Follower(writer.path), lambda: stopped.append(True))
    button: Any
    (button,) = document.select({"type": Button})
    for presses in (0, 1):
        assert len(stopped) == presses - bool(presses)
        button._trigger_event(ButtonClick(button))
    assert stopped == [True]
    watched = Document()
    make_page(watched, Follower(writer.path))
    assert not list(watched.select({"type": Button}))


def test_alarms_stand_first_and_say_what_to_do(writer: LocalizationWriter) -> None:
    write_status(writer.path, RunStatus(frames=5, frames_expected=65, frames_per_s=2.0, camera_running=True,
                                        alarms=("too dim", "<b>")))  # fmt: skip
    text = heading(Follower(writer.path))
    assert text.index("more excitation light") < text.index("imaging")
    assert "&lt;b&gt;" in text
    assert "0:30" in text


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


def test_the_page_is_served_and_follows_the_run(writer: LocalizationWriter) -> None:
    from bokeh.client import pull_session

    writer.append(molecules(range(100)))
    writer.flush()
    with subprocess.Popen(
        [sys.executable, "-m", "easyzloc_mm", "monitor", str(writer.path), "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as page:  # fmt: skip
        try:
            assert page.stdout is not None
            address = page.stdout.readline().split()[-1]
            with urllib.request.urlopen(address, timeout=PATIENCE_S) as answer:
                text = answer.read().decode()
            assert "run.zarr - easyZloc" in text
            tab = pull_session(url=address)
            pictures = [data["image"][0] for data in sources(tab) if len(data.get("image", ()))]
            assert len(pictures) == 2  # from above and from the side
            image = max(pictures, key=np.size)
            assert image.ndim == 2
            assert len(np.unique(image)) > 10
            assert depths(tab) == 1800
            writer.append(molecules(range(100, 200)))
            writer.flush()
            wait_until(
                lambda: depths(pull_session(session_id=tab.id, url=address)) == 3600,
                "the page follows the run", pause_s=0.5,
            )  # fmt: skip
        finally:
            page.terminate()
        _, said = page.communicate(timeout=PATIENCE_S)
    # It ends as `live --monitor` ends it: that is no interruption of anything.
    assert page.returncode == 0
    assert "interrupted" not in said


def sources(tab: Any) -> list[dict[str, Any]]:
    """The data that the page of a browser tab holds."""
    from bokeh.models import ColumnDataSource

    return [source.data for source in tab.document.select({"type": ColumnDataSource})]


def depths(tab: Any) -> int:
    (counts,) = (data["top"] for data in sources(tab) if "top" in data)
    return int(np.sum(counts))
