"""Two rings, or none: maximum-likelihood models of the depths in a nuclear pore.

A model is a row of equal layers, stacked along the pore's own (tilted) axis, each a normal distribution as wide as the
layer and the localisation's own uncertainty together. Two layers are the rings. The rival has no gap in the middle:
`SLAB_LAYERS` layers side by side, which is a slab of any thickness with any softness of its faces, a single ring where
the thickness is 0, and all but a normal distribution in between. Expectation maximisation fits both in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from easyzloc_mm.numerics.kernel import kernel
from easyzloc_mm.typing import F64

SLAB_LAYERS = 9
OUTLIERS, OUTLIER_SPAN_NM = 0.05, 600.0
"""Share and span of the background of a pore of which nothing else is known."""
OUTLIERS_PRIOR = 10.0
"""Pseudo-counts of that share: each pore has its own."""
MIN_WIDTH_NM, MAX_WIDTH_NM = 2.0, 150.0
ITERATIONS, TOLERANCE = np.array([40, 400]), 1e-4
"""Of a trial, and to the end; an array, so that one function is compiled for both."""
LEAST_PIVOT = 1e-12
TILT_PRIOR = np.tan(np.radians(6.0))
"""Standard deviation of the slope of a pore against the focal plane, before its localisations are seen."""
BALANCE_PRIOR = 8.0
"""Pseudo-counts of each ring (a Beta prior): there are many labels, and neither ring is empty."""
STARTS = ((30.0, 8.0), (60.0, 12.0), (90.0, 20.0))
"""Thickness and width (nm) to begin with; the best after a trial is followed to its end."""
RINGS = np.array([-0.5, 0.5])
SLAB = np.linspace(-0.5, 0.5, SLAB_LAYERS)
MODEL = 7
"""Numbers of a fitted model: middle, slope x, slope y, thickness, width, share of the last layer, of the background."""
PARAMETERS = ("middle", "slope_x", "slope_y", "spacing", "width", "upper_share")


@dataclass(frozen=True)
class RingFit:
    """Two rings in one pore.

    Attributes
    ----------
    middle_nm, spacing_nm, width_nm : float
        Depth half-way between the rings; their distance along the pore's axis; standard deviation of a ring beyond
        the uncertainty of z.
    slope : (float, float)
        Change of depth per lateral distance, along x and y.
    upper_share : float
        Of the localisations of the rings, in the one at larger z.
    background_share : float
        Of all localisations, in neither.
    lower_width_nm, upper_width_nm : float
        Standard deviation of each ring taken alone.
    errors : dict of str to float
        One standard deviation of each of `PARAMETERS`; NaN where the data do not determine it.
    log_likelihood, slab_log_likelihood : float
        Of the two rings, and of the best model without a gap.
    slab : (float, float, float)
        Thickness, width and middle of that model, nm.
    """

    middle_nm: float
    spacing_nm: float
    width_nm: float
    slope: tuple[float, float]
    upper_share: float
    background_share: float
    lower_width_nm: float
    upper_width_nm: float
    errors: dict[str, float]
    log_likelihood: float
    slab_log_likelihood: float
    slab: tuple[float, float, float, float, float]

    @property
    def tilt_degrees(self) -> float:
        """Angle between the pore's axis and z."""
        return float(np.degrees(np.arctan(np.hypot(*self.slope))))

    @property
    def evidence(self) -> float:
        """Log-likelihood ratio of two rings against no gap."""
        return self.log_likelihood - self.slab_log_likelihood


@kernel(fastmath=True)
def _expect(
    z: F64, lpz: F64, dx: F64, dy: F64, background: F64, outliers: float, layers: F64, shares: F64, model: F64,
    normal: F64, right: F64, mass: F64,
) -> tuple[float, float, float]:  # fmt: skip
    """Fill the expectation step's sums for the weighted least squares of depth on (1, dx, dy, layer).

    Returns
    -------
    float, float, float
        Log-likelihood, and numerator and denominator of the squared width.
    """
    middle, slope_x, slope_y, thickness, width = model[0], model[1], model[2], model[3], model[4]
    m = len(layers)
    density, row = np.empty(m), np.empty(3)
    normal.fill(0.0)
    right.fill(0.0)
    mass.fill(0.0)
    likelihood = width_up = width_down = 0.0
    for i in range(len(z)):
        variance = width * width + lpz[i] * lpz[i]
        base = middle + slope_x * dx[i] + slope_y * dy[i]
        scale = (1.0 - outliers) / np.sqrt(2.0 * np.pi * variance)
        total = outliers * background[i]
        for k in range(m):
            off = z[i] - base - thickness * layers[k]
            density[k] = shares[k] * scale * np.exp(-0.5 * off * off / variance)
            total += density[k]
        likelihood += np.log(total)
        inverse = 1.0 / variance
        # Sums over the layers of each layer's part times its place, to the powers 0, 1 and 2.
        whole = leaned = squared = 0.0
        for k in range(m):
            part = density[k] / total
            mass[k] += part
            off = z[i] - base - thickness * layers[k]
            width_up += part * inverse * inverse * (off * off - lpz[i] * lpz[i])
            whole += part
            leaned += part * layers[k]
            squared += part * layers[k] * layers[k]
        width_down += whole * inverse * inverse
        whole, leaned, squared = whole * inverse, leaned * inverse, squared * inverse
        row[0], row[1], row[2] = 1.0, dx[i], dy[i]
        for a in range(3):
            right[a] += whole * row[a] * z[i]
            normal[3, a] += leaned * row[a]
            for b in range(a + 1):
                normal[a, b] += whole * row[a] * row[b]
        right[3] += leaned * z[i]
        normal[3, 3] += squared
    return likelihood, width_up, width_down


@kernel()
def _solve(normal: F64, right: F64) -> None:
    """Turn `right` into the solution, by Cholesky's way: of `normal` the lower half is read, and overwritten."""
    size = len(right)
    for a in range(size):
        for b in range(a + 1):
            rest = normal[a, b]
            for c in range(b):
                rest -= normal[a, c] * normal[b, c]
            normal[a, b] = rest / normal[b, b] if b < a else np.sqrt(max(rest, LEAST_PIVOT))
        for c in range(a):
            right[a] -= normal[a, c] * right[c]
        right[a] /= normal[a, a]
    for a in range(size - 1, -1, -1):
        for c in range(a + 1, size):
            right[a] -= normal[c, a] * right[c]
        right[a] /= normal[a, a]


@kernel(fastmath=True)
def _fit(
    z: F64, lpz: F64, dx: F64, dy: F64, background: F64, usual: float, layers: F64, free_share: bool, rounds: int,
    out: F64,
) -> float:  # fmt: skip
    """Fit one model, beginning with and ending in `out` (`MODEL` numbers). Log posterior.

    `usual` is the likely share of the background.
    """
    m = len(layers)
    model, outliers, shares = np.empty(5), out[6], np.empty(m)
    for a in range(5):
        model[a] = out[a]
    shares.fill(1.0 / m)
    if free_share:
        shares[0], shares[1] = 1.0 - out[5], out[5]
    normal, right, mass = np.empty((4, 4)), np.empty(4), np.empty(m)
    before = reached = -1e300
    for _ in range(rounds):
        likelihood, width_up, width_down = _expect(
            z, lpz, dx, dy, background, outliers, layers, shares, model, normal, right, mass
        )
        reached = likelihood - 0.5 * (model[1] * model[1] + model[2] * model[2]) / (TILT_PRIOR * TILT_PRIOR)
        reached += OUTLIERS_PRIOR * (usual * np.log(outliers) + (1.0 - usual) * np.log(1.0 - outliers))
        if free_share:
            for k in range(m):
                reached += BALANCE_PRIOR * np.log(m * shares[k])
        for a in range(5):
            out[a] = model[a]
        out[5], out[6] = shares[m - 1], outliers
        if reached - before < TOLERANCE and reached >= before - 1e-9:
            break
        before = reached
        normal[1, 1] += 1.0 / (TILT_PRIOR * TILT_PRIOR)
        normal[2, 2] += 1.0 / (TILT_PRIOR * TILT_PRIOR)
        for a in range(4):
            normal[a, a] += 1e-12
        if m == 1:
            normal[3, 3] += 1.0
        _solve(normal, right)
        for a in range(4):
            model[a] = right[a]
        model[3] = abs(model[3])
        if width_down > 0.0:
            model[4] = np.sqrt(min(max(width_up / width_down, MIN_WIDTH_NM**2), MAX_WIDTH_NM**2))
        inside = 0.0
        for k in range(m):
            inside += mass[k]
        outliers = (len(z) - inside + OUTLIERS_PRIOR * usual) / (len(z) + OUTLIERS_PRIOR)
        if free_share:
            for k in range(m):
                shares[k] = (mass[k] + BALANCE_PRIOR) / (inside + m * BALANCE_PRIOR)
    return reached


@kernel()
def _best(
    z: F64, lpz: F64, dx: F64, dy: F64, background: F64, usual: float, layers: F64, free_share: bool, starts: F64,
    median: float, out: F64,
) -> float:  # fmt: skip
    best = -1e300
    trial = np.empty(len(out))
    for number in range(starts.shape[0]):
        trial.fill(0.0)
        trial[0], trial[3], trial[4] = median, starts[number, 0], starts[number, 1]
        trial[5], trial[6] = 1.0 / len(layers), usual
        value = _fit(z, lpz, dx, dy, background, usual, layers, free_share, ITERATIONS[0], trial)
        if value > best:
            best = value
            for a in range(len(out)):
                out[a] = trial[a]
    return _fit(z, lpz, dx, dy, background, usual, layers, free_share, ITERATIONS[1], out)


def _both(z: F64, lpz: F64, dx: F64, dy: F64, background: F64, usual: float) -> tuple[float, F64, float, F64]:
    two, slab = np.empty(MODEL), np.empty(MODEL)
    starts, median = np.array(STARTS), float(np.median(z))
    of_two = _best(z, lpz, dx, dy, background, usual, RINGS, True, starts, median, two)
    of_slab = _best(z, lpz, dx, dy, background, usual, SLAB, False, starts, median, slab)
    return of_two, two, of_slab, slab


def evidence_of(z: F64, lpz: F64, dx: F64, dy: F64, background: F64, usual: float) -> float:
    """Log-likelihood ratio of two rings against no gap; parameters as for `fit_pore`."""
    of_two, _, of_slab, _ = _both(z, lpz, dx, dy, background, usual)
    return of_two - of_slab


def fit_pore(
    z: F64, lpz: F64, dx: F64, dy: F64, background: F64 | None = None, background_share: float = OUTLIERS
) -> RingFit:
    """Fit two rings, and their rival without a gap, to one pore.

    Parameters
    ----------
    z, lpz : ndarray, shape (n,)
        Depth and its uncertainty, nm; an uncertainty of 0 puts all width into the rings.
    dx, dy : ndarray, shape (n,)
        Lateral place against the pore's middle, nm.
    background : ndarray, shape (n,), optional
        Density, per nm, of localisations of neither ring at each depth; even over `OUTLIER_SPAN_NM` if not given.
    background_share : float
        Of the localisations, likely in neither ring; the pore's own is fitted.
    """
    if background is None:
        background = np.full(len(z), 1 / OUTLIER_SPAN_NM)
    z, lpz, dx, dy, background = (
        np.ascontiguousarray(value, dtype=np.float64) for value in (z, lpz, dx, dy, background)
    )
    of_two, two, of_slab, slab = _both(z, lpz, dx, dy, background, background_share)
    scores, upper = _scores(z, lpz, dx, dy, background, two)
    information = scores.T @ scores
    information[1, 1] += 1 / TILT_PRIOR**2
    information[2, 2] += 1 / TILT_PRIOR**2
    try:
        variance = np.diag(np.linalg.inv(information))
        spread = np.sqrt(np.where(variance > 0, variance, np.nan))
    except np.linalg.LinAlgError:
        spread = np.full(len(PARAMETERS), np.nan)
    widths = [_alone(z, lpz, dx, dy, two, side, part) for side, part in ((-0.5, 1 - upper), (0.5, upper))]
    lean = float(np.cos(np.arctan(np.hypot(two[1], two[2]))))
    return RingFit(
        middle_nm=float(two[0]),
        spacing_nm=float(two[3]) * lean,
        width_nm=float(two[4]),
        slope=(float(two[1]), float(two[2])),
        upper_share=float(two[5]),
        background_share=float(two[6]),
        lower_width_nm=widths[0],
        upper_width_nm=widths[1],
        errors=dict(zip(PARAMETERS, (float(value) for value in spread), strict=True)),
        log_likelihood=of_two,
        slab_log_likelihood=of_slab,
        slab=(float(slab[3]), float(slab[4]), float(slab[0]), float(slab[1]), float(slab[2])),
    )


def _scores(z: F64, lpz: F64, dx: F64, dy: F64, background: F64, two: F64) -> tuple[F64, F64]:
    """Derive every localisation's log-likelihood by `PARAMETERS`; also its chance to be in the upper ring."""
    middle, slope_x, slope_y, spacing, width, share, outliers = two
    variance = width**2 + lpz**2
    off = (z - middle - slope_x * dx - slope_y * dy)[None] - spacing * RINGS[:, None]
    shares = np.array([1 - share, share])[:, None]
    density = (1 - outliers) * shares * np.exp(-0.5 * off**2 / variance) / np.sqrt(2 * np.pi * variance)
    part = density / (density.sum(axis=0) + outliers * background)
    pull = part * off / variance
    by_width = (part * (off**2 / variance - 1) / variance).sum(axis=0) * width
    by_share = part[1] / share - part[0] / (1 - share)
    columns = [
        pull.sum(axis=0), (pull * dx).sum(axis=0), (pull * dy).sum(axis=0), (pull * RINGS[:, None]).sum(axis=0),
        by_width, by_share,
    ]  # fmt: skip
    return np.stack(columns, 1), part[1]


def _alone(z: F64, lpz: F64, dx: F64, dy: F64, two: F64, side: float, part: F64) -> float:
    """Width of one ring beyond the uncertainty of z, by the localisations that belong to it."""
    off = z - two[0] - two[1] * dx - two[2] * dy - side * two[3]
    weight = part / (two[4] ** 2 + lpz**2) ** 2
    return float(np.sqrt(max((weight * (off**2 - lpz**2)).sum() / max(weight.sum(), 1e-30), 0.0)))
