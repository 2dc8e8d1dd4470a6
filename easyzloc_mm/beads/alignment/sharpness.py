"""The focus of one bead by itself: where its image is sharpest."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from easyzloc_mm.typing import F32, F64

SMOOTH_NM = 40.0
NEAR_NM = 160.0
END_PLANES = 2


def spacing_of(stage_nm: F64) -> float:
    """Mean distance of planes (a stage that reads in coarse steps repeats positions: the median would be 0)."""
    return float(stage_nm[-1] - stage_nm[0]) / max(len(stage_nm) - 1, 1)


def sharpness_focus(patches: F32, stage_nm: F64, noise_kept: float = 1.0) -> float:
    """Stage position at which one bead is sharpest, NaN where that is the first or the last plane or next to them.

    Sharpness is the sum of squares beyond what shot noise adds; a parabola through the planes within 160 nm of the
    best one gives its vertex.

    Parameters
    ----------
    patches : ndarray, shape (P, pixels)
        Photons above background.
    stage_nm : ndarray, shape (P,)
        Rising.
    noise_kept : float
        Part of a pixel's variance that registration left.
    """
    noise = np.float32(noise_kept) * np.maximum(patches, 0.0)
    sharpness = np.asarray(np.sum(patches * patches - noise, axis=1, dtype=np.float64))
    step = spacing_of(stage_nm)
    smooth = ndimage.gaussian_filter1d(sharpness, max(1.0, SMOOTH_NM / max(step, 1e-3)))
    best = int(np.argmax(smooth))
    if best < END_PLANES or best > len(smooth) - 1 - END_PLANES:
        return float("nan")
    near = np.abs(stage_nm - stage_nm[best]) <= max(NEAR_NM, 2.1 * step)
    curve = np.polynomial.Polynomial.fit(stage_nm[near], sharpness[near], 2).convert().coef
    if len(curve) < 3 or curve[2] >= 0:
        return float(stage_nm[best])
    vertex = -curve[1] / (2 * curve[2])
    return float(np.clip(vertex, stage_nm[near][0], stage_nm[near][-1]))
