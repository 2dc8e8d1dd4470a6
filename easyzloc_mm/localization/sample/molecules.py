"""Bright molecules by themselves, cut out of a run's raw frames: what a sample's PSF can be judged by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from easyzloc_mm.camera.crops import crop_photons
from easyzloc_mm.camera.response import CameraResponse, PixelResponse
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.camera_map import read_camera_map
from easyzloc_mm.io.images.movies import Movie, open_movie
from easyzloc_mm.io.runs.frames import holds_frames
from easyzloc_mm.io.runs.localizations import read_localizations
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.localization.provenance import map_of_run
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.model.uncertainty import MixtureCalibration
from easyzloc_mm.psf.pupil.score import Molecules
from easyzloc_mm.typing import F32, F64, I64, Bool

APART_PX = 7.0
"""From the edge of a crop to the next localisation of the frame: little of its light reaches the crop."""
LEAST_MOLECULES = 300
PER_PLACE = 5
"""Molecules of one camera pixel, at most: a bead among the molecules is one of them, not thousands."""
FRAMES_AT_ONCE = 64
COLUMNS = ("frame", "x", "y", "photons", "z", "z_flag")


def sample_molecules(run: Path, card: ModelCard, movie: Path | None, most: int) -> Molecules:
    """Return the brightest unflagged molecules of a run that are by themselves, cut out of its frames.

    Parameters
    ----------
    run : Path
        ``RUN.zarr``.
    card : ModelCard
        The model that it was localised with.
    movie : Path, optional
        Where its frames are, if not in the run.
    most : int
        Molecules, at most.

    Raises
    ------
    InputError
        The run's rows or frames are not those that the camera gave, or too few molecules can be used.
    """
    table, metadata = read_localizations(run, columns=COLUMNS)
    _check(run, table, metadata)
    frames = _frames(run, movie)
    left, top = metadata.origin_px
    chosen = table[_usable(table, (left, top), frames.shape[1:], card.roi_px)]
    chosen = chosen.sort_values("photons", ascending=False, kind="stable")
    pixel = [np.rint(chosen[axis]).astype(int) for axis in ("x", "y")]
    chosen = chosen[chosen.groupby(pixel).cumcount() < PER_PLACE].iloc[:most]
    if len(chosen) < LEAST_MOLECULES:
        raise InputError(
            f"{run} has {len(chosen)} unflagged molecules by themselves, {LEAST_MOLECULES} are needed to judge the "
            "PSF: give a longer run, or one of a sparser sample"
        )
    chosen = chosen.sort_values("frame", kind="stable")
    response = _response(run, card, metadata, frames)
    x, y = chosen["x"].to_numpy(float), chosen["y"].to_numpy(float)
    number = chosen["frame"].to_numpy(np.int64)
    calibration = card.uncertainty
    assert isinstance(calibration, MixtureCalibration), "checked by the caller: the model has a PSF"
    return Molecules(
        crops=_crops(frames, number, x - left, y - top, response, card.roi_px),
        x=x,
        y=y,
        z_nm=(chosen["z"].to_numpy(float) - metadata.surface_nm(x, y)) / metadata.focal_shift_factor,
        prior=calibration.emitters.prior(x, y),
        read_noise_e=float(np.median(response.read_noise_e)),
    )


def _check(run: Path, table: pd.DataFrame, metadata: RunMetadata) -> None:
    if "z" not in table:
        raise InputError(f"{run} has no z: give a run that live, localize or scan wrote")
    done = metadata.corrected_by
    if done is not None:
        raise InputError(f"rows of {run} are {done} and no longer lie where their images do: give the run before that")


def _frames(run: Path, movie: Path | None) -> Movie:
    if movie is None and not holds_frames(run):
        raise InputError(f"{run} keeps no raw frames: give the movie that it was localised from as `movie`")
    return open_movie(run if movie is None else movie, partial=True)


def _response(run: Path, card: ModelCard, metadata: RunMetadata, frames: Movie) -> CameraResponse | PixelResponse:
    """Units in effective photons, by the noise that the run's own images had."""
    path, response = map_of_run(run, metadata), metadata.camera_response or card.response
    noise_ratio = 1.0 if metadata.noise is None else metadata.noise.applied
    if path is not None:
        part = read_camera_map(path).part(metadata.origin_px, (frames.shape[1], frames.shape[2]))
        return part.effective(response.excess_noise * noise_ratio)
    return response.effective(noise_ratio)


def _usable(table: pd.DataFrame, origin_px: tuple[int, int], shape_yx: tuple[int, ...], roi_px: int) -> Bool:
    """Which are unflagged, by themselves, and whole on the camera."""
    isolated_px = roi_px // 2 + APART_PX
    x, y, frame = (table[name].to_numpy(float) for name in ("x", "y", "frame"))
    # Frames lie farther apart than any two of the same place.
    apart = np.stack([x, y + 2 * (shape_yx[0] + isolated_px) * (frame - frame.min(initial=0))], axis=1)
    nearest = np.full(len(x), np.inf)
    if len(x) > 1:
        nearest = cKDTree(apart).query(apart, k=2)[0][:, 1]
    left, top = origin_px
    half = roi_px // 2
    column, row = np.rint(x - left), np.rint(y - top)
    whole = (column >= half) & (row >= half) & (column < shape_yx[1] - half) & (row < shape_yx[0] - half)
    return np.asarray((table["z_flag"].to_numpy() == 0) & (nearest > isolated_px) & whole)


def _crops(frames: Movie, number: I64, x: F64, y: F64, response: CameraResponse | PixelResponse, roi_px: int) -> F32:
    """Crops, a few frames at a time."""
    wanted, index = np.unique(number, return_inverse=True)
    parts = []
    for first in range(0, len(wanted), FRAMES_AT_ONCE):
        some = wanted[first : first + FRAMES_AT_ONCE]
        images = np.concatenate([frames.read(int(frame), int(frame) + 1) for frame in some])
        rows = (index >= first) & (index < first + len(some))
        parts.append(crop_photons(images, index[rows] - first, x[rows], y[rows], response, roi_px))
    return np.concatenate(parts)
