"""How far a sample moved sideways between two times: the displacement at which most of its molecules come back.

Cheaper than a whole path, and where there is no answer it says so. The differences between the positions of two times
have a peak where structure lies on itself, on a plain of pairs that have nothing to do with each other; the peak is
climbed by mean shift [1]_.

References
----------
.. [1] F. J. Fazekas et al., "A mean shift algorithm for drift correction in localization microscopy", Biophysical
   Reports 1 (2021) 100008, doi:10.1016/j.bpr.2021.100008.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from easyzloc_mm.numerics.statistics import robust_sd
from easyzloc_mm.typing import F64, I64

FARTHEST_NM = 1000.0
"""A sample that moved farther is not found again."""
BIN_NM, SMOOTH_BINS = 25.0, 1.5
CLIMB_NM = (60.0, 40.0, 30.0)
"""Standard deviation of a pair's weight around the peak, from coarse to fine: a sample moves within a time, too."""
STEPS, STILL_NM = 30, 0.05
SAME_NM = 60.0
"""Localisations of following frames that lie closer along both axes are one molecule that is still on."""
FEWEST = 50
MOST, MOST_PAIRS = 20_000, 50_000
CLEAR = 6.5
"""Height of a peak above the plain, in standard deviations of the plain, from which on it is believed."""
RIVAL_NM, LEAD = 150.0, 2.5
"""Farther away than that nothing may be as high, within so many standard deviations: along a lone filament no
displacement is seen, however clear its ridge is."""
UNSURE_NM, UNSURE_SHARE = 10.0, 0.15
"""Largest uncertainty (one standard deviation) of a displacement that is given: that, or this part of it."""


def displacement(
    first_nm: F64, first_frame: I64, last_nm: F64, last_frame: I64, *, seed: int = 0
) -> tuple[float, float] | None:
    """Find how far a sample moved in x and y between two times.

    Parameters
    ----------
    first_nm, last_nm : ndarray, shape (n, 2)
        Localisations of the two times, nm; of more than `MOST` the earliest, and the latest.
    first_frame, last_frame : ndarray of int, shape (n,)
        Their frames, in rising order.
    seed : int
        Decides which take part where there would be more than `MOST_PAIRS` pairs.

    Returns
    -------
    (float, float) or None
        Displacement in x and y, nm; None where the molecules do not tell: there are too few, none comes back to the
        same place, it is not unique (`RIVAL_NM`) or too uncertain (`UNSURE_NM`), or the sample moved by more than
        `FARTHEST_NM`.
    """
    first = _begun(first_nm[:MOST], first_frame[:MOST])
    last = _begun(last_nm[-MOST:], last_frame[-MOST:])
    if min(len(first), len(last)) < FEWEST:
        return None
    rng = np.random.default_rng(seed)
    differences = _differences(first, last, rng)
    highest = _peak(differences)
    if highest is None:
        return None
    moved = _climbed(differences, highest)
    # No pair is in two of the quarters: their scatter is twice the uncertainty of the whole.
    parts = [[place[half] for half in _halves(len(place), rng)] for place in (first, last)]
    quarters = [_climbed(_differences(one, other, rng), moved) for one in parts[0] for other in parts[1]]
    uncertainty = np.hypot(*np.std(quarters, axis=0, ddof=1)) / 2
    if not uncertainty <= max(UNSURE_NM, UNSURE_SHARE * np.hypot(*moved)):
        return None
    return float(moved[0]), float(moved[1])


def _halves(count: int, rng: np.random.Generator) -> tuple[I64, I64]:
    order = rng.permutation(count)
    return order[::2], order[1::2]


def _climbed(differences: F64, peak: F64) -> F64:
    """Return the maximum next to `peak`; NaN where no pair is near."""
    for reach_nm in CLIMB_NM:
        near = differences[(np.abs(differences - peak) < 4 * reach_nm).all(axis=1)]
        if not len(near):
            return np.full(2, np.nan)
        for _ in range(STEPS):
            weight = np.exp(-0.5 * ((near - peak) ** 2).sum(axis=1) / reach_nm**2)
            before, peak = peak, weight @ near / weight.sum()
            if np.abs(peak - before).max() < STILL_NM:
                break
    return peak


def _begun(place: F64, frame: I64) -> F64:
    """Return one place for each time that a molecule was on: its many images would count as many coincidences."""
    pairs = cKDTree(np.column_stack([place / SAME_NM, frame])).query_pairs(1.0, p=np.inf, output_type="ndarray")
    pairs = pairs[frame[pairs[:, 0]] != frame[pairs[:, 1]]]
    begun = np.ones(len(place), bool)
    begun[pairs.max(axis=1)] = False
    return np.asarray(place[begun])


def _differences(first: F64, last: F64, rng: np.random.Generator) -> F64:
    """Return the differences of pairs that lie within `FARTHEST_NM`, shape (pairs, 2)."""
    pairs = cKDTree(first).count_neighbors(cKDTree(last), FARTHEST_NM)
    if pairs > MOST_PAIRS:
        share = np.sqrt(MOST_PAIRS / pairs)
        first, last = (place[rng.random(len(place)) < share] for place in (first, last))
    found = cKDTree(first).sparse_distance_matrix(cKDTree(last), FARTHEST_NM, output_type="coo_matrix")
    return np.asarray(last[found.col] - first[found.row])


def _peak(differences: F64) -> F64 | None:
    """Return where the map of differences is highest, if that is no chance, and no other place is as high."""
    from scipy.ndimage import gaussian_filter

    bins, span = round(2 * FARTHEST_NM / BIN_NM), (-FARTHEST_NM, FARTHEST_NM)
    middle = (np.arange(bins) + 0.5) * BIN_NM - FARTHEST_NM
    counted = np.histogram2d(differences[:, 0], differences[:, 1], bins, [span, span])[0]
    # Of a square root the scatter is the same wherever the plain lies: that of counts is their root.
    height = np.sqrt(gaussian_filter(counted, SMOOTH_BINS))
    inside = np.hypot(middle[:, None], middle) < FARTHEST_NM - 2 * BIN_NM
    plain = float(np.median(height[inside]))
    scatter = robust_sd(height[inside], about=plain)
    least = 0.5 / np.sqrt(4 * np.pi * SMOOTH_BINS**2)  # of pairs that come independently of each other
    height[~inside] = plain
    row, column = np.unravel_index(np.argmax(height), height.shape)
    peak = np.array([middle[row], middle[column]])
    away = np.hypot(middle[:, None] - peak[0], middle - peak[1]) > RIVAL_NM
    lead = height[row, column] - np.max(height[away])
    if height[row, column] - plain < CLEAR * max(scatter, least) or lead < LEAD * max(scatter, least):
        return None
    return peak
