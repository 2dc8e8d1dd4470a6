"""The one way from raw pixels around (x, y) to photons."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.camera.response import CameraResponse, PixelResponse
from easyzloc_mm.numerics.kernel import kernel

Floats = NDArray[np.float32]
Bool = NDArray[np.bool_]


ROI_PX, LARGEST_ROI_PX = 15, 31
"""Edge of the crop that the network sees (paper, section 2), and of the largest for PSFs that need more."""
UNSEEN_NOISE_E = 100.0
"""Read noise of pixels beyond the frame, where the nearest one is repeated: it counts next to nothing."""


def crop_photons(
    frames_adu: NDArray[np.uint16],
    frame: NDArray[np.integer],
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    response: CameraResponse | PixelResponse,
    size: int,
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
    response : CameraResponse or PixelResponse
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
        _crop(
            frames_adu, *places, np.atleast_2d(response.baseline_adu), np.atleast_2d(response.electrons_per_adu), crops
        )
    return crops


def crops_and_noise(
    frames_adu: NDArray[np.uint16],
    frame: NDArray[np.integer],
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    response: CameraResponse | PixelResponse,
    size: int,
) -> tuple[Floats, float | Floats]:
    """Return what `crop_photons` cuts, and its read noise: that of the camera, or, where pixels differ, of each."""
    crops = crop_photons(frames_adu, frame, x, y, response, size)
    return crops, crop_noise(frames_adu.shape[1:], x, y, response, size)


def crop_noise(
    shape_yx: tuple[int, ...],
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    response: CameraResponse | PixelResponse,
    size: int,
) -> float | Floats:
    """Return the read noise of crops, as `crops_and_noise` does, without cutting them."""
    outside = beyond_frame(x, y, shape_yx, size)
    if isinstance(response, PixelResponse):
        noise_e = np.sqrt(crop_variance(x, y, response, size))
    elif outside.any():
        noise_e = np.full(outside.shape, response.read_noise_e, np.float32)
    else:
        return response.read_noise_e
    noise_e[outside] = UNSEEN_NOISE_E
    return noise_e


def crop_variance(x: NDArray[np.floating], y: NDArray[np.floating], response: PixelResponse, size: int) -> Floats:
    """Variance of the read noise, photo-electrons squared, in the pixels that `crop_photons` cuts."""
    noise = response.read_noise_e[None]
    square = CameraResponse(baseline_adu=0.0, electrons_per_adu=1.0, read_noise_e=0.0)
    return crop_photons(noise, np.zeros(len(x), np.int64), x, y, square, size) ** 2  # type: ignore[arg-type]


def beyond_frame(x: NDArray[np.floating], y: NDArray[np.floating], shape_yx: tuple[int, ...], size: int) -> Bool:
    """Return which pixels of the crops around positions lie beyond the frame, shape (n, size, size)."""
    away = np.arange(size) - size // 2
    column, row = (np.rint(at).astype(np.int64)[:, None] + away for at in (x, y))
    outside = ((row < 0) | (row >= shape_yx[0]))[:, :, None] | ((column < 0) | (column >= shape_yx[1]))[:, None, :]
    return np.asarray(outside)


@kernel()
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


@kernel()
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
