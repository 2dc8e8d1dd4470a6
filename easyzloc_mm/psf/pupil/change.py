"""What a few aberrations do to a measured PSF: only the difference is computed, the rest stays measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

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
STEP_RAD, DEPTH_STEP_NM = 0.05, 50.0
"""Of the numerical derivatives."""
DEPTH_UNIT_NM = 1000.0
"""In which depth stands beside the terms: like a radian, it changes the image altogether."""
FOCUS_SEARCH_NM, FOCUS_STEP_NM = 600.0, 50.0
TILES = 5
"""Places per axis of the field at which derivatives are tabulated."""


@dataclass(frozen=True)
class ImageSlopes:
    """Derivatives of a measured PSF by the terms in `CHANGING`, and maybe by depth.

    Attributes
    ----------
    coefficients : ndarray, shape (places, K, Z, knots, knots), float32
        B-splines with the knots of the PSF, per rad rms, and per `DEPTH_UNIT_NM`.
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

    def changed(self, theta_rad: AnyFloat, depth_nm: float = 0.0) -> FieldPsf:
        """Return the PSF with aberrations added; z stays 0 where the middle of the field is sharpest.

        x and y then count along the optical axis: of what the beads walk sideways with depth, only what the pupil
        explains stays.

        Parameters
        ----------
        theta_rad : array_like, shape (len(CHANGING),)
            Of the terms in `CHANGING`, rad rms.
        depth_nm : float
            Of the molecules above the glass; negative where z counts against it.
        """
        if not np.any(theta_rad) and not depth_nm:
            return self.psf
        difference = self._images(theta_rad, depth_nm, self.focus_nm(theta_rad, depth_nm))
        difference -= self._of_beads
        added = self._over_field(difference)
        degree = max(self.psf.degree, self._degree)
        return replace(
            self.psf,
            degree=degree,
            coefficients=_lifted(self.psf.coefficients, self.psf.degree, degree) + _lifted(added, self._degree, degree),
        )

    def slopes(self, theta_rad: AnyFloat, field_size_px: tuple[int, int], depth_nm: float | None = None) -> ImageSlopes:
        """Return derivatives of the changed PSF by each term; where a depth is given, by that too, per um."""
        deep = 0.0 if depth_nm is None else depth_nm
        focus_nm = self.focus_nm(theta_rad, deep)
        theta = np.asarray(theta_rad, float)
        as_beads = not np.any(theta) and not deep  # there, `changed` is the beads' own PSF

        def images(at_rad: AnyFloat, at_nm: float) -> F64:
            return self._images(at_rad, at_nm, focus_nm, as_beads=as_beads)

        by_term = [
            (images(theta + step, deep) - images(theta - step, deep)) / (2 * STEP_RAD)
            for step in STEP_RAD * np.eye(len(CHANGING))
        ]
        if depth_nm is not None:  # light that fades does so on either side of 0: there is a kink
            side = -1.0 if depth_nm < 0 else 1.0
            near, far = max(abs(depth_nm) - DEPTH_STEP_NM, 0.0), abs(depth_nm) + DEPTH_STEP_NM
            change = images(theta, side * far) - images(theta, side * near)
            by_term.append(side * change / ((far - near) / DEPTH_UNIT_NM))
        tiles = TILES if self._degree else 1
        ticks = (2 * np.arange(tiles) + 1) / tiles - 1
        u, v = (grid.ravel() for grid in np.meshgrid(ticks, ticks))
        terms = polynomial(np.stack([u, v], axis=1), self._degree).astype(np.float32)
        over_field = self._over_field(np.stack(by_term, axis=1))
        return ImageSlopes(np.tensordot(terms, over_field, axes=1), tiles, field_size_px)

    def focus_nm(self, theta_rad: AnyFloat, depth_nm: float = 0.0) -> float:
        """Return by how much the sharpest plane of the middle of the field moves."""
        return self._sharpest_nm(theta_rad, depth_nm) - self._beads_sharpest_nm

    @cached_property
    def _beads_sharpest_nm(self) -> float:
        return self._sharpest_nm(np.zeros(len(CHANGING)), 0.0)

    def _sharpest_nm(self, theta_rad: AnyFloat, depth_nm: float) -> float:
        known = self.wavefront
        wavefront, images = known.zernike_rad[0] + _embedded(theta_rad), replace(known.images, depth_nm=depth_nm)

        def blunt(z_nm: F64) -> F64:
            return -np.asarray(np.sum(images.at_knots(wavefront, known.z_nm[0] + z_nm) ** 2, axis=(1, 2)))

        tried = np.arange(-FOCUS_SEARCH_NM, FOCUS_SEARCH_NM + 1, FOCUS_STEP_NM)
        best = float(tried[int(np.argmin(blunt(tried)))])
        bounds = (best - FOCUS_STEP_NM, best + FOCUS_STEP_NM)
        found = minimize_scalar(
            lambda z: float(blunt(np.array([z]))[0]), bounds=bounds, method="bounded", options={"xatol": 2.0}
        )
        return float(found.x)

    def on(self, psf: FieldPsf) -> PsfChange:
        """Return the same for another measurement of the PSF of the same beads: for crops of another size."""
        images = replace(self.wavefront.images, knots=psf.coefficients.shape[-1])
        return PsfChange(psf, replace(self.wavefront, images=images))

    @property
    def at_middle(self) -> PsfChange:
        """The same, but that what changes at the middle of the field is taken for all of it: nine times as fast."""
        known = self.wavefront
        middle = replace(
            known,
            nodes=known.nodes[:1],
            zernike_rad=known.zernike_rad[:1],
            z_nm=known.z_nm[:1],
            xy_nm=known.xy_nm[:1],
        )
        return PsfChange(self.psf, middle)

    @property
    def _degree(self) -> int:
        return FIELD_DEGREE if len(self.wavefront.nodes) > 1 else 0

    @cached_property
    def _of_beads(self) -> F64:
        return self._images(np.zeros(len(CHANGING)), 0.0, 0.0, as_beads=True)

    def _images(self, theta_rad: AnyFloat, depth_nm: float, focus_nm: float, *, as_beads: bool = False) -> F64:
        """Coefficients of the computed PSF at the nodes; `as_beads`: with the sideways walk that beads have."""
        known, psf = self.wavefront, self.psf
        walk = known.walk if as_beads else (0.0, 0.0)
        added, images = _embedded(theta_rad), replace(known.images, depth_nm=depth_nm, walk=walk)
        place_nm = known.xy_nm - np.outer(known.z_nm, walk)
        return np.stack(
            [
                known.scale
                * images.coefficients(
                    zernike + added,
                    psf.z_start_nm + z_nm + focus_nm,
                    psf.z_pitch_nm,
                    psf.coefficients.shape[1],
                    x_nm=float(x_nm),
                    y_nm=float(y_nm),
                )
                for zernike, z_nm, (x_nm, y_nm) in zip(known.zernike_rad, known.z_nm, place_nm, strict=True)
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
