"""A PSF from a formula: no simulator and no beads."""

from __future__ import annotations

import numpy as np

from easyzloc_mm.camera.crops import ROI_PX
from easyzloc_mm.psf.bead_psf import PITCH_PX, Z_PITCH_NM, knots_of
from easyzloc_mm.psf.field_psf import FieldPsf
from easyzloc_mm.typing import F64


def ring_psf() -> FieldPsf:
    """A spot that widens below focus and opens into a ring above it, of a photon at any depth."""
    z = np.arange(-16, 17) * Z_PITCH_NM
    knot = PITCH_PX * (np.arange(knots_of(ROI_PX)) - knots_of(ROI_PX) // 2)
    distance = np.hypot(knot[:, None], knot)
    image = np.stack([ring_image(distance, depth) for depth in z])
    return FieldPsf(image[None].astype(np.float32), 0, float(z[0]), Z_PITCH_NM, -1000.0, 1000.0)


def ring_image(distance_px: F64, z_nm: float) -> F64:
    """Image of one photon at distances from the emitter."""
    radius, width = 5.5 * max(z_nm, 0.0) / 1000, 1.2 + 1.6 * max(-z_nm, 0.0) / 1000
    profile = np.exp(-((distance_px - radius) ** 2) / (2 * width**2))
    pixels = np.arange(-30, 31)
    whole = np.exp(-((np.hypot(pixels[:, None], pixels) - radius) ** 2) / (2 * width**2))
    return np.asarray(profile / whole.sum())
