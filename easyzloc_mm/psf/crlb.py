"""Cramer-Rao lower bound (CRLB) of x, y and z for a PSF, a true one or one measured from beads.

mu_k = N PSF_k(x, y, z) + b;  I_ij = sum_k (dmu_k/dtheta_i) (dmu_k/dtheta_j) / (mu_k + sigma_read^2);  theta = x, y, z,
N, b;  CRLB = sqrt(diag(I^-1)) [1]_ [2]_.

References
----------
.. [1] Ober, Ram and Ward, Localization accuracy in single-molecule microscopy, Biophysical Journal 86, 1185 (2004),
   https://doi.org/10.1016/S0006-3495(04)74193-4
.. [2] Smith et al., Fast, single-molecule localization that achieves theoretically minimum uncertainty, Nature Methods
   7, 373 (2010), https://doi.org/10.1038/nmeth.1449
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import make_lsq_spline

from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.dataset import BeadDataset
from easyzloc_mm.psf.bead_psf import bead_photons
from easyzloc_mm.psf.registration import PATCH_PX, register
from easyzloc_mm.typing import F64

HIGHEST_CRLB_NM = 5000.0
"""Above this an image holds no information: the CRLB is not defined."""
KNOT_NM = 120.0
FEWEST = 4
"""Planes that a cubic takes."""
Z_STEP_NM = 20.0
Z_RANGE_NM = 1000.0
BEADS_PER_PLACE = 16
MIN_BEADS = 4
"""From which on the two halves are of different beads."""
GRID = 5


def crlb(
    psf: ArrayLike,
    by_x: ArrayLike,
    by_y: ArrayLike,
    by_z: ArrayLike,
    photons: ArrayLike,
    background: ArrayLike,
    read_noise_e: ArrayLike,
) -> tuple[F64, F64, F64]:
    """Return the CRLB of x, y, z (nm, standard deviations) of n emitters; NaN where the images do not define it.

    Parameters
    ----------
    psf : array_like, shape (n, a, b)
        Expected image for one photon.
    by_x, by_y, by_z : array_like, shape (n, a, b)
        Its derivatives per nm.
    photons, background : array_like, shape (n,)
        Photons per emitter, background photons per pixel.
    read_noise_e : float or array_like, shape (n, a, b)
        Camera read noise, of all pixels or of each.

    Returns
    -------
    sx, sy, sz : ndarray, shape (n,)
    """
    images = [np.asarray(image, float) for image in (psf, by_x, by_y, by_z)]
    return _bound(images, images, photons, background, read_noise_e)


def _bound(
    first: list[F64], second: list[F64], photons: ArrayLike, background: ArrayLike, read_noise_e: ArrayLike
) -> tuple[F64, F64, F64]:
    """Return the CRLB from two independent estimates of the same images: their noise does not pass for information."""
    count = len(first[0])
    n = np.broadcast_to(np.asarray(photons, float), count)[:, None]
    b = np.broadcast_to(np.asarray(background, float), count)[:, None]
    flat_a, flat_b = ([image.reshape(count, -1) for image in images] for images in (first, second))
    read = np.broadcast_to(np.asarray(read_noise_e, float), first[0].shape).reshape(count, -1)
    variance = np.maximum(n * (flat_a[0] + flat_b[0]) / 2, 0) + b + read**2

    def gradients(images: list[F64]) -> F64:
        return np.stack([n * images[1], n * images[2], n * images[3], images[0], np.ones_like(images[0])], axis=1)

    information = np.einsum("nik,njk,nk->nij", gradients(flat_a), gradients(flat_b), 1 / variance, optimize=True)
    information = (information + information.transpose(0, 2, 1)) / 2
    scale = np.sqrt(np.maximum(np.einsum("nii->ni", information), 1e-30))
    normal = information / (scale[:, :, None] * scale[:, None, :])
    covariance = np.linalg.pinv(normal, rcond=1e-9, hermitian=True)
    variances = np.einsum("nii->ni", covariance)[:, :3] / scale[:, :3] ** 2
    # Where two noisy halves do not even agree on the sign, nothing is known of the information.
    defined = (variances > 0) & (variances < HIGHEST_CRLB_NM**2)
    sx, sy, sz = np.where(defined, np.sqrt(np.abs(variances)), np.nan).T
    return sx, sy, sz


@dataclass(frozen=True)
class EmpiricalPsf:
    """Mean bead images by place and depth, as two independent halves.

    Attributes
    ----------
    halves : ndarray, shape (2, places, Z, size, size)
        Photons per pixel for one photon of a focused spot.
    places : ndarray, shape (places, 2)
        x, y of the places, sensor pixels.
    z_nm : ndarray, shape (Z,)
    pixel_size_nm : float
    """

    halves: F64
    places: F64
    z_nm: F64
    pixel_size_nm: float

    def crlb(
        self,
        x: ArrayLike,
        y: ArrayLike,
        z_nm: ArrayLike,
        photons: ArrayLike,
        background: ArrayLike,
        response: CameraResponse,
    ) -> tuple[F64, F64, F64]:
        """Return the CRLB of x, y, z (nm) of emitters at sensor positions `x`, `y` and depths `z_nm`, as `crlb`."""
        place = np.stack([np.atleast_1d(np.asarray(x, float)), np.atleast_1d(np.asarray(y, float))], axis=1)
        nearest = np.argmin(np.sum((place[:, None] - self.places[None]) ** 2, axis=2), axis=1)
        depth = np.clip(
            np.rint((np.asarray(z_nm, float) - self.z_nm[0]) / Z_STEP_NM).astype(int), 0, len(self.z_nm) - 1
        )
        halves = [[image[nearest, depth] for image in images] for images in self._images()]
        excess = response.excess_noise
        seen, around = np.asarray(photons, float) / excess, np.asarray(background, float) / excess
        return _bound(halves[0], halves[1], seen, around, response.effective().read_noise_e)

    def _images(self) -> list[list[F64]]:
        images = []
        for half in self.halves:
            by_y, by_x = np.gradient(half, self.pixel_size_nm, axis=(2, 3))
            images.append([half, -by_x, -by_y, np.gradient(half, Z_STEP_NM, axis=1)])
        return images


def empirical_psf(beads: BeadDataset, roi_px: int = PATCH_PX) -> EmpiricalPsf:
    """Average the accepted beads around each of 5x5 places in the field, smoothed along z by a spline.

    Beads count by their light: a dim one tells less. The halves are of different beads; of every second plane, where
    beads are fewer than four.

    Parameters
    ----------
    beads : BeadDataset
    roi_px : int
        Edge of the images: the limit is that of the light within.

    Raises
    ------
    InputError
        No accepted bead, or one without a plane near its focus.
    """
    chosen = np.flatnonzero(beads.accepted)
    if not len(chosen):
        raise InputError("no bead is accepted: the PSF cannot be measured; see why they were rejected")
    low = max(-Z_RANGE_NM, float(np.nanmax(np.nanmin(beads.z_nm[chosen], axis=1))))
    high = min(Z_RANGE_NM, float(np.nanmin(np.nanmax(beads.z_nm[chosen], axis=1))))
    z_nm = np.arange(np.ceil(low / Z_STEP_NM), np.floor(high / Z_STEP_NM) + 1) * Z_STEP_NM
    stacks = [_registered(beads, int(bead), roi_px) for bead in chosen]
    place = np.stack([beads.x[chosen], beads.y[chosen]], axis=1)
    several = len(chosen) >= MIN_BEADS
    if beads.field_known and several:
        ticks = [(np.arange(GRID) + 0.5) / GRID * size for size in beads.field_size_px]
        places = np.stack(np.meshgrid(*ticks), axis=-1).reshape(-1, 2)
    else:
        places = place.mean(axis=0, keepdims=True)
    halves = np.empty((2, len(places), len(z_nm), roi_px, roi_px))
    for index, at in enumerate(places):
        order = np.argsort(np.hypot(*(place - at).T), kind="stable")
        near = order[:BEADS_PER_PLACE] if beads.field_known else order
        for half in (0, 1):
            members = [stacks[bead] for bead in near[half::2]] if several else [one.planes(half) for one in stacks]
            halves[half, index] = _smooth(members, z_nm)
    return EmpiricalPsf(halves, places, z_nm, beads.pixel_size_nm)


@dataclass(frozen=True)
class _Registered:
    """Registered images (P, size * size) of one bead, for one photon of its focused spot, and how bright it was."""

    z_nm: F64
    images: F64
    photons: float

    def planes(self, first: int) -> _Registered:
        """Return every second plane."""
        return _Registered(self.z_nm[first::2], self.images[first::2], self.photons)


def _registered(beads: BeadDataset, bead: int, roi_px: int) -> _Registered:
    z_nm, photons, brightness = bead_photons(beads, bead)
    images = register(photons, *beads.centres(bead, z_nm), roi_px).astype(float) / brightness
    return _Registered(z_nm, images, brightness)


def _smooth(members: list[_Registered], z_nm: F64) -> F64:
    """Return a least-squares cubic spline along z through all planes of several beads, at `z_nm`."""
    z = np.concatenate([member.z_nm for member in members])
    values = np.concatenate([member.images for member in members])
    # An image for one photon has shot noise of variance 1 / photons.
    root = np.concatenate([np.full(len(member.z_nm), np.sqrt(member.photons)) for member in members])
    size = math.isqrt(values.shape[1])
    order = np.argsort(z, kind="stable")
    z, values, root = z[order], values[order], root[order]
    inside = (z >= z_nm[0] - KNOT_NM) & (z <= z_nm[-1] + KNOT_NM)
    z, values, root = z[inside], values[inside], root[inside]
    if len(z) < FEWEST:
        raise InputError(
            f"only {len(z)} planes of a bead's stack lie within {z_nm[0]:.0f} to {z_nm[-1]:.0f} nm of its focus, and "
            f"its image through focus takes {FEWEST}: take stacks in smaller steps"
        )
    # Planes farther apart than knots would leave a knot without any.
    pitch = max(KNOT_NM, 1.2 * float(np.max(np.diff(z), initial=0.0)))
    inner = np.arange(z_nm[0], z_nm[-1] + 1, pitch)
    inner = inner[(inner > z[3]) & (inner < z[-4])]
    knots = np.concatenate([[z[0]] * 4, inner, [z[-1]] * 4])
    spline = make_lsq_spline(z, values, knots, k=3, w=root)
    return np.asarray(spline(z_nm)).reshape(len(z_nm), size, size)
