"""The light of a run: what its camera saw, and what its rows account for, averaged over the same frames.

Each row is drawn as the mean image of the run's own spots of its depth and part of the field: neither a model of the
PSF nor the gain of the camera comes between the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from easyzloc_mm.analysis.drift.apply import restore
from easyzloc_mm.analysis.quality.sample import origins
from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.images.movies import Movie, open_movie
from easyzloc_mm.io.runs.frames import holds_frames
from easyzloc_mm.locs.locs import Locs
from easyzloc_mm.locs.table import believable
from easyzloc_mm.typing import F32, F64, I64, Bool, Progress

FRAMES = 2000
"""Frames that are averaged at most, evenly over the run."""
PARTS = 10
"""Successive parts of the run that are averaged by themselves."""
LEAST_FRAMES = 5 * PARTS
WIDTHS_PX = (0.5, 6.0)
"""A typical spot's width is kept within."""
REACH_PX = 10
"""From the middle of a spot to the edge of its mean image."""
SPOT = np.arange(2 * REACH_PX + 1)
DEPTHS, CELLS, ENOUGH = 6, 6, 100
"""Kinds of spots by depth and along each side of the field at most, and how many of a kind are averaged at least."""
BATCH = 4000
NEEDED = ("photons", "sx", "sy")


@dataclass(frozen=True)
class Light:
    """Mean images of the parts of a run.

    Attributes
    ----------
    seen : ndarray of float32, shape (PARTS, height, width)
        What the camera saw, photons per pixel and frame above its baseline.
    localized, localized_flagged_too : ndarray of float32, shape (PARTS, height, width)
        What the rows without a flag, and all rows, of the same frames account for, photons.
    noise : ndarray of float32, shape (height, width)
        Variance of the mean of `seen` by photons and read noise.
    frames : int
        Frames that were averaged.
    width_px : float
        Standard deviation of a typical spot.
    pixel_size_nm : float
    origin_px : tuple of int
        Sensor column and row of the first pixel.
    """

    seen: F32
    localized: F32
    localized_flagged_too: F32
    noise: F32
    frames: int
    width_px: float
    pixel_size_nm: float
    origin_px: tuple[int, int]


def light_of(locs: Locs, movie: Path | None, progress: Progress) -> Light | str:
    """Average the images of a run, and the light of its rows.

    Parameters
    ----------
    locs : Locs
    movie : Path, optional
        Its images; without it they are looked for in the run, in the run that it was corrected from, and beside both.
    progress : callable
        Given (message, fraction).

    Returns
    -------
    Light or str
        Or why they cannot be averaged.

    Raises
    ------
    InputError
        `movie` cannot be read, or its images are not those of the run.
    """
    if locs.metadata.linked is not None:
        return "rows were linked: report the run before"
    if missing := [name for name in NEEDED if name not in locs.table]:
        return f"the table has no {' and no '.join(missing)}"
    if locs.drift is None and locs.metadata.drift_corrected:
        return "drift was taken out, and the table does not hold it: report the RUN.zarr that `undrift` wrote"
    if (response := locs.metadata.camera_response) is None:
        return "the table does not say what the camera's counts mean (baseline, electrons per count)"
    raw = restore(locs) if locs.drift is not None else locs
    found = _images(raw if movie is not None else locs, movie)
    if isinstance(found, str):
        return found
    chosen = _chosen(raw.table["frame"].to_numpy(np.int64), found)
    if len(chosen) < LEAST_FRAMES:
        return f"there are images of {len(chosen)} frames with localisations: {LEAST_FRAMES} are needed"
    return _averaged(raw, found, chosen, response, progress)


def _images(locs: Locs, movie: Path | None) -> Movie | str:
    if movie is not None:
        opened = open_movie(movie, quiet=True)
        if fault := _another(locs, opened):
            raise InputError(f"movie {movie} is not that of {locs.name}: {fault}")
        return opened
    runs = origins(locs)
    beside = [run.parent / locs.metadata.movie for run in runs] if locs.metadata.movie else []
    places = [*(run for run in runs if holds_frames(run)), *(path for path in beside if path.exists())]
    if not places:
        return "its raw images are not beside it: name them as `movie`"
    try:
        opened = open_movie(places[0], quiet=True)
    except InputError as error:
        return str(error)
    fault = _another(locs, opened)
    return f"{places[0]} is not its movie: {fault}" if fault else opened


def _another(locs: Locs, movie: Movie) -> str | None:
    """Return why a movie cannot be that of a table; None where it can."""
    (left, top), (_, height, width) = locs.metadata.origin_px, movie.shape
    reach = (locs.metadata.height_px - top, locs.metadata.width_px - left)
    if (height, width) != reach:
        return f"its images have {width} x {height} px, the table's {reach[1]} x {reach[0]}"
    last = int(locs.table["frame"].max())
    return f"it has {movie.shape[0]} frames, and the table goes to frame {last}" if last >= movie.shape[0] else None


def _chosen(frame: I64, movie: Movie) -> I64:
    """Frames to be averaged: where rows begin to where they end, evenly, none that was lost."""
    there = np.arange(frame.min(), min(frame.max() + 1, movie.shape[0]))
    there = there[~np.isin(there, np.fromiter(movie.missing, np.int64, len(movie.missing)))]
    return there[np.unique(np.linspace(0, len(there) - 1, min(FRAMES, len(there))).astype(np.int64))]


def _averaged(locs: Locs, movie: Movie, chosen: I64, response: CameraResponse, progress: Progress) -> Light:
    rows = _Rows.of(locs, movie.shape[1:], chosen)
    seen = np.zeros((PARTS, *movie.shape[1:]), np.float32)
    spots = _Spots(rows)
    for done, number in enumerate(chosen.tolist()):
        image = (movie.read(number, number + 1)[0] - response.baseline_adu) * response.electrons_per_adu
        seen[done * PARTS // len(chosen)] += image
        spots.add(done, image)
        if done % 50 == 0:
            progress("images", done / len(chosen))
    frames = np.bincount(np.arange(len(chosen)) * PARTS // len(chosen), minlength=PARTS)[:, None, None].astype(
        np.float32
    )
    seen /= frames
    drawn = [rows.drawn(spots.mean(), which, movie.shape[1:]) / frames for which in (rows.believed, ~rows.believed)]
    noise = response.excess_noise * np.maximum(seen.mean(axis=0), 0) + response.read_noise_e**2
    return Light(
        seen,
        drawn[0],
        drawn[0] + drawn[1],
        (noise / len(chosen)).astype(np.float32),
        len(chosen),
        rows.width_px,
        locs.pixel_size_nm,
        locs.metadata.origin_px,
    )


@dataclass(frozen=True)
class _Rows:
    """Rows of the frames that are averaged, in their order: where each lies, and spots of which kind it is."""

    time: I64
    """Place of its frame among those that are averaged."""
    part: I64
    row: I64
    column: I64
    photons: F64
    kind: I64
    believed: Bool
    width_px: float

    @classmethod
    def of(cls, locs: Locs, shape_yx: tuple[int, ...], chosen: I64) -> _Rows:
        table = locs.table[np.isin(locs.table["frame"], chosen)].sort_values("frame", kind="stable", ignore_index=True)
        left, top = locs.metadata.origin_px
        place = [
            np.rint(table[axis].to_numpy(float) - first).astype(np.int64) for axis, first in (("y", top), ("x", left))
        ]
        inside = np.all([(at >= 0) & (at < size) for at, size in zip(place, shape_yx, strict=True)], axis=0)
        table, (row, column) = table[inside], (at[inside] for at in place)
        time = np.searchsorted(chosen, table["frame"].to_numpy(np.int64))
        believed = np.isin(table.index, believable(table).index)
        width = np.sqrt(table["sx"].to_numpy(float) * table["sy"].to_numpy(float))
        depth = table["z"].to_numpy(float) if "z" in table else width
        photons = np.maximum(table["photons"].to_numpy(float), 0)
        kind = _kinds(row / shape_yx[0], column / shape_yx[1], depth, believed)
        middle = float(np.clip(np.median(width), *WIDTHS_PX)) if len(width) else 1.0
        return cls(time, time * PARTS // len(chosen), row, column, photons, kind, believed, middle)

    def drawn(self, spots: F64, which: Bool, shape_yx: tuple[int, ...]) -> F32:
        """Return images of the parts of the run: the mean spot of its kind for each row, as bright as the row."""
        images = np.zeros((PARTS, *(size + 2 * REACH_PX for size in shape_yx)), np.float32)
        for some in np.array_split(np.flatnonzero(which), max(1, int(which.sum()) // BATCH)):
            down, across = self.row[some, None, None] + SPOT[:, None], self.column[some, None, None] + SPOT
            np.add.at(
                images,
                (self.part[some, None, None], down, across),
                spots[self.kind[some]] * self.photons[some, None, None],
            )
        return images[:, REACH_PX:-REACH_PX, REACH_PX:-REACH_PX]


class _Spots:
    """The mean image of one photon, for each kind of spot: the run's own PSF, wings and all."""

    def __init__(self, rows: _Rows) -> None:
        self._rows = rows
        self._sums = np.zeros((int(rows.kind.max(initial=0)) + 1, len(SPOT), len(SPOT)))
        self._photons = np.zeros(len(self._sums))

    def add(self, time: int, image: F64) -> None:
        rows = self._rows
        low, high = np.searchsorted(rows.time, [time, time + 1])
        row, column = rows.row[low:high], rows.column[low:high]
        whole = rows.believed[low:high] & (np.minimum(row, column) >= REACH_PX)
        whole &= (row < image.shape[0] - REACH_PX) & (column < image.shape[1] - REACH_PX)
        near = SPOT - REACH_PX
        crops = image[row[whole, None, None] + near[:, None], column[whole, None, None] + near]
        np.add.at(self._sums, rows.kind[low:high][whole], crops)
        np.add.at(self._photons, rows.kind[low:high][whole], rows.photons[low:high][whole])

    def mean(self) -> F64:
        """Return the spots without their surroundings, shape (kinds, pixels, pixels)."""
        spots = self._sums / np.maximum(self._photons, 1e-9)[:, None, None]
        rim = np.concatenate([spots[:, 0], spots[:, -1], spots[:, :, 0], spots[:, :, -1]], axis=1)
        return np.asarray(spots - rim.mean(axis=1)[:, None, None])


def _kinds(down: F64, across: F64, depth: F64, believed: Bool) -> I64:
    """Sort spots by place in the field and by depth, as finely as there are enough of each kind."""
    cells = max((cells for cells in range(1, CELLS + 1) if believed.sum() >= cells**2 * DEPTHS * ENOUGH), default=1)
    depths = int(np.clip(believed.sum() // (cells**2 * ENOUGH), 1, DEPTHS))
    edges = np.quantile(depth[believed], np.linspace(0, 1, depths + 1)[1:-1]) if believed.any() else np.zeros(0)
    place = (np.minimum(down * cells, cells - 1).astype(np.int64) * cells) + np.minimum(
        across * cells, cells - 1
    ).astype(np.int64)
    return np.asarray(place * depths + np.searchsorted(edges, depth))
