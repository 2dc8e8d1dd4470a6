"""The common lateral shift of a stack: a stage that does not rise straight moves the whole image sideways with z.

The first moment of a point's image moves along a straight line through focus, whatever the aberrations: a line is all
that a tilted stage (or a tilted optical axis, which no bead stack can distinguish from it) adds to every bead alike.
What beads do beyond that, and what changes over the field, such as magnification that depends on focus, stays in the
data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from easyzloc_mm.numerics.field_polynomial import robust_surface, weighted_slope
from easyzloc_mm.psf.registration import rim_background
from easyzloc_mm.typing import F32, F64

REACH_NM = 900.0
"""Planes this near to focus are followed: farther away little is left to follow."""
WINDOW_PX = 3.5
"""Width of the window under which a bead's light is weighed; it moves along with the line found so far."""
ROUNDS = 12
GAIN = 1.5
"""The window holds the centre back, by so much for a spot that is not much narrower than it."""
SETTLED_PX_PER_UM = 1e-3
MIN_BEADS = 3
"""What one or two beads do may be their own."""
MIN_DEPTHS = 3
MIN_FOR_FIELD = 12
SIGNIFICANT = 3.0
"""A motion of fewer standard errors is not corrected for: it would only be noise."""


@dataclass(frozen=True)
class LateralShift:
    """Common lateral shift of one stack.

    Attributes
    ----------
    x, y : float
        Pixels per um of rising z in the middle of the field, as measured.
    uncertainty : float
        Standard error of either, pixels per um; infinite where too few beads could be followed.
    beads : int
        That were followed.
    """

    x: float = 0.0
    y: float = 0.0
    uncertainty: float = float("inf")
    beads: int = 0

    @property
    def significant(self) -> tuple[float, float]:
        """Return `x` and `y`, or zeros where they are no more than noise."""
        return (self.x, self.y) if np.hypot(self.x, self.y) >= SIGNIFICANT * self.uncertainty else (0.0, 0.0)

    def at(self, z_nm: F64) -> tuple[F64, F64]:
        """Return the shift (pixels) at heights `z_nm` above where places hold."""
        x, y = self.significant
        return x * z_nm / 1000, y * z_nm / 1000


def common_lateral_shift(images: F32, z_nm: F64, x: F64, y: F64, place: F64) -> LateralShift:
    """Return the lateral shift that beads have in common, followed through focus.

    Parameters
    ----------
    images : ndarray, shape (n, S, R, R), float32
        ROIs at S depths; any unit of brightness.
    z_nm : ndarray, shape (n, S) or (S,)
        Height of these above focus.
    x, y : ndarray, shape (n,)
        Where the beads are in focus, pixels of the ROI.
    place : ndarray, shape (n, 2)
        Places in the field, -1..1; all zero where nobody knows them.
    """
    count, depths, size = images.shape[:3]
    z_um = np.broadcast_to(np.asarray(z_nm, float), (count, depths)) / 1000
    near = np.abs(z_um) <= REACH_NM / 1000
    if count < MIN_BEADS or near.sum(axis=1).max(initial=0) < MIN_DEPTHS:
        return LateralShift()
    light = images - rim_background(images)[:, :, None, None]
    pixels = np.arange(size, dtype=float)
    degree = int(np.ptp(place) > 0 and count >= MIN_FOR_FIELD)
    line = np.zeros(2)
    spread = np.full(2, np.inf)
    followed = 0
    for _ in range(ROUNDS):
        dx, dy = (pixels - at[:, None, None] - slope * z_um[:, :, None] for at, slope in zip((x, y), line, strict=True))
        across, down = (np.exp(-(d**2) / (2 * WINDOW_PX**2)) for d in (dx, dy))
        by_row = np.einsum("nsyx,nsx->nsy", light, across)
        total = np.einsum("nsy,nsy->ns", by_row, down)
        moments = (
            np.einsum("nsyx,nsx,nsy->ns", light, across * dx, down, optimize=True),
            np.einsum("nsy,nsy->ns", by_row, down * dy),
        )
        weight = np.maximum(total, 0.0) * near
        known = np.count_nonzero(weight, axis=1) >= MIN_DEPTHS
        step = np.zeros(2)
        for axis, moment in enumerate(moments):
            away = np.clip(moment / np.maximum(total, 1e-9), -WINDOW_PX, WINDOW_PX)
            _, fit, scatter = robust_surface(weighted_slope(z_um, away, weight), place, known, degree, floor=1e-6)
            followed = int(known.sum())
            step[axis] = fit[0]
            spread[axis] = 1.25 * scatter / np.sqrt(max(followed, 1))
        if followed < MIN_BEADS:
            return LateralShift()
        line = line + GAIN * step
        if np.abs(step).max() < SETTLED_PX_PER_UM:
            break
    return LateralShift(float(line[0]), float(line[1]), GAIN * float(spread.max()), followed)


def pooled(shifts: Sequence[LateralShift]) -> list[LateralShift]:
    """Return the shifts of one stage's stacks, estimated jointly: few beads in each are enough together.

    Each stack's motion is drawn towards the mean of all, the more the less certain it is itself and the less the stacks
    differ beyond their uncertainties (drift makes them differ).
    """
    known = [shift for shift in shifts if np.isfinite(shift.uncertainty)]
    if len(known) < 2:
        return list(shifts)
    lines = np.array([(shift.x, shift.y) for shift in known])
    variance = np.maximum([shift.uncertainty**2 for shift in known], 1e-12)[:, None]
    weight = 1 / variance
    mean = (weight * lines).sum(axis=0) / weight.sum()
    # Of the weighted squares around the mean, those beyond their expectation are differences between stacks.
    excess = float((weight * (lines - mean) ** 2).sum()) - 2 * (len(known) - 1)
    between = max(excess / (2 * float(weight.sum() - (weight**2).sum() / weight.sum())), 0.0)
    mean_variance = 1 / float((1 / (variance + between)).sum())
    shared = []
    for shift in shifts:
        own = min(shift.uncertainty, 1e6) ** 2
        trust = between / (between + own)
        x, y = mean + trust * (np.array([shift.x, shift.y]) - mean)
        variance_left = trust * own + (1 - trust) ** 2 * mean_variance
        shared.append(replace(shift, x=float(x), y=float(y), uncertainty=float(np.sqrt(variance_left))))
    return shared
