"""The PSF of a lens without beads, in the form of a measured one: what a refreshed PSF should be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from easyzloc_mm.benchmarks.second_optics.lens import SAMPLES_PER_PIXEL, Lens
from easyzloc_mm.benchmarks.second_optics.microscope import sharpest_nm
from easyzloc_mm.numerics.field_polynomial import polynomial
from easyzloc_mm.numerics.spline import cubic_b_spline
from easyzloc_mm.psf.bead_psf import PITCH_PX
from easyzloc_mm.psf.field_psf import FieldPsf
from easyzloc_mm.typing import F64


def exact_psf(lens: Lens, like: FieldPsf) -> FieldPsf:
    """Return the PSF of a lens in the form of a measured one, each place of the field in focus at 0."""
    ticks = np.linspace(-0.8, 0.8, 3) if like.degree else np.zeros(1)
    u, v = (grid.ravel() for grid in np.meshgrid(ticks, ticks))
    degree = min(like.degree, 2)
    z_nm = like.z_start_nm + like.z_pitch_nm * np.arange(like.coefficients.shape[1], dtype=np.float64)
    places = [
        _coefficients(lens, float(at_u), float(at_v), z_nm, like.coefficients.shape[-1])
        for at_u, at_v in zip(u, v, strict=True)
    ]
    operator = np.linalg.pinv(polynomial(np.stack([u, v], axis=1), degree))
    return replace(
        like, coefficients=np.tensordot(operator, np.stack(places), axes=1).astype(np.float32), degree=degree
    )


def _coefficients(lens: Lens, u: float, v: float, z_nm: F64, knots: int) -> F64:
    """Cubic B-splines with the knots of `SplinePsf`, by least squares through the samples of the lens."""
    half_px = int(knots // 2 * PITCH_PX) + 1
    images = lens.images(u, v, z_nm + sharpest_nm(lens, u, v), half_px)
    samples = np.arange(-half_px * SAMPLES_PER_PIXEL, half_px * SAMPLES_PER_PIXEL + 1) / SAMPLES_PER_PIXEL
    basis = np.linalg.pinv(cubic_b_spline(samples[:, None] / PITCH_PX - (np.arange(knots) - knots // 2)))
    return np.asarray(ndimage.spline_filter1d(basis @ images @ basis.T, 3, axis=0, mode="mirror"))
