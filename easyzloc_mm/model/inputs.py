"""From crops in photons to network input: the one function that training, evaluation, live and offline runs call.

References
----------
Anscombe 1948, The transformation of Poisson, binomial and negative-binomial data, Biometrika 35,
doi 10.1093/biomet/35.3-4.246.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from easyzloc_mm.camera.crops import sorted_border
from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.numerics.field_polynomial import field_coordinates
from easyzloc_mm.numerics.kernel import kernel
from easyzloc_mm.typing import F32, AnyFloat

AUX_COLUMNS = ("field_u", "field_v", "log_photons", "log_background", "sub_pixel_x", "sub_pixel_y")
PHOTON_SCALE = 1000.0
BACKGROUND_SCALE = 50.0
MIN_PHOTONS, MAX_PHOTONS = 50.0, 20000.0
"""Brighter spots look to the network like the brightest it was trained on: it never has to extrapolate."""
MIN_BACKGROUND = 0.5
PAPER_FULL_SCALE_ADU = 65535.0


class Normalisation(StrEnum):
    """How a crop becomes network input."""

    SPOT = "spot"
    """Variance-stabilised (Anscombe), zero mean and unit variance per crop: brightness enters as a logarithm alone."""
    PAPER = "paper"
    """ADU over 65535, position over sensor size (the published scripts)."""


def network_input(
    crops: F32,
    x: AnyFloat,
    y: AnyFloat,
    field_size_px: tuple[int, int],
    *,
    normalisation: Normalisation = Normalisation.SPOT,
    response: CameraResponse | None = None,
    field_known: bool = True,
) -> tuple[F32, F32]:
    """Return network input of crops. Every crop is normalised alone: others in the batch do not matter.

    Parameters
    ----------
    crops : ndarray, shape (n, size, size), float32
        Effective photons (`CameraResponse.effective`).
    x, y : ndarray, shape (n,)
        Sensor position, pixels; the crop's centre is the nearest pixel.
    field_size_px : (int, int)
        Width and height of the calibrated field.
    normalisation : Normalisation
        `SPOT` for the ``matched`` recipe, `PAPER` for ``paper``.
    response : CameraResponse
        Needed by `PAPER`, which works on ADU.
    field_known : bool
        If not, every place in the field is treated alike.

    Returns
    -------
    image : ndarray, shape (n, size, size, 1), float32
    aux : ndarray, shape (n, 6) for `SPOT` (`AUX_COLUMNS`), (n, 2) for `PAPER`
    """
    width, height = field_size_px
    if normalisation is Normalisation.PAPER:
        if response is None:
            raise ValueError("the paper's normalisation works on ADU and needs the camera response")
        camera = response.effective()
        adu = crops / np.float32(camera.electrons_per_adu) + np.float32(camera.baseline_adu)
        position = np.full((len(crops), 2), 0.5, np.float32)
        if field_known:
            position[:, 0], position[:, 1] = np.asarray(x) / width, np.asarray(y) / height
        return (adu / np.float32(PAPER_FULL_SCALE_ADU))[..., None].astype(np.float32), position
    image = np.empty(crops.shape, np.float32)
    aux = np.empty((len(crops), len(AUX_COLUMNS)), np.float32)
    aux[:, :2] = field_coordinates(np.asarray(x), np.asarray(y), field_size_px) if field_known else 0.0
    for column, at in enumerate((np.asarray(x), np.asarray(y))):
        aux[:, column + 4] = at - np.rint(at)
    if len(crops):
        _normalise(np.ascontiguousarray(crops, np.float32), image, aux)
    return image[..., None], aux


@kernel()
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
                # Anscombe transform: shot noise becomes the same at every brightness.
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
