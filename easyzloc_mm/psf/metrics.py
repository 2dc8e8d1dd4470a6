"""Figures of a measured PSF: its width, where it is narrowest, and the ambiguity of the sign of z."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.psf.crlb import EmpiricalPsf
from easyzloc_mm.typing import F64

NARROW_REACH_NM = 500.0


def widths_nm(psf: EmpiricalPsf) -> F64:
    """Return the full widths at half maximum (nm) of the mean PSF, mid-field, along x and y; shape (Z, 2)."""
    middle = psf.halves.mean(axis=0)[len(psf.places) // 2]
    return np.array([[_fwhm(image.sum(axis=0)), _fwhm(image.sum(axis=1))] for image in middle]) * psf.pixel_size_nm


def _fwhm(profile: F64) -> float:
    # From the rim inwards: the middle of a defocused image is a ring.
    half = (profile.max() + profile.min()) / 2
    above = np.flatnonzero(profile >= half)
    first, last = int(above[0]), int(above[-1])
    if first == 0 or last == len(profile) - 1:
        return float("nan")
    left = first - (profile[first] - half) / (profile[first] - profile[first - 1])
    right = last + (profile[last] - half) / (profile[last] - profile[last + 1])
    return float(right - left)


def narrowest_nm(psf: EmpiricalPsf) -> float:
    """Return the depth (nm) at which the mean PSF is narrowest: z = 0, if width decided instead of sharpness."""
    area = np.prod(widths_nm(psf), axis=1)
    near = np.flatnonzero((np.abs(psf.z_nm) <= NARROW_REACH_NM) & np.isfinite(area))
    if len(near) < 5:
        return float("nan")
    best = near[int(np.argmin(area[near]))]
    around = near[np.abs(near - best) <= 4]
    a, b, _ = np.polyfit(psf.z_nm[around] - psf.z_nm[best], area[around], 2)
    if a <= 0:
        return float(psf.z_nm[best])
    return float(psf.z_nm[best] + np.clip(-b / (2 * a), -100, 100))


def sign_ambiguity(psf: EmpiricalPsf, photons: float, background: float, response: CameraResponse) -> tuple[F64, F64]:
    """Return the probability to take an emitter at +z for one at -z, by the best possible test, mid-field.

    Half the PSF difference in units of its noise decides (Neyman-Pearson test of two known images).

    Returns
    -------
    z_nm, chance : ndarray, shape (k,)
        Positive depths, nm, and the probability: 0.5 where both look the same.
    """
    camera = response.effective()
    photons, background = photons / response.excess_noise, background / response.excess_noise
    middle = psf.halves[:, len(psf.places) // 2]
    zero = int(np.argmin(np.abs(psf.z_nm)))
    reach = min(zero, len(psf.z_nm) - 1 - zero)
    steps = np.arange(1, reach + 1)
    above, below = middle[:, zero + steps], middle[:, zero - steps]
    # The product of two independent halves: noise of the measured PSF does not pass for a difference.
    difference = photons**2 * (above[0] - below[0]) * (above[1] - below[1])
    variance = np.maximum(photons * (above + below).mean(axis=0) / 2, 0) + background + camera.read_noise_e**2
    distance = np.sqrt(np.maximum(np.sum(difference / variance, axis=(1, 2)), 0.0))
    return psf.z_nm[zero + steps], ndtr(-distance / 2)
