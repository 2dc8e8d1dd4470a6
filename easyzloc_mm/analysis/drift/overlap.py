"""Drift from the structure itself, in three dimensions at once: the path on which the localisations overlap most.

Every pair of neighbours from different times votes for how the sample moved between the two. Votes count by a
Gaussian of their disagreement with the current path, so that the result is the maximum of the cross-correlation of
all times with all others (as in redundant cross-correlation [1]_ and in drift at minimum entropy [2]_), without pixels
and with every localisation's own uncertainty. Only the structure has to stand still: where in it molecules blink, and
how deep, may change with time.

References
----------
.. [1] Y. Wang et al., "Localization events-based sample drift correction for localization microscopy with redundant
   cross-correlation algorithm", Optics Express 22 (2014) 15982, doi:10.1364/OE.22.015982.
.. [2] J. Cnossen et al., "Drift correction in localization microscopy using entropy minimization", Optics Express 29
   (2021) 27961, doi:10.1364/OE.426620.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from easyzloc_mm.numerics.kernel import kernel
from easyzloc_mm.typing import F64, I64

MAX_PAIRS = 400_000
ROUNDS = ((120.0, 60.0, 120.0), (80.0, 20.0, 40.0), (60.0, 5.0, 10.0))
"""Reach of a pair, and further spread allowed in x, y and in z (nm): from coarse to fine."""
FIRST_DEPTH_NM = 400.0
"""Spread in z of a round before the first, for depths that nothing has aligned yet."""
STEPS = 25
KNOT_WALK_NM = 10.0
"""Standard deviation of the second difference of neighbouring knots a priori; a few pairs outweigh it."""
LOCALIZATIONS_PER_KNOT = 300
MAX_KNOTS, MIN_KNOTS, MIN_KNOT_FRAMES = 120, 4, 20


def knot_count(localizations: int, frames: int) -> int:
    """Knots that a path through so many localisations and frames can carry; 0 if there are too few."""
    knots = min(MAX_KNOTS, localizations // LOCALIZATIONS_PER_KNOT, frames // MIN_KNOT_FRAMES)
    return knots if knots >= MIN_KNOTS else 0


def neighbours(place: F64, time: I64, reach: float, rng: np.random.Generator) -> I64:
    """Pairs of localisations that lie within `reach` and belong to different times, at most `MAX_PAIRS`.

    Parameters
    ----------
    place : ndarray, shape (n, 2)
        x, y.
    time : ndarray of int, shape (n,)
        Segment of the run.
    reach : float
        In the units of `place`.
    rng : Generator
        Draws the localisations that take part where there would be too many pairs.

    Returns
    -------
    ndarray of int, shape (pairs, 2)
    """
    sample = rng.choice(len(place), min(len(place), 2000), replace=False)
    tree = cKDTree(place)
    counts = tree.query_ball_point(place[sample], reach, return_length=True)
    expected = float(np.mean(counts) - 1) * len(place) / 2
    chosen = np.arange(len(place))
    if expected > MAX_PAIRS:
        # Leaving out localisations thins pairs by the square.
        chosen = np.sort(rng.choice(len(place), int(len(place) * np.sqrt(MAX_PAIRS / expected)), replace=False))
        tree = cKDTree(place[chosen])
    pairs = chosen[tree.query_pairs(reach, output_type="ndarray")]
    return np.asarray(pairs[time[pairs[:, 0]] != time[pairs[:, 1]]])


@kernel()
def _vote(
    difference: F64,
    variance: F64,
    first: I64,
    second: I64,
    share_first: F64,
    share_second: F64,
    path: F64,
    normal: F64,
    right: F64,
) -> float:
    """Add up the normal equations of all pairs under the current path; return the sum of their weights."""
    axes = difference.shape[1]
    total = 0.0
    normal[:] = 0.0
    right[:] = 0.0
    index = np.empty(4, np.int64)
    share = np.empty(4)
    for pair in range(difference.shape[0]):
        a, b = first[pair], second[pair]
        index[0], index[1], index[2], index[3] = a, a + 1, b, b + 1
        share[0], share[1] = 1.0 - share_first[pair], share_first[pair]
        share[2], share[3] = share_second[pair] - 1.0, -share_second[pair]
        chi_squared = 0.0
        for axis in range(axes):
            moved = 0.0
            for k in range(4):
                moved += share[k] * path[index[k], axis]
            residual = difference[pair, axis] - moved
            chi_squared += residual * residual / variance[pair, axis]
        if chi_squared > 18.0:
            continue
        weight = np.exp(-0.5 * chi_squared)
        total += weight
        for axis in range(axes):
            scale = weight / variance[pair, axis]
            for k in range(4):
                right[index[k], axis] += scale * share[k] * difference[pair, axis]
                for m in range(4):
                    normal[axis, index[k], index[m]] += scale * share[k] * share[m]
    return total


def _stiffness(knots: int) -> F64:
    second = np.diff(np.eye(knots), 2, axis=0)
    # A path has no absolute position: its mean is fixed, too.
    return np.asarray(second.T @ second / KNOT_WALK_NM**2 + np.ones((knots, knots)) / (knots * 1.0**2))


def overlap_path(
    place: F64, sigma: F64, frame: I64, frames: int, start: F64, *, depth_known: bool = True, seed: int = 0
) -> F64 | None:
    """Find the path on which localisations of all times overlap most.

    Parameters
    ----------
    place : ndarray, shape (n, 2 or 3)
        x, y and z, nm, as localised.
    sigma : ndarray, shape (n, 2 or 3)
        Their uncertainty, nm.
    frame : ndarray of int, shape (n,)
    frames : int
        Of the run.
    start : ndarray, shape (frames, 2 or 3)
        Path to begin with, nm; right within some 100 nm in x and y.
    depth_known : bool
        False if `start` does not know z.

    Returns
    -------
    ndarray, shape (frames, 2 or 3), or None
        Displacement of the sample in every frame, nm, mean 0; None where there are too few pairs.
    """
    knots = knot_count(len(place), frames)
    if not knots:
        return None
    axes = place.shape[1]
    rng = np.random.default_rng(seed)
    middle = (np.arange(knots) + 0.5) * frames / knots
    position = np.clip((frame + 0.5) * knots / frames - 0.5, 0, knots - 1)
    left = np.minimum(position.astype(np.int64), knots - 2)
    share = position - left
    segment = np.minimum(frame * knots // frames, knots - 1)
    path = np.stack([np.interp(middle, np.arange(frames), start[:, axis]) for axis in range(axes)], 1)
    rounds = [(reach, (lateral, lateral, axial)[:axes]) for reach, lateral, axial in ROUNDS]
    if axes == 3 and not depth_known:
        rounds.insert(0, (rounds[0][0], (60.0, 60.0, FIRST_DEPTH_NM)))
    stiffness = _stiffness(knots)
    normal, right = np.empty((axes, knots, knots)), np.empty((knots, axes))
    for reach, extra in rounds:
        still = place[:, :2] - (path[left, :2] * (1 - share[:, None]) + path[left + 1, :2] * share[:, None])
        pairs = neighbours(still, segment, reach, rng)
        if len(pairs) < 20 * knots:
            return None
        one, two = pairs.T
        difference = place[one] - place[two]
        variance = sigma[one] ** 2 + sigma[two] ** 2 + np.square(extra)
        for _ in range(STEPS):
            total = _vote(difference, variance, left[one], left[two], share[one], share[two], path, normal, right)
            if total < 5 * knots:
                return None
            new = np.stack([np.linalg.solve(normal[axis] + stiffness, right[:, axis]) for axis in range(axes)], 1)
            step = float(np.abs(new - path).max())
            path = new
            if step < 0.05:
                break
    return _between_knots(path, middle, frames)


def _between_knots(path: F64, middle: F64, frames: int) -> F64:
    """Smoothing spline through the knots (cross-validated), extrapolated linearly beyond the ends."""
    from scipy.interpolate import CubicSpline, make_smoothing_spline

    time = np.arange(frames) + 0.5
    inside = np.clip(time, middle[0], middle[-1])
    out = np.empty((frames, path.shape[1]))
    for axis, knots in enumerate(path.T):
        # Every knot is measured separately, and its noise is not drift.
        spline = make_smoothing_spline(middle, knots) if len(middle) >= 5 else CubicSpline(middle, knots)
        out[:, axis] = spline(inside) + spline.derivative()(inside) * (time - inside)
    return np.asarray(out - out.mean(axis=0))


def sharpness(place: F64, sigma: F64, frame: I64, frames: int, path: F64, *, seed: int = 0) -> float:
    """Measure how well localisations of different times overlap after a path is taken out.

    Returns
    -------
    float
        Mean over a sample of neighbours (same pairs for the same `place`, whatever the path) of a Gaussian of their
        distance in units of its uncertainty; larger is sharper.
    """
    knots = max(2, min(50, frames // MIN_KNOT_FRAMES))
    segment = np.minimum(frame * knots // frames, knots - 1)
    rng = np.random.default_rng(seed)
    still = place - path[frame]
    chosen = rng.permutation(len(place))[:100_000]
    pairs = neighbours(still[chosen, :2], segment[chosen], 150.0, rng)
    if not len(pairs):
        return 0.0
    one, two = chosen[pairs.T]
    variance = sigma[one] ** 2 + sigma[two] ** 2 + 10.0**2
    closeness = np.exp(-0.5 * ((still[one] - still[two]) ** 2 / variance).sum(axis=1))
    # Per localisation, not per pair: a path that tears neighbours apart has fewer pairs.
    return float(closeness.sum() / len(chosen))
