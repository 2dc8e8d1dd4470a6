"""z for a 2D table that another program made."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from easyzloc_mm._log import FILE as LOG
from easyzloc_mm._log import run_log
from easyzloc_mm.camera.blank import blank_images
from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.images.movies import Movie, open_movie
from easyzloc_mm.io.runs.localizations import COLUMNS_Z, LocalizationWriter, column_dtype
from easyzloc_mm.io.runs.metadata import NoiseCheck
from easyzloc_mm.io.tables.complete import read_2d_table
from easyzloc_mm.io.writing.kinds import Kind
from easyzloc_mm.io.writing.output import whole_or_nothing
from easyzloc_mm.localization.config import LocalizerConfig
from easyzloc_mm.localization.noise import NoiseMeter, noise_figures, warn_of_noise
from easyzloc_mm.localization.offline.movie import check_map, pixel_size
from easyzloc_mm.localization.pipeline import Localizer, run_metadata
from easyzloc_mm.localization.run_report import RunReport
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.profile.detection import LocalizeSettings
from easyzloc_mm.typing import I64, U16, IfExists, Progress

logger = logging.getLogger(__name__)

BLOCK_FRAMES = 16


def assign_z(
    table: Path,
    movie: Path,
    card: ModelCard,
    out: Path,
    *,
    response: CameraResponse,
    pixel_size_nm: float | None = None,
    origin_px: tuple[int, int] = (0, 0),
    camera_map: Path | None = None,
    settings: LocalizeSettings | None = None,
    partial: bool = False,
    if_exists: IfExists = "error",
    progress: Progress | None = None,
) -> RunReport:
    """Give every row of a 2D table its z, lpz and z_flag; rows keep their order.

    Parameters
    ----------
    table : Path
        Picasso HDF5 or ThunderSTORM CSV, positions in pixels (or nm) of the movie, not corrected for drift.
    movie : Path
        What the table was made from.
    card : ModelCard
    out : Path
        ``RUN.zarr``, which appears when it is whole.
    response : CameraResponse
    pixel_size_nm : float, optional
        Overrides the movie's metadata, which may lack it.
    origin_px : tuple of int
        Sensor column and row of the movie's first pixel.
    camera_map : Path, optional
        Units of each pixel of the sensor, as `camera-calibrate` writes them.
    settings : LocalizeSettings, optional
        Of which `refine` and `focal_shift_factor` count: spots are found and fitted.
    partial : bool
        Read what is there of a movie in several files of which some are missing.

    Raises
    ------
    InputError
        A file cannot be read, or the table does not fit the movie.
    """
    opened = open_movie(movie, partial=partial)
    pixel = pixel_size(opened, movie, card, pixel_size_nm)
    rows = read_2d_table(table, pixel)
    frames, height, width = opened.shape
    _check(rows["frame"].to_numpy() < frames, table, f"lies beyond the {frames} frames of {movie}")
    # Picasso's tables reach half a pixel beyond the last one's edge.
    inside = rows["x"].between(-1, width) & rows["y"].between(-1, height)
    _check(
        inside.to_numpy(), table, f"lies outside the {width} x {height} px of {movie}: give the table as it was before "
        "drift correction, or correct `pixel_size_nm`",
    )  # fmt: skip
    how = LocalizerConfig(card.path, response, settings or LocalizeSettings(), origin_px, camera_map)
    check_map(how, opened)
    names = {"movie": Path(movie).name, "table": Path(table).name}
    # How spots were found and fitted is the other program's knowledge.
    metadata = run_metadata(card, how, (height, width), pixel, localize=None, **names)
    begin = time.monotonic()
    with (
        run_log("z for a 2D table", {"out": out, "table": table, "movie": movie, "run": metadata.stored()}) as log,
        whole_or_nothing(out, Kind.RUN, if_exists=if_exists, inputs=[table, movie, card.path]) as draft,
    ):
        spots = _Spots(Localizer(how), rows, opened, movie)
        noise = spots.noise()
        columns = spots.columns(1.0 if noise is None else noise.applied, progress)
        worked_on = rows["frame"].nunique()
        with LocalizationWriter.create(draft, metadata) as writer:
            writer.append(rows.assign(**columns), frames_done=frames)
            writer.update(
                complete=True,
                frames=frames,
                frames_localized=worked_on,
                frames_lost=opened.frames_missing,
                noise=noise,
            )
        report = RunReport(
            out=out,
            frames=frames,
            frames_lost=opened.frames_missing,
            frames_per_s=worked_on / max(time.monotonic() - begin, 1e-9),
            localizations=len(rows),
        )
        report = report.model_copy(update=noise_figures(noise)).judged(draft)
        logger.debug("z assigned: %s", report.model_dump_json(exclude_none=True))
        log.write_to(draft / LOG)
        log.close()  # Windows renames no folder with an open file
    warn_of_noise(noise, response, f"in the images of {movie}")
    return report


class _Spots:
    """The rows of a table, and the movie that they are of."""

    def __init__(self, localizer: Localizer, rows: pd.DataFrame, opened: Movie, movie: Path) -> None:
        self._localizer, self._rows, self._opened, self._movie = localizer, rows, opened, movie
        self._order = np.argsort(rows["frame"].to_numpy(), kind="stable")
        self._frame = rows["frame"].to_numpy()[self._order]
        self._frames = np.unique(self._frame)

    def noise(self) -> NoiseCheck | None:
        """Return what frames spread over the movie say of the camera's units."""
        meter, unseen = NoiseMeter(), self._frames
        while len(unseen) and meter.check is None:
            few = np.unique(np.linspace(0, len(unseen) - 1, BLOCK_FRAMES).astype(np.int64))
            pixels, part, _ = self._block(unseen[few])
            meter.see(self._localizer.assign_z(pixels, part))
            if not meter.molecules:  # nor will others tell: there is no PSF, or next to no background
                break
            unseen = np.delete(unseen, few)
        return meter.check

    def columns(self, noise_ratio: float, progress: Progress | None) -> dict[str, NDArray[Any]]:
        """Return x, y, z, lpz and z_flag of the rows, in their order; the movie is read in the order of its frames."""
        columns = {name: np.empty(len(self._rows), column_dtype(name)) for name in ("x", "y", *COLUMNS_Z)}
        done = 0
        for i in range(0, len(self._frames), BLOCK_FRAMES):
            pixels, part, chosen = self._block(self._frames[i : i + BLOCK_FRAMES])
            self._localizer.assign_z(pixels, part, noise_ratio=noise_ratio)
            for name, values in columns.items():
                values[chosen] = part[name].to_numpy()
            done += len(chosen)
            if progress:
                progress(f"{done} of {len(self._rows)} localisations", done / max(len(self._rows), 1))
        return columns

    def _block(self, numbers: NDArray[np.integer]) -> tuple[U16, pd.DataFrame, I64]:
        """Return frames, the rows in them (`frame` counting within these), and which of all rows those are."""
        first, last = (np.searchsorted(self._frame, numbers, side) for side in ("left", "right"))
        chosen = np.concatenate([self._order[one:end] for one, end in zip(first, last, strict=True)])
        part = self._rows.iloc[chosen].reset_index(drop=True)
        part["frame"] = np.searchsorted(numbers, part["frame"].to_numpy())
        pixels = np.concatenate([self._opened.read(int(number), int(number) + 1) for number in numbers])
        if (lost := blank_images(pixels)).any():
            raise InputError(
                f"the table has rows in frame {numbers[np.argmax(lost)]} (frames count from 0), which {self._movie} "
                "lacks: give the movie that the table was made from, or remove these rows"
            )
        return pixels, part, chosen


def _check(good: Any, table: Path, what: str) -> None:
    if not good.all():
        raise InputError(f"{table} row {int(np.argmin(good)) + 1} {what}")
