"""Photobleaching of beads along a scan: uncorrected, it would give away z by brightness.

A stack alone does not show it: what defocus takes out of a ROI looks like bleaching. Two images of the same plane do,
one from the stack and one taken after it; the acquisition takes that second one.
"""

from __future__ import annotations

import numpy as np

from easyzloc_mm.psf.registration import rim_background
from easyzloc_mm.typing import F32, F64, U16

HALF_PX, RIM_PX = 5, 8
LARGEST_CHANGE = 3.0


def brightness_ratio(before: U16, after: U16, places: F64) -> float:
    """Return the brightness of spots in a second image of the same plane, relative to the first; NaN without spots.

    Parameters
    ----------
    before, after : ndarray, shape (height, width), uint16
    places : ndarray, shape (n, 2)
        x, y of lone spots.
    """
    totals = np.zeros(2)
    height, width = before.shape
    for x, y in np.rint(places).astype(int):
        if not (RIM_PX <= x < width - RIM_PX and RIM_PX <= y < height - RIM_PX):
            continue
        for which, image in enumerate((before, after)):
            patch = image[y - RIM_PX : y + RIM_PX + 1, x - RIM_PX : x + RIM_PX + 1].astype(float)
            inner = slice(RIM_PX - HALF_PX, RIM_PX + HALF_PX + 1)
            totals[which] += float((patch[inner, inner] - rim_background(patch)).sum())
    return float(totals[1] / totals[0]) if totals[0] > 0 and totals[1] > 0 else float("nan")


def bleaching_per_um(ratio: float, travelled_um: float) -> float:
    """Return the relative change of brightness per um of rising z, from a `brightness_ratio` over part of the scan."""
    return float(np.log(ratio) / travelled_um) if ratio > 0 and travelled_um else float("nan")


def relative_brightness(z_nm: F32, bleaching: F64) -> F32:
    """Return the brightness of each plane relative to the one in focus; 1 where unmeasured or without a plane.

    Parameters
    ----------
    z_nm : ndarray, shape (n, P)
        Labels.
    bleaching : ndarray, shape (n,)
        Relative change per um; NaN where it is not known.
    """
    change = np.exp(np.nan_to_num(z_nm.astype(float)) / 1000 * np.nan_to_num(bleaching)[:, None])
    return np.asarray(np.clip(change, 1 / LARGEST_CHANGE, LARGEST_CHANGE), np.float32)
