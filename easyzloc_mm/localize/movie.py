"""The live pipeline on a recorded movie."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from easyzloc_mm.errors import InputError
from easyzloc_mm.localize.pipeline import Localizer, LocalizeReport, run_attributes
from easyzloc_mm.localize.threshold import FRAMES, automatic_threshold
from easyzloc_mm.network import ModelBundle
from easyzloc_mm.network.bundle import PIXEL_SIZE_TOLERANCE
from easyzloc_mm.profile import CameraUnits, LocalizeSettings
from easyzloc_mm.store.localizations import LocalizationWriter
from easyzloc_mm.store.movies import Movie, open_movie
from easyzloc_mm.store.output import whole_or_nothing

Progress = Callable[[str, float], None]

BLOCK_FRAMES = 32


def localize_movie(
    movie: Path,
    bundle: ModelBundle,
    out: Path,
    *,
    units: CameraUnits,
    pixel_size_nm: float | None = None,
    settings: LocalizeSettings | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> LocalizeReport:
    """Localise a movie in 3D into ``RUN.zarr``, which appears when it is whole.

    Parameters
    ----------
    movie : Path
        Any format of `store.movies.open_movie`; its pixels are those of the calibrated field.
    bundle : ModelBundle
    units : CameraUnits
        Of the camera that recorded it.
    pixel_size_nm : float, optional
        Where the movie does not say; it wins over what the movie says.

    Raises
    ------
    InputError
        The movie cannot be read, or its pixel size is not that of the model.
    """
    settings = settings or LocalizeSettings()
    opened = open_movie(movie)
    pixel = pixel_size_nm or opened.pixel_size_nm or bundle.pixel_size_nm
    if abs(pixel - bundle.pixel_size_nm) > PIXEL_SIZE_TOLERANCE * bundle.pixel_size_nm:
        raise InputError(
            f"movie {movie} has {pixel:g} nm per pixel, but model {bundle.path} was trained at "
            f"{bundle.pixel_size_nm:g}: use a model of the same microscope, or correct --pixel-size-nm"
        )
    with whole_or_nothing(out, overwrite=overwrite) as draft:
        begin = time.monotonic()
        threshold = settings.min_net_gradient or _threshold(opened, settings.box_px)
        localizer = Localizer(bundle, units, settings.box_px, threshold)
        attributes = run_attributes(bundle, units, settings, opened.shape[1:], pixel, {"movie": Path(movie).name})
        rejected = 0
        with LocalizationWriter(draft, attributes) as table:
            for rows, failed, done in _blocks(opened, localizer):
                table.append(rows)
                rejected += failed
                if progress:
                    progress(f"{done} frames, {table.rows} localisations", done / opened.shape[0])
            table.update_attributes(
                complete=True,
                frames=opened.shape[0],
                frames_localized=opened.shape[0],
                frames_lost=opened.frames_missing,
                min_net_gradient=threshold,
                fits_rejected=rejected,
            )
        count = table.rows
        spent = time.monotonic() - begin
    return LocalizeReport(
        frames=opened.shape[0],
        frames_lost=opened.frames_missing,
        frames_per_s=opened.shape[0] / max(spent, 1e-9),
        localizations=count,
        fits_rejected=rejected,
        p95_latency_s=0.0,
        min_net_gradient=threshold,
    )


def _threshold(movie: Movie, box: int) -> float:
    """From frames spread over the whole movie: its beginning is often brighter than the rest."""
    chosen = np.unique(np.linspace(0, movie.shape[0] - 1, FRAMES).astype(int))
    return automatic_threshold(np.concatenate([movie.read(int(i), int(i) + 1) for i in chosen]), box)


def _blocks(movie: Movie, localizer: Localizer):  # type: ignore[no-untyped-def]  # generator of (rows, rejected, done)
    """Localise block by block on all cores; results come in order, and few blocks are in memory."""
    workers = os.cpu_count() or 1
    pending: deque[tuple[int, Future[tuple[pd.DataFrame, int]]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, movie.shape[0], BLOCK_FRAMES):
            frames = movie.read(start, start + BLOCK_FRAMES)
            numbers = np.arange(start, start + len(frames))
            pending.append((start + len(frames), pool.submit(localizer.localize, frames, numbers)))
            if len(pending) > workers:
                done, future = pending.popleft()
                yield *future.result(), done
        while pending:
            done, future = pending.popleft()
            yield *future.result(), done
