"""What a few aberrations do to a measured PSF: only the difference is computed, the rest stays measured."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize_scalar

from easyzloc_mm.numerics.field_polynomial import field_coordinates, polynomial, powers
from easyzloc_mm.psf.field_psf import FieldPsf
from easyzloc_mm.psf.pupil.modelled import NOLLS
from easyzloc_mm.psf.pupil.wavefront import FIELD_DEGREE, Wavefront
from easyzloc_mm.typing import F32, F64, I64, AnyFloat

CHANGING = (5, 6, 7, 8, 11, 22)
"""Terms that may differ between bead slide and sample, the same all over the field: astigmatism and coma (a tilted
cover slip), primary and secondary spherical aberration (its thickness, the medium, the collar, the temperature)."""
NAMES = ("astigmatism 45", "astigmatism 0", "coma y", "coma x", "spherical", "secondary spherical")
"""Of the terms in `CHANGING`."""
STEP_RAD = 0.05
"""Of the numerical derivatives."""
FOCUS_SEARCH_NM = 400.0
TILES = 5
"""Places per axis of the field at which derivatives are tabulated."""


@dataclass(frozen=True)
class ImageSlopes:
    """Derivatives of a measured PSF by the terms in `CHANGING`.

    Attributes
    ----------
    coefficients : ndarray, shape (places, len(CHANGING), Z, knots, knots), float32
        B-splines with the knots of the PSF, per rad rms.
    tiles : int
        Places per axis, row by row.
    field_size_px : (int, int)
    """

    coefficients: F32
    tiles: int
    field_size_px: tuple[int, int]

    def place(self, x: AnyFloat, y: AnyFloat) -> I64:
        """Return the nearest place for sensor positions."""
        at = field_coordinates(np.asarray(x, float), np.asarray(y, float), self.field_size_px)
        column, row = np.clip(np.floor((at + 1) / 2 * self.tiles), 0, self.tiles - 1).astype(np.int64).T
        return np.asarray(row * self.tiles + column)


@dataclass(frozen=True)
class PsfChange:
    """A measured PSF, and its wavefront, to be changed.

    Attributes
    ----------
    psf : FieldPsf
        As the beads have it.
    wavefront : Wavefront
        Of that.
    """

    psf: FieldPsf
    wavefront: Wavefront

    def changed(self, theta_rad: AnyFloat) -> FieldPsf:
        """Return the PSF with aberrations added; z stays 0 where the middle of the field is sharpest.

        Parameters
        ----------
        theta_rad : array_like, shape (len(CHANGING),)
            Of the terms in `CHANGING`, rad rms.
        """
        if not np.any(theta_rad):
            return self.psf
        difference = self._images(theta_rad, self.focus_nm(theta_rad)) - self._images(np.zeros(len(CHANGING)), 0.0)
        added = self._over_field(difference)
        degree = max(self.psf.degree, self._degree)
        return replace(
            self.psf,
            degree=degree,
            coefficients=_lifted(self.psf.coefficients, self.psf.degree, degree) + _lifted(added, self._degree, degree),
        )

    def slopes(self, theta_rad: AnyFloat, field_size_px: tuple[int, int]) -> ImageSlopes:
        """Return derivatives of the changed PSF by each term."""
        focus_nm = self.focus_nm(theta_rad)
        steps = STEP_RAD * np.eye(len(CHANGING))
        theta = np.asarray(theta_rad, float)
        by_term = np.stack(
            [(self._images(theta + step, focus_nm) - self._images(theta - step, focus_nm)) for step in steps], axis=1
        ) / (2 * STEP_RAD)  # fmt: skip
        tiles = TILES if self._degree else 1
        ticks = (2 * np.arange(tiles) + 1) / tiles - 1
        u, v = (grid.ravel() for grid in np.meshgrid(ticks, ticks))
        terms = polynomial(np.stack([u, v], axis=1), self._degree).astype(np.float32)
        return ImageSlopes(np.tensordot(terms, self._over_field(by_term), axes=1), tiles, field_size_px)

    def focus_nm(self, theta_rad: AnyFloat) -> float:
        """Return by how much the sharpest plane of the middle of the field moves."""

        def blunt(z_nm: float, added: F64) -> float:
            wavefront, start = self.wavefront.zernike_rad[0] + added, self.wavefront.z_nm[0]
            return -float(np.sum(self.wavefront.images.at_knots(wavefront, np.array([start + z_nm])) ** 2))

        bounds = (-FOCUS_SEARCH_NM, FOCUS_SEARCH_NM)
        sharpest = [
            minimize_scalar(blunt, bounds=bounds, args=(added,), method="bounded", options={"xatol": 2.0}).x
            for added in (_embedded(theta_rad), np.zeros(len(NOLLS)))
        ]
        return float(sharpest[0] - sharpest[1])

    @property
    def _degree(self) -> int:
        return FIELD_DEGREE if self.psf.degree else 0

    def _images(self, theta_rad: AnyFloat, focus_nm: float) -> F64:
        """Coefficients of the computed PSF at the nodes."""
        known, psf = self.wavefront, self.psf
        added = _embedded(theta_rad)
        return np.stack(
            [
                known.scale
                * known.images.coefficients(
                    zernike + added, psf.z_start_nm + z_nm + focus_nm, psf.z_pitch_nm, psf.coefficients.shape[1]
                )
                for zernike, z_nm in zip(known.zernike_rad, known.z_nm, strict=True)
            ]
        )

    def _over_field(self, at_nodes: F64) -> F32:
        """Terms of the polynomial through what is known at the nodes."""
        operator = np.linalg.pinv(polynomial(self.wavefront.nodes, self._degree))
        return np.asarray(np.tensordot(operator, at_nodes, axes=1), np.float32)


def _embedded(theta_rad: AnyFloat) -> F64:
    wavefront = np.zeros(len(NOLLS))
    wavefront[[NOLLS.index(noll) for noll in CHANGING]] = theta_rad
    return wavefront


def _lifted(coefficients: F32, degree: int, to: int) -> F32:
    """Return a field polynomial as one of a higher degree."""
    out = np.zeros((len(powers(to)), *coefficients.shape[1:]), np.float32)
    where = {power: index for index, power in enumerate(powers(to))}
    for term, power in zip(coefficients, powers(degree), strict=True):
        out[where[power]] = term
    return out
