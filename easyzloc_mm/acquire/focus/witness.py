"""How far the focus has moved, from the z of many molecules, and whether that can be believed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from easyzloc_mm.numerics.statistics import robust_sd
from easyzloc_mm.typing import F64

FEWEST = 100
"""Fewer molecules give no estimate that is believed."""
BIN_NM, SMOOTH_NM = 5.0, 25.0
"""Of the histograms of z that are laid over each other."""
PARTS = 5
"""The scatter between parts of the molecules is the uncertainty."""
REACH_NM = 1200.0
AGREE_NM, AGREE_SIGMA = 15.0, 4.0
"""So far the two estimates may lie apart: the median's scatter, and what a sample that bleaches unevenly does to it."""
WIDTH_RATIO = 1.6
"""A z distribution that is so much wider or narrower than the first is another sample's, or no focus at all."""


@dataclass(frozen=True)
class FocusShift:
    """Shift of the molecules' z against the run's start.

    Attributes
    ----------
    shift_nm : float
        Shift at which the two z distributions overlap best; positive where molecules appear higher. Outliers do not
        count, and on a sample with layers it is several times as precise as a median.
    uncertainty_nm : float
        One standard deviation of it, from parts of the molecules.
    check_nm : float
        Difference of the medians: a second estimate.
    molecules : int
        That it is of.
    doubt : str
        Why it is not to be believed; empty where it is.
    """

    shift_nm: float
    uncertainty_nm: float
    check_nm: float
    molecules: int
    doubt: str = ""


def focus_shift(reference_nm: F64, now_nm: F64) -> FocusShift:
    """Return how far the molecules' z has shifted, with a second estimate beside it.

    Parameters
    ----------
    reference_nm, now_nm : ndarray, shape (n,) and (m,)
        z of believable molecules at the run's start and now.
    """
    if min(len(reference_nm), len(now_nm)) < FEWEST:
        return FocusShift(0.0, math.inf, 0.0, len(now_nm), f"fewer than {FEWEST} molecules")
    shift = _best_overlap(reference_nm, now_nm)
    parts = [_best_overlap(reference_nm, now_nm[part::PARTS]) for part in range(PARTS)]
    sigma = float(np.std(parts, ddof=1)) / math.sqrt(PARTS) * math.sqrt(1 + len(now_nm) / len(reference_nm))
    check = float(np.median(now_nm) - np.median(reference_nm))
    check_sigma = math.hypot(_median_error(reference_nm), _median_error(now_nm))
    widths = robust_sd(reference_nm), robust_sd(now_nm)
    doubt = ""
    if not 1 / WIDTH_RATIO < widths[1] / max(widths[0], 1.0) < WIDTH_RATIO:
        doubt = f"z scatters by {widths[1]:.0f} nm, at the start by {widths[0]:.0f}"
    elif abs(check - shift) > AGREE_NM + AGREE_SIGMA * check_sigma:
        doubt = f"the overlap says {shift:+.0f} nm, the median {check:+.0f}"
    return FocusShift(shift, sigma, check, len(now_nm), doubt)


def _median_error(values: F64) -> float:
    """Return the standard error of a median, by the order statistics half a root of the number away from it."""
    ordered, middle, away = np.sort(values), len(values) / 2, math.sqrt(len(values)) / 2
    return float(ordered[min(int(middle + away), len(values) - 1)] - ordered[max(int(middle - away), 0)]) / 2


def _best_overlap(reference_nm: F64, now_nm: F64) -> float:
    from scipy.ndimage import gaussian_filter1d
    from scipy.signal import correlate

    middle = float(np.median(reference_nm))
    edges = np.arange(-2 * REACH_NM, 2 * REACH_NM + BIN_NM, BIN_NM) + middle
    histograms = [np.histogram(z, edges)[0].astype(float) for z in (reference_nm, now_nm)]
    before, now = (gaussian_filter1d(counts, SMOOTH_NM / BIN_NM) for counts in histograms)
    overlap = correlate(now, before, mode="same", method="fft")
    best = int(np.clip(np.argmax(overlap), 1, len(overlap) - 2))
    left, top, right = overlap[best - 1 : best + 2]
    curvature = left - 2 * top + right
    vertex = 0.5 * (left - right) / curvature if curvature < 0 else 0.0
    return float((best + vertex - len(overlap) // 2) * BIN_NM)
