"""`camera-calibrate`: photon transfer on series from files, or taken on the microscope."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

from easyzloc_mm.camera.photon_transfer import CameraMap, Series, collect, photon_transfer
from easyzloc_mm.camera.response import NO_EXCESS
from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.camera_database import MeasuredCamera, remember_camera
from easyzloc_mm.io.images.movies import Movie, open_movie
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.typing import U16, Progress

FRAMES = 200
EXPOSURE_PARTS = (0.25, 0.5, 1.0)
"""Of the longest exposure: levels of light."""
BLOCK = 32


def calibrate_from_files(
    dark: Path, flats: Sequence[Path], *, excess_noise: float = NO_EXCESS, partial: bool = False
) -> CameraMap:
    """Photon transfer on movies of the dark and of steady light (any movie format).

    `excess_noise` is 2 with EM gain, 1 without. Images that are missing or black are counted and left out; `partial`
    reads what is there of a movie in several files of which some are missing.
    """
    return photon_transfer(
        _series(dark, partial), [_series(flat, partial) for flat in flats], excess_noise=excess_noise
    )


def _series(path: Path, partial: bool) -> Series:
    movie = open_movie(Path(path), partial=partial)
    series = collect(_frames(movie))
    black = series.lost - len(movie.missing)
    if black > 0 and series.frames:
        warnings.warn(
            f"{path}: {black} of {movie.shape[0]} images are black or damaged: they count as missing",
            EasyZlocWarning,
            stacklevel=3,
        )
    series.lost += movie.lost_after
    return series


def _frames(movie: Movie) -> Iterator[U16]:
    for start in range(0, movie.shape[0], BLOCK):
        yield from movie.read(start, min(start + BLOCK, movie.shape[0]))


class OnMicroscope(NamedTuple):
    """A camera that was measured on the microscope, and which it is; empty where its adapter does not tell."""

    camera: CameraMap
    serial: str
    readout_mode: str


def enter_camera(camera: CameraMap, serial: str, readout_mode: str, pixels: Path) -> MeasuredCamera:
    """Enter a measurement into the user's data base of cameras, in place of an earlier one of the same mode.

    Parameters
    ----------
    camera : CameraMap
    serial : str
        The camera's number, or a name that stands for it.
    readout_mode : str
    pixels : Path
        Where its map was written.
    """
    entry = MeasuredCamera(
        serial=serial,
        readout_mode=readout_mode,
        response=camera.response,
        measured=date.today(),
        dark_frames=camera.dark_frames,
        flat_frames=camera.flat_frames,
        linearity=camera.linearity if math.isfinite(camera.linearity) else None,
        map=str(pixels.absolute()),
    )
    remember_camera(entry)
    return entry


def calibrate_on_microscope(
    profile: Profile,
    *,
    dark_preset: str,
    light_preset: str,
    exposure_ms: float,
    frames: int = FRAMES,
    excess_noise: float | None = None,
    progress: Progress | None = None,
) -> OnMicroscope:
    """Take a dark series and series at several exposures, and measure.

    Parameters
    ----------
    profile : Profile
        With an illumination group.
    dark_preset, light_preset : str
        Presets under which no light, and steady light, reaches the camera.
    exposure_ms : float
        Longest exposure.
    frames : int
        Of each series.
    excess_noise : float, optional
        2 with EM gain, 1 without; the profile's if not given.
    """
    from easyzloc_mm.microscope.connect import connect

    if dark_preset == light_preset:
        raise InputError("`dark_preset` and `light_preset` are the same: name one without light and one with")
    excess = profile.camera.excess_noise if excess_noise is None else excess_noise
    plan = [(dark_preset, exposure_ms), *((light_preset, part * exposure_ms) for part in EXPOSURE_PARTS)]
    taken: list[Series] = []
    with connect(profile) as microscope:
        facts = microscope.describe()
        for number, (preset, exposure) in enumerate(plan):
            microscope.set_illumination(preset)
            microscope.set_exposure(exposure)
            series = Series()
            for frame in microscope.stream(frames):
                series.add(frame.pixels)
                if progress:
                    done = (number + series.frames / frames) / len(plan)
                    progress(f"camera: {preset}, {exposure:g} ms, frame {series.frames} of {frames}", done)
            taken.append(series)
    return OnMicroscope(
        photon_transfer(taken[0], taken[1:], excess_noise=excess),
        str(facts.get("camera_serial", "")),
        str(facts.get("camera_readout_mode", "")),
    )
