"""Drift from the structure by published rules: cross-correlation and AIM (Picasso), and the paper's rule for z.

References
----------
.. [1] J. Schnitzbauer et al., "Super-resolution microscopy with DNA-PAINT", Nature Protocols 12 (2017) 1198,
   doi:10.1038/nprot.2017.024 (Picasso).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from easyzloc_mm._picasso import picasso
from easyzloc_mm.typing import F64

RCC_SEGMENTS, RCC_MIN_FRAMES, RCC_MIN_SEGMENTS, RCC_MIN_LOCALIZATIONS = 12, 50, 4, 200
RCC_MAX_PIXELS = 2**29
"""Of the pictures of all segments together, 4 GB."""
AIM_FRAMES, AIM_MIN_LOCALIZATIONS = 100, 50
"""Frames of a segment, or more where it would hold fewer localisations."""
PAPER_FRAMES, PAPER_MIN_BINS, PAPER_MIN_FRAMES = 500, 5, 20
"""Frames of a bin, bins, and frames of a bin of a short run: the mean of fewer is noise, and no drift."""
PAPER_SMOOTHING_NM2 = 100.0
"""Squared residual per bin that the paper's spline may leave: 10 nm."""


def _info(frames: int, shape_yx: tuple[int, int], pixel_size_nm: float) -> list[dict[str, Any]]:
    return [{"Width": shape_yx[1], "Height": shape_yx[0], "Frames": frames, "Pixelsize": pixel_size_nm}]


def rcc_path(
    table: pd.DataFrame, frames: int, shape_yx: tuple[int, int], pixel_size_nm: float
) -> tuple[F64 | None, str]:
    """Estimate x and y by redundant cross-correlation [1]_ as Picasso implements it.

    Returns
    -------
    path : ndarray, shape (frames, 2), or None
        nm, mean 0.
    method : str
        What was done, or why nothing was.

    References
    ----------
    .. [1] Y. Wang et al., Optics Express 22 (2014) 15982, doi:10.1364/OE.22.015982.
    """
    segment = max(RCC_MIN_FRAMES, frames // RCC_SEGMENTS)
    segments = frames // segment
    if segments < RCC_MIN_SEGMENTS or len(table) < RCC_MIN_LOCALIZATIONS * segments:
        return None, "too few frames or localisations"
    if segments * shape_yx[0] * shape_yx[1] > RCC_MAX_PIXELS:
        return None, f"a field of {shape_yx[1]} x {shape_yx[0]} px is too large for cross-correlation"
    try:
        drift, _ = picasso("postprocess").undrift(
            table[["frame", "x", "y", "lpx", "lpy"]],
            _info(frames, shape_yx, pixel_size_nm),
            segment,
            display=False,
            segmentation_callback=_ignored,
            rcc_callback=_ignored,
        )
    except (ValueError, RuntimeError, IndexError, KeyError, np.linalg.LinAlgError) as error:
        return None, f"cross-correlation failed ({error})"
    path = np.stack([_extrapolated(drift[axis].to_numpy(float), segment) for axis in "xy"], 1) * pixel_size_nm
    return path - path.mean(axis=0), f"redundant cross-correlation of {segments} segments (Picasso)"


def aim_path(
    table: pd.DataFrame, frames: int, shape_yx: tuple[int, int], pixel_size_nm: float
) -> tuple[F64 | None, str]:
    """Estimate x, y and, in 3D, z by adaptive intersection maximisation [1]_ as Picasso implements it.

    Returns
    -------
    path : ndarray, shape (frames, 2 or 3), or None
        nm, mean 0.
    method : str
        What was done, or why nothing was.

    References
    ----------
    .. [1] H. Ma et al., Science Advances 10 (2024) eadm7765, doi:10.1126/sciadv.adm7765.
    """
    per_frame = len(table) / max(frames, 1)
    segment = int(max(AIM_FRAMES, np.ceil(AIM_MIN_LOCALIZATIONS / max(per_frame, 1e-9))))
    if frames < 3 * segment:
        return None, "too few frames or localisations"
    names = [name for name in ("frame", "x", "y", "z", "lpx", "lpy") if name in table]
    # Picasso counts frames from the first one that has a localisation.
    first = int(table["frame"].min())
    try:
        _, _, drift = picasso("aim").aim(
            table[names], _info(frames - first, shape_yx, pixel_size_nm), segmentation=segment
        )
    except (ValueError, RuntimeError, IndexError, KeyError, ZeroDivisionError) as error:
        return None, f"AIM failed ({error})"
    scale = np.array([pixel_size_nm, pixel_size_nm, 1.0])[: drift.shape[1]]
    path = np.concatenate([np.repeat(drift.to_numpy(float)[:1], first, axis=0), drift.to_numpy(float)])[:frames] * scale
    return path - path.mean(axis=0), f"adaptive intersection maximisation of {frames // segment} segments (Picasso)"


def paper_z_path(table: pd.DataFrame, frames: int) -> tuple[F64 | None, str]:
    """Estimate z by the paper's rule: mean z of 500 frames, smoothed by a cubic spline, relative to the overall mean.

    It is valid only where the depths at which molecules blink stay the same through the run. Runs shorter than
    five times 500 frames have five shorter bins.

    Returns
    -------
    path : ndarray, shape (frames,), or None
        nm.
    method : str
        What was done, or why nothing was.
    """
    from scipy.interpolate import UnivariateSpline

    size = min(PAPER_FRAMES, frames // PAPER_MIN_BINS)
    if size < PAPER_MIN_FRAMES or len(table) < 10 * PAPER_MIN_BINS:
        return None, "too few frames or localisations"
    bins = -(-frames // size)
    index = table["frame"].to_numpy(np.int64) // size
    count = np.bincount(index, minlength=bins)
    mean = np.bincount(index, table["z"].to_numpy(float), bins) / np.maximum(count, 1)
    seen = np.flatnonzero(count)
    if len(seen) < PAPER_MIN_BINS:
        return None, "too few frames with localisations"
    middle = np.minimum((seen + 0.5) * size, (seen * size + frames) / 2)
    spline = UnivariateSpline(middle, mean[seen], k=3, s=PAPER_SMOOTHING_NM2 * len(seen))
    path = spline(np.clip(np.arange(frames) + 0.5, middle[0], middle[-1]))
    # Relative to the mean over all localisations, so that correcting does not move the table as a whole.
    path = path - float(np.average(path[table["frame"].to_numpy(np.int64)]))
    return np.asarray(path), f"the paper's rule: mean z of {size} frames, smoothed cubic spline"


def _ignored(_done: int) -> None:
    """Ignore Picasso's progress, which it prints otherwise."""


def _extrapolated(path: F64, segment: int) -> F64:
    """Extrapolate linearly beyond the middle of the first and last segment, where the spline has no data."""
    half, frames = segment // 2, len(path)
    frame = np.arange(frames, dtype=float)
    first, last = half, frames - 1 - half
    path = path.copy()
    path[:first] = path[first] + (frame[:first] - first) * (path[first + 1] - path[first])
    path[last:] = path[last] + (frame[last:] - last) * (path[last] - path[last - 1])
    return path
