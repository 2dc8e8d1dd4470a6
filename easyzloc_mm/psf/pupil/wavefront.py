"""The wavefront behind a measured PSF: phase retrieval on the images of beads, at a few places of the field.

The wavefront tells how the images would *change* with an aberration; the images themselves stay the measured ones.
Phase retrieval of a microscope's pupil from bead stacks is that of [1]_.

References
----------
.. [1] Hanser et al., Phase-retrieved pupil functions in wide-field fluorescence microscopy, Journal of Microscopy 216,
   32 (2004), https://doi.org/10.1111/j.0022-2720.2004.01393.x
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.optimize import least_squares

from easyzloc_mm.numerics.field_polynomial import polynomial
from easyzloc_mm.profile.schema import Optics
from easyzloc_mm.psf.field_psf import FieldPsf
from easyzloc_mm.psf.pupil.modelled import NOLLS, PupilImages
from easyzloc_mm.typing import F64, I64

FIELD_DEGREE = 2
"""Of wavefronts, and of what aberrations do to images, over the field: enough for coma and field curvature."""
EDGE = 0.8
"""Place of the outer nodes, in field coordinates: the corners themselves are known worst."""
Z_LIMIT_NM = 900.0
EVERY = 2
"""Of the z knots: the axial period of images is 600 nm and more."""
SPHERICAL_STARTS_RAD = (0.0, -0.6, 0.6)
STEP_NM = 100.0
"""A place changes images about as much as a radian of aberration."""
STEP_WALK = 0.1
"""Likewise, of the sideways walk, nm per nm."""
START_BLUR_PX = 0.4
FLOOR = 2e-3
"""Photons per pixel of one emitted: what is darker is not weighted more, since the model has errors of its own."""


@dataclass(frozen=True)
class Wavefront:
    """What makes a measured PSF, at nodes in the field.

    Attributes
    ----------
    images : PupilImages
    nodes : ndarray, shape (n, 2)
        Field coordinates.
    zernike_rad : ndarray, shape (n, len(NOLLS))
    z_nm : ndarray, shape (n,)
        Defocus of the pupil where the measured PSF has z = 0.
    xy_nm : ndarray, shape (n, 2)
        Where the pupil's emitter lies from the middle of the measured PSF, at z = 0.
    walk : (float, float)
        nm along x and y by which the measured PSF goes sideways per nm of z beside what the pupil explains: beads are
        followed on a line, be it the stage that does not rise straight or coma, of which only the first is not the
        molecules' own.
    scale : float
        Photons of the measured PSF for one photon of the pupil.
    correlation : float
        Of measured and computed images, the means of planes taken off: 1 where the optics explain all.
    """

    images: PupilImages
    nodes: F64
    zernike_rad: F64
    z_nm: F64
    xy_nm: F64
    walk: tuple[float, float]
    scale: float
    correlation: float


def field_nodes(psf: FieldPsf) -> F64:
    """Return field coordinates at which wavefronts are found, shape (n, 2)."""
    if not psf.degree:
        return np.zeros((1, 2))
    ticks = np.array([0.0, -EDGE, EDGE])
    return np.stack([grid.ravel() for grid in np.meshgrid(ticks, ticks)], axis=1)


def retrieve(psf: FieldPsf, optics: Optics) -> Wavefront:
    """Return the wavefront of a measured PSF.

    Parameters
    ----------
    psf : FieldPsf
    optics : Optics
        Numerical aperture, refractive indices, wavelength and pixel size; the beads lie at the glass.
    """
    nodes = field_nodes(psf)
    terms = polynomial(nodes, psf.degree).astype(np.float32)
    z_nm, chosen = _planes(psf)
    measured = np.tensordot(terms, psf.coefficients, axes=1).astype(float)
    for axis in (1, 2, 3):
        measured = ndimage.convolve1d(measured, [1 / 6, 2 / 3, 1 / 6], axis=axis)
    measured = measured[:, chosen]
    fits: list[_Fit] = []
    for target in measured:
        if not fits:
            tried = [_fit(target, z_nm, optics, _start(spherical)) for spherical in SPHERICAL_STARTS_RAD]
            fits.append(min(tried, key=lambda fit: fit.cost))
        else:
            fits.append(_fit(target, z_nm, optics, fits[0].parameters))
    found = np.stack([fit.parameters for fit in fits])
    blur_px = float(np.median(np.abs(found[:, -1])))
    depth_nm, place_nm, walks = STEP_NM * found[:, _DEPTH], STEP_NM * found[:, _PLACE], STEP_WALK * found[:, _WALK]
    walk_x, walk_y = np.median(walks, axis=0).tolist()
    return Wavefront(
        images=PupilImages(optics, psf.coefficients.shape[-1], blur_px),
        nodes=nodes,
        zernike_rad=found[:, : len(NOLLS)],
        z_nm=depth_nm,
        xy_nm=place_nm + walks * depth_nm[:, None],
        walk=(walk_x, walk_y),
        scale=float(np.median([fit.scale for fit in fits])),
        correlation=float(np.median([fit.correlation for fit in fits])),
    )


@dataclass(frozen=True)
class _Fit:
    """One node: Zernike terms, depth, x, y (in `STEP_NM`), walk (in `STEP_WALK`), blur (px); and what they leave."""

    parameters: F64
    scale: float
    cost: float
    correlation: float


_DEPTH, _PLACE, _WALK = len(NOLLS), slice(len(NOLLS) + 1, len(NOLLS) + 3), slice(len(NOLLS) + 3, len(NOLLS) + 5)


def _start(spherical_rad: float) -> F64:
    start = np.zeros(len(NOLLS) + 6)
    start[NOLLS.index(11)] = spherical_rad
    start[-1] = START_BLUR_PX
    return start


def _planes(psf: FieldPsf) -> tuple[F64, I64]:
    """Return depths, and indices of their knots, at which images are compared."""
    z_nm = psf.z_start_nm + psf.z_pitch_nm * np.arange(psf.coefficients.shape[1], dtype=np.float64)
    inside = (z_nm >= max(psf.low_nm, -Z_LIMIT_NM)) & (z_nm <= min(psf.high_nm, Z_LIMIT_NM))
    chosen = np.flatnonzero(inside)[::EVERY].astype(np.int64)
    return z_nm[chosen], chosen


def _fit(target: F64, z_nm: F64, optics: Optics, start: F64) -> _Fit:
    """Fit images (planes, knots, knots); planes may have a background of their own, which beads' images have."""
    weight = 1 / np.sqrt(np.maximum(target, FLOOR))

    def centred(images: F64) -> F64:
        return np.asarray(weight * (images - _mean(images, weight)))

    wanted = centred(target)

    def computed(parameters: F64) -> F64:
        x_nm, y_nm = (STEP_NM * parameters[_PLACE]).tolist()
        walk_x, walk_y = (STEP_WALK * parameters[_WALK]).tolist()
        lens = PupilImages(optics, target.shape[-1], abs(float(parameters[-1])), walk=(walk_x, walk_y))
        wavefront = parameters[: len(NOLLS)]
        return centred(lens.at_knots(wavefront, z_nm + STEP_NM * parameters[_DEPTH], x_nm=x_nm, y_nm=y_nm))

    def scaled(images: F64) -> float:
        return float(np.sum(images * wanted) / np.sum(images**2))

    def residual(parameters: F64) -> F64:
        images = computed(parameters)
        return np.asarray(scaled(images) * images - wanted).ravel()

    found = least_squares(residual, start, x_scale=0.3, diff_step=1e-3, xtol=3e-3, ftol=1e-3, max_nfev=12)
    images = computed(found.x)
    return _Fit(
        found.x,
        scaled(images),
        float(found.cost),
        float(np.sum(images * wanted) / np.sqrt(np.sum(images**2) * np.sum(wanted**2))),
    )


def _mean(images: F64, weight: F64) -> F64:
    square = weight**2
    return np.asarray(np.sum(square * images, axis=(1, 2), keepdims=True) / np.sum(square, axis=(1, 2), keepdims=True))
