"""How the sample moved during a run: x and y by redundant cross-correlation, z by what stays at its place.

The paper subtracts the mean z of 500 frames, smoothed. A plain mean moves when other parts of the sample begin to
blink; here each molecule counts against the mean depth of its own neighbourhood, and by how well its z is known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.interpolate import make_smoothing_spline

from easyzloc_mm.quiet import picasso

Real = NDArray[np.float64]

SEGMENTS_XY = 12
MIN_SEGMENT_FRAMES = 100
MIN_SEGMENTS = 4
MIN_PER_SEGMENT = 200
Z_SEGMENT_FRAMES = 200
NEIGHBOURHOOD_PX = 8.0
SPREAD_NM = 40.0
"""Depth that one neighbourhood spans, beside the uncertainty of z."""
ROUNDS = 5
TRIM_SIGMAS = 3.0


@dataclass(frozen=True)
class Drift:
    """Displacement of the sample in every frame, against its mean over the run.

    Attributes
    ----------
    table : DataFrame
        ``frame``; ``x``, ``y`` (px); ``z`` (nm).
    method_xy, method_z : str
        In words, for people.
    """

    table: pd.DataFrame
    method_xy: str
    method_z: str


def estimate_drift(table: pd.DataFrame, frames: int, shape_yx: tuple[int, int], pixel_size_nm: float) -> Drift:
    """Estimate drift from the localisations themselves.

    Parameters
    ----------
    table : DataFrame
        Localisations; those with a `z_flag` take no part in z.
    frames : int
        Frames of the run.
    shape_yx : (int, int)
        Height and width of a frame, pixels.
    pixel_size_nm : float
    """
    x, y, method_xy = _lateral(table, frames, shape_yx, pixel_size_nm)
    number = table["frame"].to_numpy(np.int64)
    still_x, still_y = table["x"].to_numpy(float) - x[number], table["y"].to_numpy(float) - y[number]
    z, method_z = _axial(table, still_x, still_y, frames)
    return Drift(pd.DataFrame({"frame": np.arange(frames), "x": x, "y": y, "z": z}), method_xy, method_z)


def apply_drift(table: pd.DataFrame, drift: pd.DataFrame) -> pd.DataFrame:
    """Subtract the drift of each localisation's frame; positions keep their mean."""
    corrected = table.copy()
    number = table["frame"].to_numpy(np.int64)
    for axis in [name for name in "xyz" if name in table]:
        moved = corrected[axis].to_numpy(float) - drift[axis].to_numpy(float)[number]
        corrected[axis] = moved.astype(np.float32)
    return corrected


def _lateral(
    table: pd.DataFrame, frames: int, shape_yx: tuple[int, int], pixel_size_nm: float
) -> tuple[Real, Real, str]:
    segment = max(MIN_SEGMENT_FRAMES, frames // SEGMENTS_XY)
    segments = frames // segment
    if segments < MIN_SEGMENTS or len(table) < MIN_PER_SEGMENT * segments:
        return np.zeros(frames), np.zeros(frames), "not corrected: too few frames or localisations"
    info = [{"Width": shape_yx[1], "Height": shape_yx[0], "Frames": frames, "Pixelsize": pixel_size_nm}]
    try:
        drift, _ = picasso("postprocess").undrift(
            table[["frame", "x", "y", "lpx", "lpy"]],
            info,
            segment,
            display=False,
            segmentation_callback=_unheard,
            rcc_callback=_unheard,
        )
    except (ValueError, RuntimeError, IndexError, np.linalg.LinAlgError) as error:
        return np.zeros(frames), np.zeros(frames), f"not corrected: cross-correlation failed ({error})"
    x, y = _inside(drift["x"].to_numpy(float), segment), _inside(drift["y"].to_numpy(float), segment)
    return x - x.mean(), y - y.mean(), f"redundant cross-correlation of {segments} segments"


def _unheard(_done: int) -> None:
    """Take Picasso's progress, which it prints otherwise."""


def _inside(path: Real, segment: int) -> Real:
    """Beyond the middle of the first and last segment the spline only guesses: go straight on from there."""
    half, frames = segment // 2, len(path)
    frame = np.arange(frames, dtype=float)
    first, last = half, frames - 1 - half
    path = path.copy()
    path[:first] = path[first] + (frame[:first] - first) * (path[first + 1] - path[first])
    path[last:] = path[last] + (frame[last:] - last) * (path[last] - path[last - 1])
    return path


def _axial(table: pd.DataFrame, x: Real, y: Real, frames: int) -> tuple[Real, str]:
    if "z" not in table:
        return np.zeros(frames), "not corrected: the run is 2D"
    trusted = table["z_flag"].to_numpy() == 0
    segments = frames // Z_SEGMENT_FRAMES
    if segments < MIN_SEGMENTS or trusted.sum() < MIN_PER_SEGMENT * segments:
        return np.zeros(frames), "not corrected: too few frames or localisations"
    part = table[trusted]
    z = part["z"].to_numpy(float)
    weight = 1 / (part["lpz"].to_numpy(float) ** 2 + SPREAD_NM**2)
    segment = np.minimum(part["frame"].to_numpy(np.int64) * segments // frames, segments - 1)
    columns = int(np.ceil((x.max() - x.min()) / NEIGHBOURHOOD_PX)) + 1
    place = np.floor((x - x.min()) / NEIGHBOURHOOD_PX) + columns * np.floor((y - y.min()) / NEIGHBOURHOOD_PX)
    place = np.unique(place[trusted].astype(np.int64), return_inverse=True)[1]
    shift = np.zeros(segments)
    for _ in range(ROUNDS):
        # Alternating least squares: depth of every neighbourhood, then shift of every segment; outliers left out.
        depth = _weighted_mean(z - shift[segment], weight, place, place.max() + 1)
        residual = z - depth[place] - shift[segment]
        spread = 1.4826 * float(np.median(np.abs(residual)))
        kept = np.abs(residual) <= TRIM_SIGMAS * max(spread, 1.0)
        shift = _weighted_mean((z - depth[place])[kept], weight[kept], segment[kept], segments)
        shift -= shift.mean()
    middle = (np.arange(segments) + 0.5) * frames / segments
    if segments >= 5:
        path = make_smoothing_spline(middle, shift)(np.clip(np.arange(frames), middle[0], middle[-1]))
    else:
        path = np.interp(np.arange(frames), middle, shift)
    return path - path.mean(), f"local means of {segments} segments, smoothing spline"


def _weighted_mean(values: Real, weight: Real, group: NDArray[np.int64], groups: int) -> Real:
    total = np.bincount(group, weight, groups)
    return np.bincount(group, weight * values, groups) / np.maximum(total, 1e-30)
