"""x, y, photons and widths of detected spots: Picasso's least-squares Gaussian, on photons."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from easyzloc_mm.localize.detect import detect
from easyzloc_mm.network.inputs import crop_photons
from easyzloc_mm.profile import CameraUnits
from easyzloc_mm.quiet import picasso

MAX_PRECISION_PX = 2.0
"""A fit that says so little about its place is no localisation."""


def fit_frames(
    frames: NDArray[np.uint16], min_net_gradient: float, box: int, units: CameraUnits
) -> tuple[pd.DataFrame, int]:
    """Detect and fit the spots of a block of frames.

    Parameters
    ----------
    frames : ndarray, shape (T, Y, X), uint16
        ADU.
    min_net_gradient : float
        Threshold of detection, ADU.
    box : int
        Odd edge of the fitted box, pixels.
    units : CameraUnits

    Returns
    -------
    table : DataFrame
        Picasso's columns; `frame` counts within the block, rows in the order of detection.
    rejected : int
        Spots whose fit failed: not finite, outside its box, or without photons.
    """
    found = [detect(frame, min_net_gradient, box) for frame in frames]
    spots = pd.DataFrame(
        {
            "frame": np.repeat(np.arange(len(frames), dtype=np.uint32), [len(y) for y, _, _ in found]),
            "x": np.concatenate([x for _, x, _ in found]),
            "y": np.concatenate([y for y, _, _ in found]),
            "net_gradient": np.concatenate([gradient for _, _, gradient in found]),
        }
    )
    if spots.empty:
        return _empty(), 0
    cut = crop_photons(frames, spots["frame"].to_numpy(), spots["x"].to_numpy(), spots["y"].to_numpy(), units, box)
    theta = picasso("localize").fit_spots_gauss(cut)
    table = picasso("localize").locs_from_fits_gauss(spots, theta, box, em=False)
    return _credible(table, spots, box)


def _credible(table: pd.DataFrame, spots: pd.DataFrame, box: int) -> tuple[pd.DataFrame, int]:
    values = table.to_numpy(float)
    good = np.isfinite(values).all(axis=1)
    with np.errstate(invalid="ignore"):
        for axis in "xy":
            good &= np.abs(table[axis].to_numpy(float) - spots[axis].to_numpy(float)) <= box / 2
            good &= (table[f"lp{axis}"].to_numpy() <= MAX_PRECISION_PX) & (table[f"s{axis}"].to_numpy() > 0)
        good &= table["photons"].to_numpy() > 0
    return table[good].reset_index(drop=True), int(len(table) - good.sum())


def _empty() -> pd.DataFrame:
    from easyzloc_mm.store.localizations import COLUMNS_2D, column_dtype

    return pd.DataFrame({name: np.empty(0, column_dtype(name)) for name in COLUMNS_2D})


def warm_up(box: int) -> None:
    """Compile every kernel on a small frame, so that no camera frame has to wait for it."""
    from scipy.ndimage import gaussian_filter

    frame = np.zeros((64, 64))
    frame[20, 20] = frame[40, 44] = 60000.0
    image = gaussian_filter(frame, 1.3) + 100 + np.random.default_rng(0).normal(0, 2, frame.shape)
    units = CameraUnits(baseline_adu=90.0, electrons_per_adu=1.0, read_noise_e=1.0)
    table, _ = fit_frames(image.astype(np.uint16)[None], 1000.0, box, units)
    if not len(table):
        raise RuntimeError("the spot finder does not find a bright spot")
