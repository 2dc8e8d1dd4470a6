"""Where each bead's focus is: sharpness for every bead alone, then beads against their neighbours in the field.

Sharpness finds the focus of one bead to some 20 nm. The shape of the whole stack is far more telling, but only against
something alike: aberrations vary over the field. Each bead is therefore shifted along z until it agrees best with the
mean of the beads around it (paper, section 2.2: the shift of least squared difference), while the smooth part of all
shifts over the field stays where sharpness puts it. A single reference bead would carry its own noise and its own
aberrations into every label.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Real = NDArray[np.float64]
Floats = NDArray[np.float32]

PATCH_PX = 15
HALF_RANGE_NM = 900.0
"""Planes this near to focus decide the alignment."""
NEIGHBOURS = 12
ROUNDS = 3
SHIFT_STEPS = 3
MIN_GRID_NM = 20.0
FIELD_POWERS = ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2))
MIN_FOR_CURVATURE = 20


@dataclass(frozen=True)
class RegisteredStack:
    """One bead, centred on the middle pixel.

    Attributes
    ----------
    patches : ndarray, shape (P, 15 * 15), float32
        Photons above background.
    stage_nm : ndarray, shape (P,)
        Stage position of the planes, rising.
    x, y : float
        Place in the field, -1..1.
    """

    patches: Floats
    stage_nm: Real
    x: float
    y: float


@dataclass(frozen=True)
class Alignment:
    """Foci of n beads.

    Attributes
    ----------
    focus_nm : ndarray, shape (n,)
        Stage position of each bead's focus; NaN where it lies outside the stack.
    misfit : ndarray, shape (n,)
        Difference from the neighbours' mean that noise does not explain, relative to the signal; NaN as above.
    sharpness_shift_nm : ndarray, shape (n,)
        Focus against that of sharpness alone.
    """

    focus_nm: Real
    misfit: Real
    sharpness_shift_nm: Real


def sharpness_focus(patches: Floats, stage_nm: Real) -> float:
    """Stage position at which one bead is sharpest (sum of squares beyond what noise adds), NaN outside the stack."""
    sharpness = np.sum(patches.astype(np.float64) ** 2 - np.maximum(patches, 0.0), axis=1)
    smooth = ndimage.gaussian_filter1d(sharpness, max(1.0, 40.0 / float(np.median(np.diff(stage_nm)))))
    best = int(np.argmax(smooth))
    if best < 2 or best > len(smooth) - 3:
        return float("nan")
    near = np.abs(stage_nm - stage_nm[best]) <= max(160.0, 2.1 * float(np.median(np.diff(stage_nm))))
    curve = np.polynomial.Polynomial.fit(stage_nm[near], sharpness[near], 2).convert().coef
    if len(curve) < 3 or curve[2] >= 0:
        return float(stage_nm[best])
    vertex = -curve[1] / (2 * curve[2])
    return float(np.clip(vertex, stage_nm[near][0], stage_nm[near][-1]))


def align(
    stacks: list[RegisteredStack],
    *,
    field_known: bool,
    suspects: NDArray[np.bool_] | None = None,
    robust: bool = True,
) -> Alignment:
    """Find the focus of every bead.

    Parameters
    ----------
    stacks : list of RegisteredStack
    field_known : bool
        Whether the beads' places mean anything; if not, every bead is compared with all others.
    suspects : ndarray of bool, optional
        Beads that take no part in the means (but are aligned themselves).
    robust : bool
        Compare with the neighbours' median instead of their mean: slower, but some neighbours may be no beads.
    """
    count = len(stacks)
    sharp = np.array([sharpness_focus(stack.patches, stack.stage_nm) for stack in stacks])
    usable = np.isfinite(sharp)
    trusted = usable if suspects is None else usable & ~suspects
    focus: Real = sharp.copy()
    misfit = np.full(count, np.nan)
    rows = np.flatnonzero(usable)
    if trusted.sum() < 3:
        return Alignment(focus, misfit, np.where(usable, 0.0, np.nan))
    step = max(MIN_GRID_NM, float(np.median([np.median(np.diff(stack.stage_nm)) for stack in stacks])))
    steps = int(HALF_RANGE_NM // step)
    grid = step * np.arange(-steps - SHIFT_STEPS, steps + SHIFT_STEPS + 1)
    place = np.array([(stack.x, stack.y) for stack in stacks])
    neighbours = {int(i): _neighbours(int(i), place, trusted, field_known) for i in rows}
    average = np.median if robust else np.mean
    for _ in range(ROUNDS):
        resampled = {int(i): _resample(stacks[i], focus[i] + grid) for i in rows}
        shift = np.zeros(count)
        for i in rows:
            mean = average([resampled[j][0] for j in neighbours[int(i)]], axis=0)
            shift[i], misfit[i] = _best_shift(*resampled[int(i)], mean, step)
        focus[rows] += np.clip(shift[rows], -2 * step, 2 * step)
        focus -= _smooth_part(focus - sharp, place, trusted, field_known)
    return Alignment(focus, misfit, focus - sharp)


def _neighbours(index: int, place: Real, trusted: NDArray[np.bool_], field_known: bool) -> NDArray[np.int64]:
    others = np.flatnonzero(trusted & (np.arange(len(place)) != index))
    if not field_known:
        return others
    distance = np.hypot(*(place[others] - place[index]).T)
    return others[np.argsort(distance, kind="stable")[:NEIGHBOURS]]


def _resample(stack: RegisteredStack, at_nm: Real) -> tuple[Floats, NDArray[np.bool_], float]:
    """Interpolate a stack along z (cubic): images scaled to unit energy, what lies inside, and the noise energy."""
    planes = np.interp(at_nm, stack.stage_nm, np.arange(len(stack.stage_nm)))
    inside = (at_nm >= stack.stage_nm[0]) & (at_nm <= stack.stage_nm[-1])
    base = np.clip(np.floor(planes).astype(int), 0, len(stack.stage_nm) - 2)
    t = (planes - base)[:, None].astype(np.float32)
    last = len(stack.stage_nm) - 1
    p0, p1, p2, p3 = (stack.patches[np.clip(base + k, 0, last)] for k in (-1, 0, 1, 2))
    images = p1 + 0.5 * t * (p2 - p0 + t * (2 * p0 - 5 * p1 + 4 * p2 - p3 + t * (3 * (p1 - p2) + p3 - p0)))
    images[~inside] = 0.0
    energy = float(np.sum(images.astype(np.float64) ** 2))
    noise = float(np.maximum(stack.patches, 0).sum() / max(len(stack.patches), 1) * inside.sum())
    return (images / np.sqrt(max(energy, 1e-12))).astype(np.float32), inside, noise / max(energy, 1e-12)


def _best_shift(
    images: Floats, inside: NDArray[np.bool_], noise: float, mean: Floats, step_nm: float
) -> tuple[float, float]:
    """Shift (nm) of least squared difference at the best amplitude, and the misfit there."""
    core = slice(SHIFT_STEPS, len(images) - SHIFT_STEPS)
    quality = []
    for k in range(-SHIFT_STEPS, SHIFT_STEPS + 1):
        mine = images[SHIFT_STEPS + k : len(images) - SHIFT_STEPS + k]
        both = inside[SHIFT_STEPS + k : len(images) - SHIFT_STEPS + k]
        a, b = mine[both].ravel(), mean[core][both].ravel()
        norm = float(np.sqrt(np.dot(a, a) * np.dot(b, b)))
        quality.append(float(np.dot(a, b)) / norm if norm > 0 else 0.0)
    best = int(np.argmax(quality))
    middle = best - SHIFT_STEPS
    if 0 < best < len(quality) - 1:
        left, top, right = quality[best - 1 : best + 2]
        bend = left - 2 * top + right
        offset = 0.5 * (left - right) / bend if bend < 0 else 0.0
    else:
        offset = 0.0
    unexplained = max(1 - quality[best] ** 2 - noise, 0.0)
    return (middle + float(np.clip(offset, -0.5, 0.5))) * step_nm, float(np.sqrt(unexplained))


def _smooth_part(shift: Real, place: Real, trusted: NDArray[np.bool_], field_known: bool) -> Real:
    """Quadratic surface through the trusted beads' shifts, deaf to outliers; a constant where places are unknown."""
    powers = FIELD_POWERS if field_known and trusted.sum() >= MIN_FOR_CURVATURE else FIELD_POWERS[:1]
    basis = np.stack([place[:, 0] ** i * place[:, 1] ** j for i, j in powers], axis=1)
    kept = trusted & np.isfinite(shift)
    fit: Real = np.zeros(len(powers))
    for _ in range(3):
        fit = np.asarray(np.linalg.lstsq(basis[kept], shift[kept], rcond=None)[0], np.float64)
        residual = np.abs(shift - basis @ fit)
        kept = trusted & (residual <= 3 * 1.4826 * max(float(np.median(residual[kept])), 1.0))
    return np.asarray(basis @ fit)


def register(photons: Floats, x: float, y: float) -> Floats:
    """Cut 15x15 pixels centred on (x, y) out of every plane, by cubic interpolation.

    Parameters
    ----------
    photons : ndarray, shape (P, R, R)
        Photons above background.
    x, y : float
        Centre of the bead, pixels of the ROI.

    Returns
    -------
    ndarray, shape (P, 15 * 15), float32
    """
    rows = _shift_matrix(photons.shape[1], y)
    columns = _shift_matrix(photons.shape[2], x)
    patches = np.einsum("ab,pbc,dc->pad", rows, photons, columns, optimize=True)
    return np.ascontiguousarray(patches.reshape(len(photons), -1), np.float32)


def _shift_matrix(size: int, centre: float) -> Floats:
    matrix = np.zeros((PATCH_PX, size), np.float32)
    for index in range(PATCH_PX):
        at = centre - PATCH_PX // 2 + index
        base = int(np.floor(at))
        t = at - base
        weights = (
            ((-0.5 * t + 1) * t - 0.5) * t,
            (1.5 * t - 2.5) * t * t + 1,
            ((-1.5 * t + 2) * t + 0.5) * t,
            (0.5 * t - 0.5) * t * t,
        )
        for tap, weight in enumerate(weights):
            matrix[index, min(max(base - 1 + tap, 0), size - 1)] += weight
    return matrix
