"""The light of a run: what its camera saw, and what its rows account for, averaged over the same frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from easyzloc_mm.analysis.drift.apply import restore
from easyzloc_mm.analysis.quality.sample import origins
from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.images.movies import Movie, open_movie
from easyzloc_mm.io.runs.frames import holds_frames
from easyzloc_mm.locs.locs import Locs
from easyzloc_mm.locs.table import believable
from easyzloc_mm.rendering.raster.splat import splat
from easyzloc_mm.typing import F32, I64, Progress

FRAMES = 2000
"""Frames that are averaged at most, evenly over the run."""
PARTS = 10
"""Successive parts of the run that are averaged by themselves."""
LEAST_FRAMES = 5 * PARTS
WIDTHS_PX = (0.5, 6.0)
"""Spots' widths are kept within."""
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
    shape = (PARTS, *movie.shape[1:])
    table = locs.table[np.isin(locs.table["frame"], chosen)]
    part_of_frame = dict(zip(chosen.tolist(), (np.arange(len(chosen)) * PARTS // len(chosen)).tolist(), strict=True))
    seen = np.zeros(shape, np.float64)
    for done, number in enumerate(chosen.tolist()):
        seen[part_of_frame[number]] += movie.read(number, number + 1)[0]
        if done % 50 == 0:
            progress("images", done / len(chosen))
    frames_of_part = np.bincount(list(part_of_frame.values()), minlength=PARTS)[:, None, None]
    seen /= frames_of_part
    seen = (seen - response.baseline_adu) * response.electrons_per_adu
    noise = (response.excess_noise * np.maximum(seen.mean(axis=0), 0) + response.read_noise_e**2) / len(chosen)
    part = table["frame"].map(part_of_frame).to_numpy()
    width = np.clip(np.sqrt(table["sx"].to_numpy() * table["sy"].to_numpy()), *WIDTHS_PX)

    def drawn(rows: pd.DataFrame, at: I64) -> F32:
        images = np.zeros(shape, np.float32)
        for number in range(PARTS):
            _draw(images[number], rows[at == number], locs.metadata.origin_px)
        return (images / frames_of_part).astype(np.float32)

    kept = believable(table)
    return Light(
        seen.astype(np.float32),
        drawn(kept, part[table.index.isin(kept.index)]),
        drawn(table, part),
        noise.astype(np.float32),
        len(chosen),
        float(np.median(width)) if len(width) else 1.0,
        locs.pixel_size_nm,
        locs.metadata.origin_px,
    )


def _draw(image: F32, rows: pd.DataFrame, origin_px: tuple[int, int]) -> None:
    """Add the photons of rows to an image, each as wide as its spot."""
    u, v = (
        (rows[axis].to_numpy(np.float64) - first + 0.5).astype(np.float32)
        for axis, first in zip("xy", origin_px, strict=True)
    )
    su, sv = (np.clip(rows[name].to_numpy(np.float32), *WIDTHS_PX) for name in ("sx", "sy"))
    photons = np.maximum(rows["photons"].to_numpy(np.float32), 0)
    splat(image[None], u, v, su, sv, np.arange(len(rows)), photons[:, None])
