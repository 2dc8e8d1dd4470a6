"""The live pipeline on a recorded movie, or on one that another program is still writing."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from easyzloc_mm._log import FILE as LOG
from easyzloc_mm._log import run_log
from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.camera_map import read_camera_map
from easyzloc_mm.io.images.movies import Movie, open_movie
from easyzloc_mm.io.runs.frames import holds_frames
from easyzloc_mm.io.runs.localizations import (
    COLUMNS_2D,
    COLUMNS_Z,
    LocalizationWriter,
    holds_localizations,
    read_metadata,
)
from easyzloc_mm.io.sources.images import check_pixel_nm
from easyzloc_mm.io.writing.kinds import Kind
from easyzloc_mm.io.writing.output import check_output, remove, replaced_stream
from easyzloc_mm.localization.config import LocalizerConfig, offline_workers, resolved
from easyzloc_mm.localization.noise import warn_of_noise
from easyzloc_mm.localization.offline.counts import warn_of_counts
from easyzloc_mm.localization.offline.movie_job import LOOK_AGAIN_S, MovieJob
from easyzloc_mm.localization.pipeline import run_metadata
from easyzloc_mm.localization.provenance import map_of_run
from easyzloc_mm.localization.run_report import RunReport
from easyzloc_mm.localization.workers.local import Workers
from easyzloc_mm.localization.workers.messages import inputs_at_fault
from easyzloc_mm.localization.workers.protocol import WorkerPool
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.profile.detection import Detection, LocalizeSettings
from easyzloc_mm.typing import IfExistsResume, Progress

logger = logging.getLogger(__name__)


def localize_movie(
    movie: Path,
    card: ModelCard,
    out: Path,
    *,
    response: CameraResponse,
    pixel_size_nm: float | None = None,
    settings: LocalizeSettings | None = None,
    origin_px: tuple[int, int] = (0, 0),
    camera_map: Path | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    running: WorkerPool | None = None,
    follow_s: float | None = None,
    partial: bool = False,
    if_exists: IfExistsResume = "error",
    progress: Progress | None = None,
) -> RunReport:
    """Localise a movie in 3D into ``RUN.zarr``.

    The run grows in place and can be resumed after whatever cut it off; until it is whole its attribute
    ``complete`` is false.

    Parameters
    ----------
    movie : Path
        Any format of `store.movies.open_movie`.
    card : ModelCard
    response : CameraResponse
        Of the camera that recorded it.
    pixel_size_nm : float, optional
        Overrides the movie's metadata, which may lack it.
    origin_px : tuple of int
        Sensor column and row of the movie's first pixel.
    camera_map : Path, optional
        Units of each pixel of the sensor, as `camera-calibrate` writes them.
    workers : int, optional
        Processes; one per core without it.
    scheduler : str, optional
        Address of a dask.distributed scheduler, whose workers localise instead.
    running : WorkerPool, optional
        Workers that serve other runs, too: where they localise as this run needs it they do, and are left running.
    follow_s : float, optional
        The movie is still being written: wait for more until it has not grown for so long.
    partial : bool
        Localise what is there of a movie in several files of which some are missing.
    if_exists : {'error', 'overwrite', 'resume'}
        'resume' continues `out` where it was cut off, with the response and settings that it was begun with. `out` may
        be the very run that `movie` is: a live run that was killed.

    Raises
    ------
    InputError
        The movie cannot be read, its pixel size is not that of the model, the camera map does not cover it, or `out`
        belongs to other settings.
    LocalizerError
        Localisation failed; what was localised is kept.
    """
    movie, out = Path(movie), Path(out)
    resume = if_exists == "resume"
    begun = out if resume and holds_localizations(out) else None
    if if_exists == "error" and holds_localizations(out):
        raise InputError(
            f"{out} already exists: `if_exists='resume'` continues it; or choose another `out`, "
            "or `if_exists='overwrite'`"
        )
    inputs = [movie, card.path, *([camera_map] if camera_map else [])]
    check_output(out, Kind.RUN, if_exists=if_exists, inputs=inputs)
    if resume and begun is None and out.exists() and not holds_frames(out):
        raise InputError(f"{out} is no run that could be resumed: leave out `if_exists='resume'`")
    opened = _open(movie, follow_s, partial)
    pixel = pixel_size(opened, movie, card, pixel_size_nm)
    how = LocalizerConfig(card.path, response, resolved(settings or LocalizeSettings(), card), origin_px, camera_map)
    if begun is not None:
        how = _as_begun(begun, movie, card, camera_map)
    check_map(how, opened)
    _check_size(opened, movie, card)
    metadata = run_metadata(card, how, opened.shape[1:], pixel, movie=movie.name)
    options = {"out": out, "if_exists": if_exists, "workers": workers, "scheduler": scheduler, "follow_s": follow_s}
    with (
        run_log("localisation of a movie", {"movie": movie, "options": options, "run": metadata.stored()}) as log,
        inputs_at_fault(),
        _pool(how, workers, scheduler, running) as pool,
    ):
        pool.start()  # before an older run is cleared away
        with replaced_stream(out, Kind.RUN, if_exists=if_exists, inputs=inputs, acquires=False) as place:
            sync = how.localize.sync
            table = (
                LocalizationWriter.create(place, metadata, columns=(*COLUMNS_2D, *COLUMNS_Z), sync=sync)
                if begun is None
                else LocalizationWriter.resume(begun, sync=sync)
            )
            log.write_to(place / LOG)
            job = MovieJob(movie, opened, table, pool, follow_s, progress)
            try:
                report = job.go()
            except InputError:  # of the movie, before its first frame: the name is as free as it was
                if begun is None and not table.rows and not holds_frames(place):
                    remove(place)
                raise
        job.warn()
        warn_of_counts(report, movie, how, metadata)
        warn_of_noise(job.noise, how.response, f"in the images of {movie}")
        report = report.judged(out)
        logger.debug("localised: %s", report.model_dump_json(exclude_none=True))
    return report


@contextmanager
def _pool(
    how: LocalizerConfig, workers: int | None, scheduler: str | None, running: WorkerPool | None
) -> Iterator[WorkerPool]:
    if running is not None and running.settings == how:
        try:
            yield running
        finally:
            running.drop()
        return
    if scheduler is None:
        pool: WorkerPool = Workers(how, workers or offline_workers())
    else:
        from easyzloc_mm.localization.workers.dask import ClusterWorkers

        pool = ClusterWorkers(how, scheduler)
    with closing(pool):
        yield pool


def _as_begun(out: Path, movie: Path, card: ModelCard, camera_map: Path | None) -> LocalizerConfig:
    """Return the settings that a run was begun with, to resume it."""
    metadata = read_metadata(out)
    if metadata.model is None or metadata.camera_response is None or metadata.localize is None:
        raise InputError(f"{out} was not localised from a movie: leave out `if_exists='resume'`")
    for name, old, new in (
        ("model", metadata.model.digest, card.digest),
        ("movie", metadata.movie or out.name, movie.name),
    ):
        if old != new:
            raise InputError(
                f"{out} was begun with another {name} ({old}): give that one, or leave out `if_exists='resume'`"
            )
    return LocalizerConfig(
        card.path,
        metadata.camera_response,
        # Before there was a choice, spots were found by Picasso's identification.
        metadata.localize.model_copy(update={"detection": metadata.localize.detection or Detection.PICASSO}),
        metadata.origin_px,
        map_of_run(out, metadata, camera_map),
    )


def check_map(settings: LocalizerConfig, opened: Movie) -> None:
    """Raise `InputError` if there is a camera map and it does not cover the movie's frames."""
    if settings.camera_map is not None:
        read_camera_map(settings.camera_map).part(settings.origin_px, opened.shape[1:])


def _check_size(opened: Movie, movie: Path, card: ModelCard) -> None:
    rows, columns = opened.shape[1:]
    if min(rows, columns) < card.roi_px:
        raise InputError(
            f"the frames of movie {movie} are {columns} x {rows} pixels, less than the image of one molecule "
            f"({card.roi_px} x {card.roi_px}): give a movie of larger frames"
        )


def pixel_size(opened: Movie, movie: Path, card: ModelCard, given_nm: float | None) -> float:
    """Return the pixel size of a movie, nm: as given, from its metadata, or that of the model.

    Raises
    ------
    InputError
        It is not that of the model.
    """
    if given_nm is not None:
        check_pixel_nm(given_nm, "`pixel_size_nm`")
    elif opened.pixel_size_nm is not None:
        check_pixel_nm(opened.pixel_size_nm, f"movie {movie}")
    for unread in opened.sampling.unread if given_nm is None else ():
        warnings.warn(
            f"movie {movie} states {unread}: check that it is {card.pixel_size_nm:g} nm, as the model's, or give "
            "`pixel_size_nm`",
            EasyZlocWarning,
            stacklevel=3,
        )
    pixel = given_nm or opened.pixel_size_nm or card.pixel_size_nm
    if not card.has_pixel_size(pixel):
        raise InputError(
            f"movie {movie} has {pixel:g} nm per pixel, but model {card.path} was trained at "
            f"{card.pixel_size_nm:g}: use a model of the same microscope, or correct `pixel_size_nm`"
        )
    return pixel


def _open(movie: Path, follow_s: float | None, partial: bool) -> Movie:
    """Open a movie; one that is being written may take a moment to have a first frame, and is not whole yet."""
    deadline = time.monotonic() + (follow_s or 0.0)
    while True:
        try:
            return open_movie(movie, partial=partial, quiet=True)
        except InputError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(LOOK_AGAIN_S)
