"""What beads say about the blur: free of camera noise, on a fine grid, and for every place in the field.

Each bead is fitted along z by a cubic B-spline, which takes most of its noise out, and registered to its centre. Over
the field the coefficients are a polynomial of the place, so that what all beads of the field know together stands in
for any one of them: no optical model enters.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from easyzloc_mm.errors import InputError
from easyzloc_mm.store.bead_set import BeadSet

Floats = NDArray[np.float32]
Real = NDArray[np.float64]

IN_FOCUS_NM = 200.0
"""Planes nearer to focus than this tell a bead's brightness and background."""
PITCH_PX = 2 / 3
"""Distance of the lateral B-spline knots: finer than the pixels, so that nothing is blurred a second time."""
KNOTS = 29
"""Per lateral axis: 9 px to either side of the emitter, as far as a 15 px crop with its errors reaches."""
Z_PITCH_NM = 80.0
"""Distance of the axial knots; the axial period of a high-NA image is 600 nm and more."""
Z_ROUGHNESS = 1e-3
COVERING_SHARE = 0.9
"""Of the beads: the depths that so many cover are modelled."""
GRID = 17
"""Places per axis at which the field's blur is tabulated; from one to the next it changes by less than its noise."""
BEADS_PER_TERM = 6
MAX_DEGREE = 5
FOLDS = 5
RIDGE = 1e-2


@dataclass(frozen=True)
class BlurTable:
    """Images of a point at several places: cubic B-splines in z, y and x.

    Attributes
    ----------
    coefficients : ndarray, shape (T, Z, KNOTS, KNOTS), float32
        Expected photons per pixel for one photon of a focused spot, by place, z knot, y knot, x knot. The middle
        lateral knot lies at the emitter.
    z_start_nm, z_pitch_nm : float
        First z knot and distance of the knots.
    low_nm, high_nm : ndarray, shape (T,), float32
        Depths that each place covers.
    x, y : ndarray, shape (T,)
        Places, sensor pixels.
    """

    coefficients: Floats
    z_start_nm: float
    z_pitch_nm: float
    low_nm: Floats
    high_nm: Floats
    x: Real
    y: Real

    def __len__(self) -> int:
        return len(self.coefficients)

    @property
    def z_range_nm(self) -> tuple[float, float]:
        """Depths that nine in ten places cover."""
        low = float(np.quantile(self.low_nm, COVERING_SHARE))
        high = float(np.quantile(self.high_nm, 1 - COVERING_SHARE))
        return low, high


@dataclass(frozen=True)
class BlurSource:
    """What is needed to make molecules: the blur at places, be they beads or a grid over the field, and the camera.

    Attributes
    ----------
    table : BlurTable
        Where it was made of beads, one place per bead.
    field_size_px : (int, int)
    field_known : bool
        Whether places in the field mean anything.
    read_noise_e : float
    spread_px : (float, float)
        Molecules lie up to half of this away from their place in x and y: the distance of the table's places.
    """

    table: BlurTable
    field_size_px: tuple[int, int]
    field_known: bool
    read_noise_e: float
    spread_px: tuple[float, float] = (0.0, 0.0)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def z_range_nm(self) -> tuple[float, float]:
        """Depths that nine in ten beads cover."""
        return self.table.z_range_nm

    @classmethod
    def from_beads(cls, beads: BeadSet, chosen: NDArray[np.integer]) -> BlurSource:
        """Prepare the beads with indices `chosen`, one by one: memory does not grow with the number of planes.

        Raises
        ------
        InputError
            A chosen bead has no plane near its focus.
        """
        labels = beads.z_nm[chosen].astype(float)
        finite = np.isfinite(labels)
        first = np.nanmin(np.where(finite, labels, np.inf), axis=1)
        last = np.nanmax(np.where(finite, labels, -np.inf), axis=1)
        step = float(np.median((last - first) / np.maximum(finite.sum(axis=1) - 1, 1)))
        pitch = max(Z_PITCH_NM, 1.2 * step)
        low = float(np.quantile(first, 0.05))
        high = float(np.quantile(last, 0.95))
        knots = int(np.ceil((high - low) / pitch)) + 5
        start = (low + high) / 2 - (knots - 1) / 2 * pitch
        coefficients = np.empty((len(chosen), knots, KNOTS, KNOTS), np.float32)
        for row, bead in enumerate(chosen):
            z_nm = labels[row][finite[row]]
            planes = beads.rois[bead][finite[row]].astype(np.float32)
            photons = (planes - np.float32(beads.units.baseline_adu)) * np.float32(beads.units.electrons_per_adu)
            near = np.abs(z_nm) <= max(IN_FOCUS_NM, 1.01 * float(np.abs(z_nm).min(initial=np.inf)))
            if not near.any() or float(np.abs(z_nm).min()) > IN_FOCUS_NM:
                raise InputError("a bead has no plane near its focus: build the bead data set again from whole stacks")
            rim = np.concatenate([photons[near, 0], photons[near, -1], photons[near, 1:-1, 0], photons[near, 1:-1, -1]],
                                 axis=1)  # fmt: skip
            # The rim of the ROI is darkest where the bead is sharp: that is the background of the whole stack.
            photons -= np.float32(np.median(rim))
            # A bead that bleaches along the scan would otherwise tell its z by its brightness.
            photons /= beads.light[bead][finite[row]][:, None, None]
            scale = float(photons[near].sum(axis=(1, 2)).mean())
            inside = (z_nm > start + pitch) & (z_nm < start + (knots - 2) * pitch)
            along_z = _z_fit(z_nm[inside], start, pitch, knots) / scale
            centre = beads.x[bead] - beads.roi_x0[bead], beads.y[bead] - beads.roi_y0[bead]
            columns, rows = (_registration(photons.shape[2], at) for at in centre)
            smooth = np.tensordot(along_z, photons[inside], axes=1)
            coefficients[row] = rows @ smooth @ columns.T
        table = BlurTable(
            coefficients=coefficients,
            z_start_nm=start,
            z_pitch_nm=pitch,
            low_nm=np.maximum(first, start + pitch).astype(np.float32),
            high_nm=np.minimum(last, start + (knots - 2) * pitch - 0.01).astype(np.float32),
            x=beads.x[chosen],
            y=beads.y[chosen],
        )
        return cls(table, beads.field_size_px, beads.field_known, beads.units.read_noise_e)


@dataclass(frozen=True)
class FieldBlur:
    """The blur as a polynomial of the place in the field: small enough to travel with a model.

    Attributes
    ----------
    coefficients : ndarray, shape (terms, Z, KNOTS, KNOTS), float32
        Of the monomials u^i v^j up to `degree`; u, v run from -1 to 1 over the field.
    degree : int
        0 where places are unknown: the mean of the beads.
    z_start_nm, z_pitch_nm, low_nm, high_nm : float
        As in `BlurTable`.
    """

    coefficients: Floats
    degree: int
    z_start_nm: float
    z_pitch_nm: float
    low_nm: float
    high_nm: float

    @classmethod
    def measure(cls, source: BlurSource) -> FieldBlur:
        """Fit the beads of `source`; the degree is the one that predicts left-out beads best."""
        table = source.table
        u, v = _field(table.x, table.y, source.field_size_px)
        degree = _best_degree(table, u, v) if source.field_known else 0
        low, high = table.z_range_nm
        coefficients = _fit(table, u, v, np.arange(len(table)), degree)
        return cls(coefficients, degree, table.z_start_nm, table.z_pitch_nm, low, high)

    def table(self, field_size_px: tuple[int, int]) -> BlurTable:
        """Tabulate over the field, row by row of `GRID` x `GRID` places (one place, if all are alike)."""
        ticks = np.linspace(-1, 1, GRID) if self.degree else np.zeros(1)
        u, v = (grid.ravel() for grid in np.meshgrid(ticks, ticks))
        width, height = field_size_px
        return BlurTable(
            coefficients=np.tensordot(_terms(u, v, self.degree).astype(np.float32), self.coefficients, axes=1),
            z_start_nm=self.z_start_nm,
            z_pitch_nm=self.z_pitch_nm,
            low_nm=np.full(len(u), self.low_nm, np.float32),
            high_nm=np.full(len(u), self.high_nm, np.float32),
            x=(u + 1) * (width - 1) / 2,
            y=(v + 1) * (height - 1) / 2,
        )

    def place(self, x: Real, y: Real, field_size_px: tuple[int, int]) -> NDArray[np.int64]:
        """Nearest place of `table` for sensor positions."""
        if not self.degree:
            return np.zeros(len(x), np.int64)
        column, row = (
            np.clip(np.rint((at + 1) / 2 * (GRID - 1)), 0, GRID - 1).astype(np.int64)
            for at in _field(x, y, field_size_px)
        )
        return np.asarray(row * GRID + column)

    def save(self, path: Path) -> None:
        """Write to a ``.npz`` file."""
        np.savez_compressed(
            path,
            coefficients=self.coefficients,
            facts=np.array([self.degree, self.z_start_nm, self.z_pitch_nm, self.low_nm, self.high_nm]),
        )

    @classmethod
    def load(cls, path: Path) -> FieldBlur:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            degree, *rest = (float(value) for value in stored["facts"])
            return cls(stored["coefficients"], int(degree), *rest)


def field_source(source: BlurSource, blur: FieldBlur) -> BlurSource:
    """Where to draw training molecules: all over the field, from the modelled blur.

    Where the beads' places are unknown, the beads themselves, drawn towards their mean as far as noise alone makes
    them differ.
    """
    if not source.field_known:
        return denoised(source)
    width, height = source.field_size_px
    spread = ((width - 1) / (GRID - 1), (height - 1) / (GRID - 1)) if blur.degree else (width - 1.0, height - 1.0)
    return replace(source, table=blur.table(source.field_size_px), spread_px=spread)


def _field(x: Real, y: Real, size: tuple[int, int]) -> tuple[Real, Real]:
    return 2 * np.asarray(x) / max(size[0] - 1, 1) - 1, 2 * np.asarray(y) / max(size[1] - 1, 1) - 1


def _terms(u: Real, v: Real, degree: int) -> Real:
    return np.stack([u**i * v**j for i in range(degree + 1) for j in range(degree + 1 - i)], axis=1)


def _best_degree(table: BlurTable, u: Real, v: Real) -> int:
    fold = np.arange(len(table)) % FOLDS
    best, lowest = 0, np.inf
    for degree in range(MAX_DEGREE + 1):
        if len(table) * (1 - 1 / FOLDS) < BEADS_PER_TERM * (degree + 1) * (degree + 2) / 2 and degree:
            break
        error = 0.0
        for out in range(min(FOLDS, len(table))):
            test = fold == out
            if test.all():
                continue
            fitted = _fit(table, u, v, np.flatnonzero(~test), degree)
            predicted = np.tensordot(_terms(u[test], v[test], degree).astype(np.float32), fitted, axes=1)
            middle = slice(predicted.shape[1] // 4, -(predicted.shape[1] // 4) or None)
            error += float(np.sum((predicted - table.coefficients[test])[:, middle] ** 2))
        if error < lowest:
            best, lowest = degree, error
    return best


def _fit(table: BlurTable, u: Real, v: Real, chosen: NDArray[np.integer], degree: int) -> Floats:
    """Polynomial coefficients, by least squares over the beads `chosen` that cover each z knot."""
    terms = _terms(u[chosen], v[chosen], degree)
    penalty = RIDGE * np.eye(terms.shape[1])
    penalty[0, 0] = 0.0
    knots = table.coefficients.shape[1]
    z = table.z_start_nm + np.arange(knots) * table.z_pitch_nm
    covered = table.low_nm[chosen, None] <= z + table.z_pitch_nm
    covered &= table.high_nm[chosen, None] >= z - table.z_pitch_nm
    result = np.empty((terms.shape[1], *table.coefficients.shape[1:]), np.float32)
    for k in range(knots):
        weight = covered[:, k].astype(float)
        if weight.sum() < max(3, len(chosen) // 2):
            weight[:] = 1.0
        weighted = (terms * weight[:, None]).T
        operator = np.linalg.solve(weighted @ terms + penalty, weighted)
        result[:, k] = np.tensordot(operator.astype(np.float32), table.coefficients[chosen, k], axes=1)
    return result


def denoised(source: BlurSource) -> BlurSource:
    """Beads as their mean and the few directions in which they differ by more than noise."""
    table = source.table
    count = len(table)
    flat = table.coefficients.reshape(count, -1).astype(np.float64)
    mean = flat.mean(axis=0)
    rest = flat - mean
    values, vectors = np.linalg.eigh(rest @ rest.T)
    # Noise spreads over all directions alike; a direction counts by what stands above the median one.
    kept = np.clip(1 - np.median(values) / np.maximum(values, 1e-30), 0, 1) ** 2
    smooth = mean + (vectors * kept) @ (vectors.T @ rest)
    smooth = smooth.reshape(table.coefficients.shape).astype(np.float32)
    return replace(source, table=replace(table, coefficients=smooth))


def _b_spline(t: Real) -> Real:
    """Cubic B-spline at distances `t` (in knots)."""
    t = np.abs(t)
    return np.where(t < 1, (4 - 6 * t**2 + 3 * t**3) / 6, np.where(t < 2, (2 - t) ** 3 / 6, 0.0))


def _z_fit(z_nm: Real, start: float, pitch: float, knots: int) -> Real:
    """Least squares along z as a matrix (knots, planes); where there is no plane, the spline runs on straight."""
    design = _b_spline((z_nm[:, None] - start) / pitch - np.arange(knots))
    bend = np.diff(np.eye(knots), 2, axis=0)
    normal = design.T @ design + Z_ROUGHNESS * len(z_nm) / knots * bend.T @ bend + 1e-9 * np.eye(knots)
    return np.asarray(np.linalg.solve(normal, design.T))


def _registration(size: int, centre: float) -> Floats:
    """Matrix (KNOTS, size): pixels of a ROI to B-spline coefficients around `centre`."""
    at = np.clip(centre + (np.arange(KNOTS) - KNOTS // 2) * PITCH_PX, 0, size - 1)
    pixels = np.asarray(ndimage.spline_filter1d(np.eye(size), 3, axis=0, mode="mirror"))
    index = np.arange(-2, size + 2)
    folded = np.abs(index)
    folded = np.where(folded > size - 1, 2 * (size - 1) - folded, folded)
    spread = np.zeros((KNOTS, size))
    np.add.at(spread.T, folded, _b_spline(at[:, None] - index).T)
    samples = spread @ pixels
    return np.asarray(ndimage.spline_filter1d(samples, 3, axis=0, mode="mirror"), np.float32)
