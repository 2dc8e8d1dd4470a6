"""How the light changes along a scan: a bleaching bead would tell its z by its brightness."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.beads.find import Overview
from easyzloc_mm.profile import CameraUnits

Real = NDArray[np.float64]

MAX_TREND_PER_UM = 0.5
LARGEST_CHANGE = 3.0


def light_trend(
    overview: Overview,
    z_nm: dict[int, float],
    photons: float,
    field_size_px: tuple[int, int],
    units: CameraUnits,
) -> float:
    """Relative change of the beads' light per um of rising z, in one stack.

    Defocus takes light out of any ROI, but not out of the image: the mean of whole planes above their dark pixels
    follows the beads' total light. A straight line through it, relative to the light of all beads in focus.

    Parameters
    ----------
    overview : Overview
    z_nm : dict of int to float
        Stage position of each plane.
    photons : float
        Of all beads in one plane in focus.
    field_size_px : (int, int)
    units : CameraUnits
    """
    at = np.array([z_nm[int(plane)] for plane in overview.looked_at]) / 1000
    light = (overview.light - overview.darkness) * units.electrons_per_adu
    mean = photons / (field_size_px[0] * field_size_px[1])
    if len(at) < 5 or mean <= 0:
        return 0.0
    slope, level = np.polyfit(at, light, 1)
    for _ in range(3):
        away = np.abs(light - slope * at - level)
        kept = away <= 3 * 1.4826 * max(float(np.median(away)), 1e-12)
        slope, level = np.polyfit(at[kept], light[kept], 1)
    return float(np.clip(slope / mean, -MAX_TREND_PER_UM, MAX_TREND_PER_UM))


def relative_light(z_nm: NDArray[np.float32], trend_per_um: Real) -> NDArray[np.float32]:
    """Light of each plane relative to the one in focus; 1 where there is no plane.

    Parameters
    ----------
    z_nm : ndarray, shape (n, P)
        Labels.
    trend_per_um : ndarray, shape (n,)
        Relative change per um.
    """
    change = np.exp(np.nan_to_num(z_nm.astype(float)) / 1000 * trend_per_um[:, None])
    return np.clip(change, 1 / LARGEST_CHANGE, LARGEST_CHANGE).astype(np.float32)
