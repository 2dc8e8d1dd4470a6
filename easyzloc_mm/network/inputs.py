"""The one way from raw pixels around (x, y) to network input. Training, evaluation, live and offline all come here."""

from __future__ import annotations

from enum import StrEnum

import numba
import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.profile import CameraUnits
from easyzloc_mm.store.camera_map import PixelUnits

Floats = NDArray[np.float32]

ROI_PX = 15
"""Edge of the crop that the network sees (paper, section 2)."""
AUX_COLUMNS = ("field_u", "field_v", "log_photons", "log_background", "sub_pixel_x", "sub_pixel_y")
PHOTON_SCALE = 1000.0
BACKGROUND_SCALE = 50.0
MIN_PHOTONS, MAX_PHOTONS = 50.0, 20000.0
"""Brighter spots look to the network like the brightest it was trained on: it never has to extrapolate."""
MIN_BACKGROUND = 0.5
PAPER_FULL_SCALE_ADU = 65535.0


class Normalisation(StrEnum):
    """How a crop becomes an input."""

    SPOT = "spot"
    """Variance-stabilised, zero mean and unit variance per crop: brightness enters through its logarithm alone."""
    PAPER = "paper"
    """ADU over 65535, position over sensor size (the published scripts)."""


def crop_photons(
    frames_adu: NDArray[np.uint16],
    frame: NDArray[np.integer],
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    units: CameraUnits | PixelUnits,
    size: int = ROI_PX,
) -> Floats:
    """Cut crops around positions and convert them to photons.

    Parameters
    ----------
    frames_adu : ndarray, shape (T, Y, X), uint16
        Raw frames.
    frame : ndarray, shape (n,)
        Index into `frames_adu`.
    x, y : ndarray, shape (n,)
        Positions in pixels of these frames; the crop's middle pixel is the nearest one.
    units : CameraUnits or PixelUnits
        ``photons = (ADU - baseline_adu) * electrons_per_adu``, for all pixels or for each pixel of these frames.
    size : int
        Odd edge of the crop. Where it leaves the frame, the nearest pixel is repeated.

    Returns
    -------
    ndarray, shape (n, size, size), float32
    """
    crops = np.empty((len(x), size, size), np.float32)
    if len(x):
        places = np.ascontiguousarray(frame, np.int64), np.rint(x).astype(np.int64), np.rint(y).astype(np.int64)
        _crop(frames_adu, *places, np.atleast_2d(units.baseline_adu), np.atleast_2d(units.electrons_per_adu), crops)
    return crops


def crop_variance(x: NDArray[np.floating], y: NDArray[np.floating], units: PixelUnits, size: int) -> Floats:
    """Variance of the read noise, photo-electrons squared, in the pixels that `crop_photons` cuts."""
    noise = units.read_noise_e[None]
    square = CameraUnits(baseline_adu=0.0, electrons_per_adu=1.0, read_noise_e=0.0)
    return crop_photons(noise, np.zeros(len(x), np.int64), x, y, square, size) ** 2  # type: ignore[arg-type]


@numba.njit(nogil=True, cache=True)
def _crop(frames, frame, columns, rows, baseline, gain, crops):  # type: ignore[no-untyped-def]
    size = crops.shape[1]
    half = size // 2
    height, width = frames.shape[1], frames.shape[2]
    for i in range(len(frame)):
        image = frames[frame[i]]
        for a in range(size):
            row = min(max(rows[i] + a - half, 0), height - 1)
            for b in range(size):
                column = min(max(columns[i] + b - half, 0), width - 1)
                # One value for all pixels, or one for each.
                known = min(row, baseline.shape[0] - 1), min(column, baseline.shape[1] - 1)
                crops[i, a, b] = (float(image[row, column]) - baseline[known]) * gain[known]


def network_input(
    crops: Floats,
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    field_size_px: tuple[int, int],
    *,
    normalisation: Normalisation = Normalisation.SPOT,
    units: CameraUnits | None = None,
    field_known: bool = True,
) -> tuple[Floats, Floats]:
    """Normalise crops for the network. Every crop is treated alone: neighbours in the batch do not matter.

    Parameters
    ----------
    crops : ndarray, shape (n, 15, 15), float32
        Photons.
    x, y : ndarray, shape (n,)
        Sensor position, pixels; the crop's middle is the nearest pixel.
    field_size_px : (int, int)
        Width and height of the calibrated field.
    normalisation : Normalisation
        `SPOT` for the ``matched`` recipe, `PAPER` for ``paper``.
    units : CameraUnits
        Needed by `PAPER`, which works on ADU.
    field_known : bool
        If not, every place in the field is treated alike.

    Returns
    -------
    image : ndarray, shape (n, 15, 15, 1), float32
    aux : ndarray, shape (n, 6) for `SPOT` (`AUX_COLUMNS`), (n, 2) for `PAPER`
    """
    width, height = field_size_px
    if normalisation is Normalisation.PAPER:
        if units is None:
            raise ValueError("the paper's normalisation works on ADU and needs the camera units")
        adu = crops / np.float32(units.electrons_per_adu) + np.float32(units.baseline_adu)
        position = np.full((len(crops), 2), 0.5, np.float32)
        if field_known:
            position[:, 0], position[:, 1] = np.asarray(x) / width, np.asarray(y) / height
        return (adu / np.float32(PAPER_FULL_SCALE_ADU))[..., None].astype(np.float32), position
    image = np.empty(crops.shape, np.float32)
    aux = np.empty((len(crops), len(AUX_COLUMNS)), np.float32)
    for column, at, size in ((0, np.asarray(x), width), (1, np.asarray(y), height)):
        aux[:, column] = 2 * at / max(size - 1, 1) - 1 if field_known else 0.0
        aux[:, column + 4] = at - np.rint(at)
    if len(crops):
        _normalise(np.ascontiguousarray(crops, np.float32), image, aux)
    return image[..., None], aux


@numba.njit(nogil=True, cache=True)
def sorted_border(crop, border):  # type: ignore[no-untyped-def]
    """Fill `border`, 4 * (size - 1) long, with the outermost pixels of a square crop, the darkest first."""
    size = crop.shape[0]
    n = 0
    for a in range(size):
        for b in range(size):
            if a == 0 or b == 0 or a == size - 1 or b == size - 1:
                border[n] = crop[a, b]
                n += 1
    border.sort()


@numba.njit(nogil=True, cache=True)
def _normalise(crops, image, aux):  # type: ignore[no-untyped-def]
    size = crops.shape[1]
    border = np.empty(4 * (size - 1), np.float32)
    for i in range(len(crops)):
        sorted_border(crops[i], border)
        middle = len(border) // 2
        background = max(0.5 * (border[middle - 1] + border[middle]), MIN_BACKGROUND)
        total = 0.0
        mean = 0.0
        square = 0.0
        for a in range(size):
            for b in range(size):
                total += crops[i, a, b]
                # Anscombe: shot noise becomes the same at every brightness.
                root = np.sqrt(max(crops[i, a, b], 0.0) + 0.375)
                image[i, a, b] = root
                mean += root
                square += root * root
        count = size * size
        mean /= count
        spread = np.sqrt(max(square / count - mean * mean, 1e-12))
        for a in range(size):
            for b in range(size):
                image[i, a, b] = (image[i, a, b] - mean) / spread
        photons = min(max(total - count * background, MIN_PHOTONS), MAX_PHOTONS)
        aux[i, 2] = np.log(photons / PHOTON_SCALE)
        aux[i, 3] = np.log(background / BACKGROUND_SCALE)
