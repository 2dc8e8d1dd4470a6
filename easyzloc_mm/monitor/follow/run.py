"""Follow a run that is being written: its localisations as pictures and curves, kept up to date row by row."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import pandas as pd

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.runs.frames import StoredFrames
from easyzloc_mm.io.runs.localizations import GROUP, read_localizations, read_metadata
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.io.runs.status import FILE as STATUS_FILE
from easyzloc_mm.io.runs.status import RunStatus, read_status
from easyzloc_mm.locs.table import in_nm
from easyzloc_mm.rendering.raster.canvas import VIEW_AXES, Canvas, Extent
from easyzloc_mm.typing import F32, F64, U16

MOST_ROWS = 5_000_000
"""Older localisations stay in the overview but are not drawn when it is enlarged."""
OVERVIEW_PX = 640
"""Somewhat more than the page has room for."""
BLOCK_FRAMES = 50
"""The curves have a point for so many frames."""
Z_BIN_NM = 20.0
COLOR_PART = 0.99
COLOR_SLACK_NM = 60.0
"""Share of the emitters whose depths the colours span, and how far that span may move before it is set again."""
FRAME_PX, SECTION_PX = 480, 600
SILENT_S = 60.0
"""A run that is not over and has said nothing for so long was cut off; a live one reports twice a second."""
SECTION_ROWS = 200_000
"""The newest so many localisations make the view from the side: it is drawn anew each time."""


class Phase(StrEnum):
    """How far a run is; the value is what a person reads."""

    WAITING = "waiting for the first localisations"
    IMAGING = "imaging"
    LOCALIZING = "localising what came"
    CUT_OFF = "cut off before its end"
    OVER = "finished"

    @property
    def at_work(self) -> bool:
        """Whether the run is being written."""
        return self in (Phase.IMAGING, Phase.LOCALIZING)


@dataclass(frozen=True)
class Curves:
    """Means over blocks of `BLOCK_FRAMES` frames.

    Attributes
    ----------
    frame : ndarray, shape (n,)
        Middle of the block.
    spots : ndarray, shape (n,)
        Localisations per frame.
    z_nm : ndarray, shape (n,)
        Mean z of the localisations to believe, against that of the first block.
    photons : ndarray, shape (n,)
        Mean photons.
    lpz_nm : ndarray, shape (n,)
        Mean uncertainty of z of the localisations to believe.
    """

    frame: F64
    spots: F64
    z_nm: F64
    photons: F64
    lpz_nm: F64


@dataclass(frozen=True)
class ShownFrame:
    """A raw frame, made smaller, with its spots.

    Attributes
    ----------
    number : int
    image : ndarray
        0 to 1.
    size_px : (float, float)
        Width and height of the whole frame.
    x, y : ndarray
        Spots that were found in it, pixels of the frame.
    """

    number: int
    image: F64
    size_px: tuple[float, float]
    x: F64
    y: F64


class Follower:
    """A run as far as it has been written.

    Parameters
    ----------
    run : Path
        ``RUN.zarr``; it may appear later.
    """

    def __init__(self, run: Path) -> None:
        self.run = Path(run)
        self.metadata: RunMetadata | None = None
        self.rows = 0
        self.z_range_nm = (-1000.0, 1000.0)
        self._near: list[pd.DataFrame] = []
        self._overview: Canvas | None = None
        self._view: Canvas | None = None
        self._blocks = np.zeros((0, 5))
        self._newest = pd.DataFrame()
        self._edges = self._histogram = np.zeros(0)

    @property
    def started(self) -> bool:
        """Whether there are localisations to draw."""
        return self._overview is not None

    def poll(self) -> bool:
        """Read what has been written since the last time; True if there was something new."""
        try:
            rows, metadata = read_localizations(self.run, first_row=self.rows)
        except InputError:  # not begun
            return False
        self.metadata = metadata
        if not len(rows) or "z" not in rows:
            return False
        if not self.started:
            self._begin()
        self.rows += len(rows)
        self._newest = rows[rows["frame"] == rows["frame"].max()]
        self._count(rows)
        cloud = in_nm(rows, self.pixel_size_nm)
        self._near.append(cloud)
        while sum(map(len, self._near)) - len(self._near[0]) > MOST_ROWS:
            self._near.pop(0)
        wanted = self._occupied()
        if max(abs(wanted[0] - self.z_range_nm[0]), abs(wanted[1] - self.z_range_nm[1])) > COLOR_SLACK_NM:
            self.z_range_nm = wanted
            self._overview = self._drawn(self.field_nm)
            self._view = self._drawn(self._view.extent_nm) if self._view is not None else None
            return True
        for canvas in (self._overview, self._view):
            if canvas is not None:
                canvas.add(cloud)
        return True

    @property
    def pixel_size_nm(self) -> float:
        """Camera pixel; 0 before there is a run."""
        return self.metadata.pixel_size_nm if self.metadata is not None else 0.0

    @property
    def field_nm(self) -> Extent:
        """Left, right, top and bottom of the camera's field."""
        if self.metadata is None:
            return 0.0, 0.0, 0.0, 0.0
        width, height = self.metadata.width_px, self.metadata.height_px
        pixel = self.pixel_size_nm
        return -0.5 * pixel, (width - 0.5) * pixel, -0.5 * pixel, (height - 0.5) * pixel

    def _begin(self) -> None:
        if self.metadata is not None and self.metadata.z_range_nm is not None:
            self.z_range_nm = self.metadata.z_range_nm
        low, high = self.z_range_nm
        self._edges = np.arange(low, high + Z_BIN_NM, Z_BIN_NM)
        self._histogram = np.zeros(len(self._edges) - 1)
        self._overview = self._drawn(self.field_nm)

    def _occupied(self) -> tuple[float, float]:
        """Depths between which nearly all molecules lie."""
        share = np.cumsum(self._histogram) / max(self._histogram.sum(), 1.0)
        low = int(np.searchsorted(share, (1 - COLOR_PART) / 2))
        high = int(np.searchsorted(share, (1 + COLOR_PART) / 2))
        return float(self._edges[low]), float(self._edges[min(high + 1, len(self._edges) - 1)])

    def _drawn(self, extent: Extent) -> Canvas:
        left, right, top, bottom = extent
        canvas = Canvas(VIEW_AXES["xy"], extent, max(right - left, bottom - top) / OVERVIEW_PX, self.z_range_nm)
        for cloud in self._near:
            canvas.add(cloud)
        return canvas

    def look_at(self, extent: Extent | None) -> None:
        """Draw another part of the field from now on; None for all of it."""
        self._view = None
        if extent is not None and self.started:
            self._view = self._drawn(extent)

    def picture(self, brightness: float = 1.0) -> tuple[F32, Extent]:
        """RGB, 0 to 1, shape (rows, columns, 3), of the part that is looked at, and which part that is (nm)."""
        canvas = self._view or self._overview
        if canvas is None:
            raise RuntimeError("the run has no localisations yet: look at `started` first")
        return canvas.picture(full=canvas.full_brightness() / brightness), canvas.extent_nm

    def section(self, brightness: float = 1.0) -> tuple[F32, Extent]:
        """Return the part that is looked at from the side, as `picture`: x to the right, -z down, nm."""
        _, (left, right, top, bottom) = self.picture()
        low, high = self.z_range_nm
        pixel = max(right - left, high - low) / SECTION_PX
        canvas = Canvas(VIEW_AXES["xz"], (left, right, -high, -low), pixel, self.z_range_nm)
        rows = 0
        for cloud in reversed(self._near):
            if rows > SECTION_ROWS:
                break
            seen = cloud[cloud["x_nm"].between(left, right) & cloud["y_nm"].between(top, bottom)]
            canvas.add(seen)
            rows += len(seen)
        return canvas.picture(full=canvas.full_brightness() / brightness), canvas.extent_nm

    def last_frame(self) -> ShownFrame | None:
        """Return the newest raw frame that is localised, with its spots; None where none are kept."""
        try:
            frames = StoredFrames(self.run)
        except InputError:
            return None
        if not frames.shape[0]:
            return None
        number = frames.shape[0] - 1
        if len(self._newest):
            number = min(number, int(self._newest["frame"].iloc[0]))
        whole = frames.read(number, number + 1)[0]
        image, size = shown_image(whole)
        spots = self._newest[self._newest["frame"] == number] if len(self._newest) else self._newest
        origin = self.metadata.origin_px if self.metadata is not None else (0, 0)
        x, y = (
            spots[axis].to_numpy(float) - begin if len(spots) else np.zeros(0)
            for axis, begin in zip("xy", origin, strict=True)
        )
        return ShownFrame(number, image, size, x, y)

    def _count(self, rows: pd.DataFrame) -> None:
        block = rows["frame"].to_numpy(np.int64) // BLOCK_FRAMES
        missing = max(int(block.max()) + 1 - len(self._blocks), 0)
        self._blocks = np.pad(self._blocks, ((0, missing), (0, 0)))
        trusted = (rows["z_flag"] == 0).to_numpy()
        z = rows["z"].to_numpy(float)
        lpz = rows["lpz"].to_numpy(float)
        sums = (np.ones(len(rows)), rows["photons"].to_numpy(float), trusted, trusted * z, trusted * lpz)
        for column, values in enumerate(sums):
            self._blocks[:, column] += np.bincount(block, values, len(self._blocks))
        self._histogram += np.histogram(z[trusted], self._edges)[0]

    def curves(self) -> Curves:
        """Means over the run so far."""
        filled = self._blocks[:, 2] > 0
        filled[-1:] = False  # not all of its frames have come
        spots, photons, trusted, z, lpz = self._blocks[filled].T
        mean = z / trusted
        return Curves(
            frame=np.asarray((np.flatnonzero(filled) + 0.5) * BLOCK_FRAMES, np.float64),
            spots=spots / BLOCK_FRAMES,
            z_nm=mean - mean[:1],
            photons=photons / spots,
            lpz_nm=lpz / trusted,
        )

    def depths(self) -> tuple[F64, F64]:
        """Edges (nm) and counts of the histogram of z."""
        return self._edges, self._histogram

    def status(self) -> RunStatus | None:
        """Last state that the live loop reported; None for a run that was not live."""
        return read_status(self.run)

    def phase(self) -> Phase:
        """Return how far the run is."""
        metadata = self.metadata
        if metadata is None:  # before the first `poll` too: a run that is over is not one that was cut off
            with suppress(InputError):
                metadata = read_metadata(self.run)
        return phase_of(self.run, metadata)


def phase_of(run: Path, metadata: RunMetadata | None) -> Phase:
    """Return how far a run is, by what stands in its store.

    Parameters
    ----------
    run : Path
    metadata : RunMetadata or None
        None before there is any.
    """
    if metadata is not None and metadata.complete is not False:
        return Phase.OVER
    words = [path.stat().st_mtime for path in (run / STATUS_FILE, run / GROUP / "zarr.json") if path.exists()]
    if not words:
        return Phase.WAITING
    if time.time() - max(words) > SILENT_S:
        return Phase.CUT_OFF
    status = read_status(run)
    return Phase.IMAGING if status is not None and status.camera_running else Phase.LOCALIZING


def shown_image(pixels: U16) -> tuple[F64, tuple[float, float]]:
    """Return a camera image small enough for a page, 0 to 1, and the whole one's width and height, px."""
    image = pixels.astype(float)
    step = -(-max(image.shape) // FRAME_PX)
    rows, columns = (length // step * step for length in image.shape)
    # The brightest pixel of a block: a mean would hide single molecules.
    image = image[:rows, :columns].reshape(rows // step, step, columns // step, step).max(axis=(1, 3))
    dark, bright = np.percentile(image, [5, 99.8])
    return np.clip((image - dark) / max(bright - dark, 1.0), 0, 1), (float(pixels.shape[1]), float(pixels.shape[0]))
