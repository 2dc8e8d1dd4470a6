"""x, y, photons and widths of detected spots: Picasso's Gaussian fits, on photons."""

from __future__ import annotations

import numpy as np
import pandas as pd

from easyzloc_mm._picasso import picasso
from easyzloc_mm.camera.crops import crop_photons, crop_variance
from easyzloc_mm.camera.response import CameraResponse, PixelResponse
from easyzloc_mm.io.runs.localizations import COLUMNS_2D, column_dtype
from easyzloc_mm.localization.detection.detect import detect
from easyzloc_mm.profile.detection import Fit
from easyzloc_mm.typing import U16

MAX_PRECISION_PX = 2.0
"""Fits with a larger uncertainty of x or y are rejected, pixels."""


def detect_frames(frames: U16, min_net_gradient: float, box: int) -> pd.DataFrame:
    """Detect the spots of a block of frames.

    Parameters
    ----------
    frames : ndarray, shape (T, Y, X), uint16
        ADU.
    min_net_gradient : float
        Threshold, ADU.
    box : int
        Odd edge of the box, pixels.

    Returns
    -------
    DataFrame
        `frame` (counted within the block), `x`, `y` (pixel), `net_gradient`; rows in the order of detection.
    """
    found = [detect(frame, min_net_gradient, box) for frame in frames]
    return pd.DataFrame(
        {
            "frame": np.repeat(np.arange(len(frames), dtype=np.uint32), [len(y) for y, _, _ in found]),
            "x": np.concatenate([x for _, x, _ in found]),
            "y": np.concatenate([y for y, _, _ in found]),
            "net_gradient": np.concatenate([gradient for _, _, gradient in found]),
        }
    )


def fit_gaussians(
    frames: U16,
    spots: pd.DataFrame,
    box: int,
    response: CameraResponse | PixelResponse,
    method: Fit = Fit.LQ,
) -> tuple[pd.DataFrame, int]:
    """Fit detected spots.

    Parameters
    ----------
    frames : ndarray, shape (T, Y, X), uint16
        ADU.
    spots : DataFrame
        From `detect_frames`.
    box : int
        Odd edge of the fitted box, pixels.
    response : CameraResponse or PixelResponse
        Given for each pixel, read noise enters too, as Picasso does it: into the likelihood (Huang et al. 2013), and
        into `lpx`, `lpy` of least squares.
    method : Fit
        Least squares, or maximum likelihood under Poisson noise.

    Returns
    -------
    table : DataFrame
        Picasso's columns (`COLUMNS_2D`), rows in the order of detection.
    rejected : int
        Spots whose fit failed: not finite, outside its box, or without photons.
    """
    if spots.empty:
        return pd.DataFrame({name: np.empty(0, column_dtype(name)) for name in COLUMNS_2D}), 0
    likelihood = method is Fit.MLE
    x, y = spots["x"].to_numpy(), spots["y"].to_numpy()
    cut = crop_photons(frames, spots["frame"].to_numpy(), x, y, response, box)
    variance = crop_variance(x, y, response, box) if isinstance(response, PixelResponse) else None
    localize = picasso("localize")
    theta = localize.fit_spots_gauss(cut, mle=likelihood, variance=variance)
    table = localize.locs_from_fits_gauss(spots, theta, box, em=False, mle=likelihood, variance=variance)
    return _credible(table[list(COLUMNS_2D)], spots, box)


def _credible(table: pd.DataFrame, spots: pd.DataFrame, box: int) -> tuple[pd.DataFrame, int]:
    good = np.isfinite(table.to_numpy(float)).all(axis=1)
    with np.errstate(invalid="ignore"):
        for axis in "xy":
            good &= np.abs(table[axis].to_numpy(float) - spots[axis].to_numpy(float)) <= box / 2
            good &= (table[f"lp{axis}"].to_numpy() <= MAX_PRECISION_PX) & (table[f"s{axis}"].to_numpy() > 0)
        good &= table["photons"].to_numpy() > 0
    return table[good].reset_index(drop=True), int(len(table) - good.sum())
