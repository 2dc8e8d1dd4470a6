"""Mean images of molecules by depth, beside what a PSF expects of the very same molecules: what a person can judge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from easyzloc_mm.psf.field_psf import FieldPsf
from easyzloc_mm.psf.mle import Optimum, fit_psf
from easyzloc_mm.psf.pupil.kernels import images_and_slopes
from easyzloc_mm.psf.pupil.score import Molecules
from easyzloc_mm.typing import F64

DEPTHS = 6


@dataclass(frozen=True)
class MeanImages:
    """Means over the molecules of a depth, each as far from the middle of its pixel as it was.

    Attributes
    ----------
    z_nm : ndarray, shape (DEPTHS,)
        Mean depth by the PSF.
    measured, expected : ndarray, shape (DEPTHS, size, size)
        Photons per pixel of one photon, the background taken off.
    noise : ndarray, shape (DEPTHS,)
        Standard deviation of a pixel of the difference that shot noise alone would make, at the mean background.
    """

    z_nm: F64
    measured: F64
    expected: F64
    noise: F64

    @property
    def residual(self) -> F64:
        """Return, by depth, the rms of the difference in units of its noise: 1 where the PSF explains all."""
        rms = np.sqrt(np.mean((self.measured - self.expected) ** 2, axis=(1, 2)))
        return np.asarray(rms / self.noise)


def mean_images(molecules: Molecules, psf: FieldPsf, field_size_px: tuple[int, int]) -> MeanImages:
    """Return mean images by depth under a PSF, from fits that start at the molecules' known depths.

    Parameters
    ----------
    molecules : Molecules
    psf : FieldPsf
    field_size_px : (int, int)
    """
    table = psf.table(field_size_px)
    place = psf.place(molecules.x, molecules.y, field_size_px)
    starts = molecules.z_nm[:, None]
    fits = fit_psf(molecules.crops, table, place, starts, molecules.read_noise_e, molecules.prior)
    best = Optimum.of(fits, np.zeros(len(molecules), np.int64))
    theta = np.stack([best.x_px, best.y_px, (best.z_nm - table.z_start_nm) / table.z_pitch_nm], axis=1)
    images = np.empty((len(molecules), 4, *molecules.crops.shape[1:]), np.float32)
    images_and_slopes(table.coefficients, place, theta, images)
    order = np.array_split(np.argsort(best.z_nm), DEPTHS)
    light = [best.photons[rows].sum() for rows in order]
    measured = [
        (molecules.crops[rows] - best.background[rows, None, None]).sum(axis=0) / total
        for rows, total in zip(order, light, strict=True)
    ]
    expected = [
        (best.photons[rows, None, None] * images[rows, 0]).sum(axis=0) / total
        for rows, total in zip(order, light, strict=True)
    ]
    variance = [
        np.sum(
            best.background[rows] + best.photons[rows] * images[rows, 0].mean(axis=(1, 2)) + molecules.read_noise_e**2
        )
        for rows in order
    ]
    return MeanImages(
        z_nm=np.array([best.z_nm[rows].mean() for rows in order]),
        measured=np.stack(measured).astype(float),
        expected=np.stack(expected).astype(float),
        noise=np.sqrt(np.array(variance)) / np.array(light),
    )
