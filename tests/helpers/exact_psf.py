"""The embedded objective's exact PSF as a table, and its image by SciPy's B-splines alone."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import BSpline

from easyzloc_mm.benchmarks.fixtures.embedded import true_table
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.psf.bead_psf import PITCH_PX, SplinePsf
from easyzloc_mm.simulator.optics.objective import embedded_optics
from easyzloc_mm.typing import F64

FIELD = (512, 512)


def exact_table() -> SplinePsf:
    return true_table(embedded_optics(load_profile("demo")), np.array([120.0]), np.array([400.0]), 600.0)


def image_of(table: SplinePsf, x: float, y: float, z_nm: float) -> F64:
    """Image of one photon, 15 x 15 pixels, the emitter x, y px from the middle."""
    coefficients = table.coefficients[0].astype(float)
    at = [np.array([(z_nm - table.z_start_nm) / table.z_pitch_nm])]
    at += [(np.arange(15) - 7 - offset) / PITCH_PX + coefficients.shape[1] // 2 for offset in (y, x)]
    for axis, position in enumerate(at):
        knots = np.arange(-2.0, coefficients.shape[axis] + 2)
        design = BSpline.design_matrix(position, knots, 3).toarray()
        coefficients = np.moveaxis(np.tensordot(design, coefficients, axes=(1, axis)), 0, axis)
    return np.asarray(coefficients[0])
