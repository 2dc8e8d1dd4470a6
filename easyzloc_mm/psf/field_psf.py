"""The PSF at every place in the field, from all beads together.

Over the field the spline coefficients of the beads (`bead_psf`) are a polynomial of the place: no optical model enters.
That the PSF of a whole field is best measured from many beads jointly is shown in [1]_.

References
----------
.. [1] Li et al., Real-time 3D single-molecule localization using experimental point spread functions, Nature Methods
   15, 367 (2018), https://doi.org/10.1038/nmeth.4661
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from easyzloc_mm.io.reading import reading
from easyzloc_mm.numerics.field_polynomial import field_coordinates, largest_degree, polynomial
from easyzloc_mm.psf.bead_psf import BeadPsfs, SplinePsf
from easyzloc_mm.typing import F32, F64, I64, AnyFloat

GRID = 17
"""Places per axis at which the field's PSF is tabulated; from one to the next it changes by less than its noise."""
BEADS_PER_TERM = 6
MAX_DEGREE = 5
FOLDS = 5
RIDGE = 1e-2
MIXED_BEADS, MIXED_NOISE = 3, 20.0
"""From so many beads on, and from such a ratio of the noisiest to the cleanest, beads are weighted."""
REWEIGHTED = 3
"""Times that weights are found from what the last ones left."""
TINY = 1e-30


@dataclass(frozen=True)
class FieldPsf:
    """The PSF as a polynomial of the place in the field: small enough to be stored with a model.

    Attributes
    ----------
    coefficients : ndarray, shape (terms, Z, knots, knots), float32
        Of the terms of `field_polynomial.polynomial`.
    degree : int
        0 where places are unknown: the mean of the beads.
    z_start_nm, z_pitch_nm, low_nm, high_nm : float
        As in `SplinePsf`.
    """

    coefficients: F32
    degree: int
    z_start_nm: float
    z_pitch_nm: float
    low_nm: float
    high_nm: float

    @classmethod
    def measure(cls, source: BeadPsfs, degree: int | None = None) -> FieldPsf:
        """Fit the beads of `source`; the degree, if none is given, is the one that predicts left-out beads best.

        Of beads that are few, or near each other, the mean is taken (degree 0): the field passes for uniform.
        """
        table = source.table
        place = field_coordinates(table.x, table.y, source.field_size_px)
        if degree is None:
            degree = _best_degree(table, place, source.bead_id) if source.field_known else 0
        low, high = table.z_range_nm
        coefficients = _weighted_fit(table, place, source.noise, degree)
        return cls(coefficients, degree, table.z_start_nm, table.z_pitch_nm, low, high)

    def table(self, field_size_px: tuple[int, int]) -> SplinePsf:
        """Tabulate over the field, row by row of `GRID` x `GRID` places (one place, if all are alike)."""
        ticks = np.linspace(-1, 1, GRID) if self.degree else np.zeros(1)
        u, v = (grid.ravel() for grid in np.meshgrid(ticks, ticks))
        terms = polynomial(np.stack([u, v], axis=1), self.degree)
        width, height = field_size_px
        return SplinePsf(
            coefficients=np.tensordot(terms.astype(np.float32), self.coefficients, axes=1),
            z_start_nm=self.z_start_nm,
            z_pitch_nm=self.z_pitch_nm,
            low_nm=np.full(len(u), self.low_nm, np.float32),
            high_nm=np.full(len(u), self.high_nm, np.float32),
            x=(u + 1) * (width - 1) / 2,
            y=(v + 1) * (height - 1) / 2,
        )

    def place(self, x: F64, y: F64, field_size_px: tuple[int, int]) -> I64:
        """Return the nearest place of `table` for sensor positions."""
        if not self.degree:
            return np.zeros(len(x), np.int64)
        place = field_coordinates(np.asarray(x), np.asarray(y), field_size_px)
        column, row = np.clip(np.rint((place + 1) / 2 * (GRID - 1)), 0, GRID - 1).astype(np.int64).T
        return np.asarray(row * GRID + column)

    def save(self, path: Path) -> None:
        """Write to a ``.npz`` file."""
        np.savez_compressed(
            path,
            coefficients=self.coefficients,
            facts=np.array([self.degree, self.z_start_nm, self.z_pitch_nm, self.low_nm, self.high_nm]),
        )

    @classmethod
    def load(cls, path: Path) -> FieldPsf:
        """Read what `save` wrote.

        Raises
        ------
        InputError
            It is damaged, or something else.
        """
        cure = "copy the model's whole folder again, or train it again"
        with reading(path, "a measured PSF", zipfile.BadZipFile, cure=cure):
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                degree, *rest = (float(value) for value in stored["facts"])
                coefficients = stored["coefficients"]
            if coefficients.ndim != 4 or not np.isfinite(coefficients).all():
                raise ValueError("it holds values that are no numbers, or no images through focus")
            return cls(coefficients, int(degree), *rest)


@dataclass(frozen=True)
class SamplePsf:
    """The PSF of a sample.

    Attributes
    ----------
    crop : FieldPsf
        As far as crops reach.
    wider : FieldPsf, optional
        As far as larger crops reach (`model.wider_look`), where the beads' is known so far.
    """

    crop: FieldPsf
    wider: FieldPsf | None = None


def field_source(source: BeadPsfs, psf: FieldPsf) -> BeadPsfs:
    """Return PSFs to simulate emitters from: all over the field, those of the field polynomial.

    Where the beads' places are unknown, the beads themselves, drawn towards their mean as far as noise alone makes
    them differ.
    """
    if not source.field_known:
        return denoised(source)
    width, height = source.field_size_px
    spread = ((width - 1) / (GRID - 1), (height - 1) / (GRID - 1)) if psf.degree else (width - 1.0, height - 1.0)
    none = np.empty(0, np.int64)
    return replace(source, table=psf.table(source.field_size_px), spread_px=spread, bead_id=none)


def _best_degree(table: SplinePsf, place: AnyFloat, bead_id: I64) -> int:
    _, first, which = np.unique(bead_id, return_index=True, return_inverse=True)
    fold = which % FOLDS
    best, lowest = 0, np.inf
    # A fifth of the beads is left out in turn.
    most = largest_degree(place[first], beads_per_term=BEADS_PER_TERM * FOLDS / (FOLDS - 1), most=MAX_DEGREE)
    for degree in range(most + 1):
        error = 0.0
        for out in range(min(FOLDS, len(first))):
            test = fold == out
            if test.all():
                continue
            fitted = _fit(table, place, np.flatnonzero(~test), degree)
            predicted = np.tensordot(polynomial(place[test], degree).astype(np.float32), fitted, axes=1)
            middle = slice(predicted.shape[1] // 4, -(predicted.shape[1] // 4) or None)
            error += float(np.sum((predicted - table.coefficients[test])[:, middle] ** 2))
        if error < lowest:
            best, lowest = degree, error
    return best


def _weighted_fit(table: SplinePsf, place: AnyFloat, noise: F64, degree: int) -> F32:
    """Return polynomial coefficients of all beads, each weighted by how well its images are known.

    What beads differ by is their noise, in proportion to the known one, and what they really differ by, the same for
    all: both are found from what the fit leaves. Where beads are alike, so are their weights.
    """
    everything = np.arange(len(table))
    fitted = _fit(table, place, everything, degree)
    if len(noise) < MIXED_BEADS or noise.max() < MIXED_NOISE * noise.min():
        return fitted
    terms = polynomial(place, degree).astype(np.float32)
    for _ in range(REWEIGHTED):
        left = np.array(
            [
                np.mean((np.tensordot(row, fitted, axes=1) - own) ** 2)
                for row, own in zip(terms, table.coefficients, strict=True)
            ]
        )
        parts = np.stack([np.ones_like(noise), noise], axis=1)
        share = nnls(parts / np.maximum(left, TINY)[:, None], np.ones_like(left))[0]
        weight = 1 / (parts @ share)
        fitted = _fit(table, place, everything, degree, weight / weight.max())
    return fitted


def _fit(
    table: SplinePsf, place: AnyFloat, chosen: NDArray[np.integer], degree: int, weights: F64 | None = None
) -> F32:
    """Return polynomial coefficients, by least squares over the beads `chosen` that cover each z knot."""
    terms = polynomial(place[chosen], degree)
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
        if weights is not None:
            weight *= weights
        weighted = (terms * weight[:, None]).T
        operator = np.linalg.solve(weighted @ terms + penalty, weighted)
        result[:, k] = np.tensordot(operator.astype(np.float32), table.coefficients[chosen, k], axes=1)
    return result


def denoised(source: BeadPsfs) -> BeadPsfs:
    """Return the beads as their mean and the few principal components in which they differ by more than noise."""
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
