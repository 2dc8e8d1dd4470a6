"""Widths of beads in focus, by Gaussian fits of the profiles through their middle, as facilities measure them.

Names and definitions follow the PSF analysis of microscope-metrics, a program for the assessment that QUAREP-LiMi
[1]_ asks for: profiles along x, y and z through the bead's middle, their full width at half maximum, and the lateral
asymmetry, the smaller over the larger lateral width.

References
----------
.. [1] G. Nelson et al., "QUAREP-LiMi: a community-driven initiative to establish guidelines for quality assessment and
   reproducibility for instruments and images in light microscopy", Journal of Microscopy 284, 56 (2021),
   doi:10.1111/jmi.13041.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.optimize import curve_fit

from easyzloc_mm.io.beads.dataset import BeadDataset
from easyzloc_mm.psf.bead_psf import bead_photons
from easyzloc_mm.typing import F64

FWHM = 2.3548
"""Over the standard deviation of a Gaussian."""
IN_FOCUS_NM = 60.0
HALF_PX = 6
"""Of the lateral profiles."""
AXIAL_NM = 900.0
"""Of the axial one, to either side."""
LEAST_R2 = 0.8
"""Of a fit that counts."""
MOST_BEADS = 100


@dataclass(frozen=True)
class BeadWidths:
    """Full widths at half maximum, by bead.

    Attributes
    ----------
    fwhm_nm : ndarray, shape (n, 3)
        Along x, y and z; NaN where the profile is no Gaussian.
    """

    fwhm_nm: F64

    @property
    def asymmetry(self) -> F64:
        """Return the smaller lateral width over the larger one, shape (n,)."""
        lateral = self.fwhm_nm[:, :2]
        return np.asarray(lateral.min(axis=1) / lateral.max(axis=1))

    @property
    def bad_fits(self) -> tuple[int, int, int]:
        """Return how many profiles along x, y and z are no Gaussians."""
        x, y, z = np.isnan(self.fwhm_nm).sum(axis=0).tolist()
        return x, y, z


def bead_widths(beads: BeadDataset) -> BeadWidths:
    """Measure the accepted beads, `MOST_BEADS` of them where there are more."""
    accepted = np.flatnonzero(beads.accepted)
    chosen = accepted[np.linspace(0, len(accepted) - 1, min(len(accepted), MOST_BEADS)).round().astype(int)]
    return BeadWidths(np.array([_of_one(beads, int(bead)) for bead in chosen]).reshape(-1, 3))


def _of_one(beads: BeadDataset, bead: int) -> tuple[float, float, float]:
    z_nm, photons, _ = bead_photons(beads, bead)
    near = np.abs(z_nm) <= max(IN_FOCUS_NM, 1.01 * float(np.abs(z_nm).min()))
    image = photons[near].mean(axis=0)
    (x,), (y,) = beads.centres(bead, 0.0)
    away = np.arange(-HALF_PX, HALF_PX + 1, dtype=float)
    across = ndimage.map_coordinates(image, [np.full(len(away), y), x + away], order=3, mode="nearest")
    down = ndimage.map_coordinates(image, [y + away, np.full(len(away), x)], order=3, mode="nearest")
    along = np.flatnonzero(np.abs(z_nm) <= AXIAL_NM)
    xs, ys = beads.centres(bead, z_nm[along])
    middle = ndimage.map_coordinates(photons, [along.astype(float), ys, xs], order=1, mode="nearest")
    nm = beads.pixel_size_nm
    return _fwhm(nm * away, across), _fwhm(nm * away, down), _fwhm(z_nm[along], middle)


def _fwhm(at_nm: F64, profile: F64) -> float:
    """Return the width of a profile's Gaussian; NaN where it is none."""
    values = np.asarray(profile, float)
    if len(values) < 5 or np.ptp(values) <= 0:
        return float("nan")

    def gaussian(x: F64, height: float, middle: float, sd: float, floor: float) -> F64:
        return np.asarray(floor + height * np.exp(-((x - middle) ** 2) / (2 * sd**2)))

    start = (float(np.ptp(values)), float(at_nm[int(values.argmax())]), float(np.ptp(at_nm)) / 8, float(values.min()))
    try:
        found, _ = curve_fit(gaussian, at_nm, values, start, maxfev=200)
    except RuntimeError:  # SciPy's word for "no optimum within the calls": this profile is no Gaussian
        return float("nan")
    left = float(np.sum((values - gaussian(at_nm, *found)) ** 2) / np.sum((values - values.mean()) ** 2))
    return FWHM * abs(float(found[2])) if left <= 1 - LEAST_R2 else float("nan")
