"""From recorded frames to a run: from a movie, or for a table that another program made."""

from __future__ import annotations

import functools
from pathlib import Path

from easyzloc_mm.api.imaging.options import camera_for, settings_for
from easyzloc_mm.api.model import Model, as_model
from easyzloc_mm.api.run import Run
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.typing import IfExists, IfExistsResume, Progress


def localize(
    movie: str | Path,
    model: Model | str | Path,
    out: str | Path,
    *,
    pixel_size_nm: float | None = None,
    baseline_adu: float | None = None,
    electrons_per_adu: float | None = None,
    excess_noise: float | None = None,
    origin_px: tuple[int, int] = (0, 0),
    camera_map: str | Path | None = None,
    detection: str | None = None,
    false_alarms_per_frame: float = 0.05,
    min_snr: float | None = None,
    passes: int | None = None,
    box_px: int = 7,
    min_net_gradient: float | None = None,
    fit: str = "lq",
    background_frames: int | None = None,
    refine: bool = True,
    focal_shift_factor: float | None = None,
    focal_surface: str | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    follow_s: float | None = None,
    partial: bool = False,
    profile: Profile | str | None = None,
    refresh: bool = False,
    refresh_minutes: float = 1.0,
    if_exists: IfExistsResume = "error",
    progress: Progress | None = None,
) -> Run:
    """Localise a recorded movie in 3D: the live pipeline on a file.

    Parameters
    ----------
    movie : path
        TIFF, OME-TIFF, NDTiff, OME-Zarr, Picasso .raw, or a ``RUN.zarr`` with raw frames.
    model : Model or path
    out : path
        ``RUN.zarr``.
    pixel_size_nm : float, optional
        Where the movie does not say.
    baseline_adu, electrons_per_adu, excess_noise : float, optional
        Camera response, in place of the run's or the model's; `excess_noise` is 2 with EM gain, 1 without.
    origin_px : (int, int)
        Sensor column and row of the movie's first pixel.
    camera_map : path, optional
        Response of each pixel, as `camera-calibrate` writes it.
    detection : {'psf', 'picasso'}, optional
        How spots are found and fitted in x, y: by the PSF that the beads measured, at every depth, or by Picasso's
        identification and Gaussian fit, made for spots in focus. Without it 'psf', where the model has a PSF and
        `min_net_gradient` is not given.
    false_alarms_per_frame : float
        Of 'psf': how many molecules noise alone may feign in a frame, on average.
    min_snr : float, optional
        Of 'psf': the threshold itself, a ratio of signal to noise, in place of the false alarms.
    passes : int, optional
        Of 'psf': how often molecules are looked for in what the fits before leave; 6 without it, for dense frames.
    box_px : int
        Odd side of the box of Picasso's detection and Gaussian fit, pixels.
    min_net_gradient : float, optional
        Of 'picasso': the threshold; found from the frames without it.
    fit : {'lq', 'mle'}
        Of 'picasso': least squares, or maximum likelihood.
    background_frames : int, optional
        Detect on frames less their running median over so many frames.
    refine : bool
        Continue from the network's z to the maximum of the likelihood; without it, twice as fast.
    focal_shift_factor : float, optional
        Depth of the focus in the sample per travel of the stage, by which z is multiplied; the run's, or 1.
    focal_surface : {'curvature', 'tilt', 'none'}, optional
        What of the beads' focal surface is taken out of z ('tilt': both); the run's choice, or 'curvature'.
    workers : int, optional
        Processes; one per core without it.
    scheduler : str, optional
        Address of a dask.distributed scheduler whose workers localise instead.
    follow_s : float, optional
        The movie is still being written: done when it has not grown for so many seconds.
    partial : bool
        Localise what is there of a movie in several files of which some are missing; the rest counts as lost.
    profile : Profile or str, optional
        The microscope: the run states it, and its molecules are held against the beads' PSF (`refresh`). Where that is
        not theirs, a warning says so, the run keeps by how much, and its uncertainties are widened to what they are.
    refresh : bool
        Where the beads' PSF is not that of the molecules, make a model for the sample of them (``RUN.model``) and
        localise again with it; the run by the beads' model is kept as ``RUN.unrefreshed.zarr``. Needs `profile`, unless
        the movie is a run that states it.
    refresh_minutes : float
        Training of that model.
    if_exists : {'error', 'overwrite', 'resume'}
        'resume' continues a run that was cut off, with the settings that it was begun with.
    progress : callable, optional
        Given (message, fraction).

    Raises
    ------
    InputError
        The movie cannot be read, its pixel size is not that of the model, or `out` belongs to other settings.
    LocalizerError
        Localisation failed; what was localised is kept.

    References
    ----------
    .. [1] Boland et al., "Model-free machine learning-based 3D single molecule localisation microscopy", Journal of
       Microscopy (2025), doi:10.1111/jmi.13420.

    Examples
    --------
    >>> run = ez.localize("movie.tif", "model", "from_file.zarr", pixel_size_nm=110, workers=1)
    >>> run.complete
    True
    """
    from easyzloc_mm.localization.offline.movie import localize_movie
    from easyzloc_mm.localization.sample.check import note_sample

    if min(origin_px) < 0:
        raise InputError(f"`origin_px` {origin_px}: columns and rows of a sensor count from 0")
    if scheduler is not None and workers is not None:
        raise InputError("`workers` and `scheduler` exclude each other: a scheduler has its own workers")
    movie = Path(movie)
    settings = settings_for(
        movie,
        detection=detection,
        false_alarms_per_frame=false_alarms_per_frame,
        min_snr=min_snr,
        passes=passes,
        box_px=box_px,
        min_net_gradient=min_net_gradient,
        fit=fit,
        background_frames=background_frames,
        refine=refine,
        focal_shift_factor=focal_shift_factor,
        focal_surface=focal_surface,
    )
    card = as_model(model).card
    response, pixels = camera_for(movie, card, camera_map, baseline_adu, electrons_per_adu, excess_noise)
    instrument = load_profile(profile) if isinstance(profile, str) else profile

    localized = functools.partial(
        localize_movie,
        movie,
        response=response,
        pixel_size_nm=pixel_size_nm,
        settings=settings,
        origin_px=origin_px,
        camera_map=pixels,
        workers=workers,
        scheduler=scheduler,
        follow_s=follow_s,
        partial=partial,
        if_exists=if_exists,
        progress=progress,
    )
    place = Path(out)
    if refresh:
        from easyzloc_mm.localization.sample.twice import localize_refreshed

        report = localize_refreshed(
            localized,
            card,
            place,
            movie=movie,
            profile=instrument,
            minutes=refresh_minutes,
            if_exists=if_exists,
            progress=progress,
        )
        return Run(place, report)
    report = localized(card, place)
    if instrument is not None:
        note_sample(place, card, movie, instrument)
    return Run(place, report)


def assign_z(
    table: str | Path,
    movie: str | Path,
    model: Model | str | Path,
    out: str | Path,
    *,
    pixel_size_nm: float | None = None,
    baseline_adu: float | None = None,
    electrons_per_adu: float | None = None,
    excess_noise: float | None = None,
    origin_px: tuple[int, int] = (0, 0),
    camera_map: str | Path | None = None,
    focal_shift_factor: float | None = None,
    focal_surface: str | None = None,
    partial: bool = False,
    if_exists: IfExists = "error",
    progress: Progress | None = None,
) -> Run:
    """Give z to the molecules of a 2D table that another program made; its rows stay in their order.

    Parameters
    ----------
    table : path
        Picasso .hdf5 or ThunderSTORM .csv.
    movie : path
        The movie that it was made from.
    model, out, pixel_size_nm, ..., partial
        As for `localize`.
    if_exists : {'error', 'overwrite'}
        What becomes of a run that is there already.
    progress : callable, optional
        Given (message, fraction).

    Raises
    ------
    InputError
        The table or the movie cannot be read, or they do not belong together.

    Examples
    --------
    >>> run = ez.assign_z("table.hdf5", "movie.tif", "model", "with_z.zarr", pixel_size_nm=110)
    >>> run.locs().is_3d
    True
    """
    from easyzloc_mm.localization.offline.assign_z import assign_z as run

    movie = Path(movie)
    card = as_model(model).card
    response, pixels = camera_for(movie, card, camera_map, baseline_adu, electrons_per_adu, excess_noise)
    report = run(
        Path(table),
        movie,
        card,
        Path(out),
        response=response,
        pixel_size_nm=pixel_size_nm,
        origin_px=origin_px,
        camera_map=pixels,
        settings=settings_for(movie, focal_shift_factor=focal_shift_factor, focal_surface=focal_surface),
        partial=partial,
        if_exists=if_exists,
        progress=progress,
    )
    return Run(Path(out), report)
