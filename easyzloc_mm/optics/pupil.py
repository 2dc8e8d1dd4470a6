"""Vectorial high-NA point spread function (PSF) of a freely rotating dipole, by matrix Fourier transform.

The image of one molecule is the sum of the images of three orthogonal dipoles in two field components [2]_ [3]_,
through the pupil of an aplanatic objective [1]_. The pupil is sampled on a square grid, aberrations are Noll's Zernike
terms [4]_ in radians rms, and only the wanted image points are computed, by a matrix Fourier transform [5]_ (a chirp
transform serves as well [6]_), so that image and pupil sampling are independent of each other.

References
----------
.. [1] B. Richards and E. Wolf, "Electromagnetic diffraction in optical systems II", Proc. R. Soc. A 253, 358-379
   (1959), doi:10.1098/rspa.1959.0200.
.. [2] K. I. Mortensen et al., "Optimized localization analysis for single-molecule tracking and super-resolution
   microscopy", Nat. Methods 7, 377-381 (2010), doi:10.1038/nmeth.1447.
.. [3] S. Stallinga and B. Rieger, "Accuracy of the Gaussian point spread function model in 2D localization
   microscopy", Opt. Express 18, 24461-24476 (2010), doi:10.1364/OE.18.024461.
.. [4] R. J. Noll, "Zernike polynomials and atmospheric turbulence", J. Opt. Soc. Am. 66, 207-211 (1976),
   doi:10.1364/JOSA.66.000207.
.. [5] R. Soummer et al., "Fast computation of Lyot-style coronagraph propagation", Opt. Express 15, 15935-15951
   (2007), doi:10.1364/OE.15.015935.
.. [6] M. Leutenegger et al., "Fast focus field calculations", Opt. Express 14, 11277-11291 (2006),
   doi:10.1364/OE.14.011277.
.. [7] S. Hell et al., "Aberrations in confocal fluorescence microscopy induced by mismatches in refractive index",
   J. Microsc. 169, 391-405 (1993), doi:10.1111/j.1365-2818.1993.tb03315.x.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.profile.schema import Optics
from easyzloc_mm.typing import AnyFloat

ZERNIKES = (5, 6, 7, 8, 11)
"""Noll numbers of the embedded microscope: oblique and vertical astigmatism, vertical and horizontal coma, primary
spherical. `zernike` knows trefoil (9, 10) and secondary spherical (22) too."""
EDGE_SUBSAMPLES = 5
DEPTH_SUBSAMPLES = 5
"""Points per axis of a cell of the pupil, over which the way through the sample is averaged."""


@dataclass(frozen=True, eq=False)
class Pupil:
    """The sampled exit pupil.

    Attributes
    ----------
    k : ndarray, shape (N,)
        Transverse wave numbers of the grid, rad/nm.
    kz : ndarray, shape (N, N)
        Axial wave number in the immersion medium, rad/nm; 0 outside the aperture.
    fields : ndarray, shape (5, N, N)
        Pupil amplitudes of the five different dipole-to-field components (x-x, x-y, y-y, z-x, z-y).
    weights : ndarray, shape (5,)
        How often each component counts: x-y equals y-x.
    zernikes : ndarray, shape (len(nolls), N, N)
        Zernike terms, 1 rad rms each.
    energy : float
        Image energy of all components on an infinite camera.
    """

    k: AnyFloat
    kz: AnyFloat
    fields: NDArray[np.complex64]
    weights: AnyFloat
    zernikes: AnyFloat
    energy: float


@lru_cache(maxsize=16)
def make_pupil(optics: Optics, samples: int, nolls: tuple[int, ...] = ZERNIKES) -> Pupil:
    """Return the pupil of `optics`, sampled on `samples` x `samples` points, with the Zernike terms `nolls`.

    The image period is ``samples * emission / (2 NA)``: choose `samples` so that a defocused image fits in.
    """
    k0 = 2 * np.pi / optics.emission_nm
    edge = k0 * optics.na
    step = 2 * edge / samples
    k = (np.arange(samples) - (samples - 1) / 2) * step
    kx, ky = np.meshgrid(k, k)
    rho = np.hypot(kx, ky) / edge
    phi = np.arctan2(ky, kx)
    coverage = _coverage(samples)
    # Points whose cell straddles the edge are taken at the edge, weighted with the part that lies inside.
    sine = np.minimum(rho, 1.0) * optics.na / optics.immersion_index
    cosine = np.sqrt(1 - sine**2)
    fields = _dipole_fields(optics, sine, cosine, phi) * coverage
    weights = np.array([1.0, 2.0, 1.0, 1.0, 1.0])
    energy = (2 * np.pi) ** 2 * float(np.sum(weights[:, None, None] * np.abs(fields) ** 2)) * step**2
    radius = np.minimum(rho, 1.0)
    return Pupil(
        k=k,
        kz=np.where(coverage > 0, k0 * optics.immersion_index * cosine, 0.0),
        fields=(fields * step**2).astype(np.complex64),
        weights=weights,
        zernikes=np.stack([zernike(number, radius, phi) for number in nolls]),
        energy=energy,
    )


@lru_cache(maxsize=16)
def deep_pupil(optics: Optics, samples: int, nolls: tuple[int, ...], depth_nm: float) -> Pupil:
    """Return the pupil of molecules at a depth in the sample's medium, as `make_pupil` does at the glass.

    Each cell has the mean over it (of `through_sample`): light from beyond the critical angle fades within a small part
    of one. The energy is that of the light that is collected from there.
    """
    fine = make_pupil(optics, DEPTH_SUBSAMPLES * samples, nolls)
    factor = through_sample(optics, fine, depth_nm)
    cells = (fine.fields * factor).reshape(-1, samples, DEPTH_SUBSAMPLES, samples, DEPTH_SUBSAMPLES)
    return replace(
        make_pupil(optics, samples, nolls), fields=cells.sum(axis=(2, 4)), energy=fine.energy * collected(fine, factor)
    )


def zernike(noll: int, radius: AnyFloat, angle: AnyFloat) -> AnyFloat:
    """Return the Zernike term of Noll's number `noll` at polar coordinates, root mean square 1 over the unit disc."""
    terms = {
        5: lambda r, a: np.sqrt(6) * r**2 * np.sin(2 * a),
        6: lambda r, a: np.sqrt(6) * r**2 * np.cos(2 * a),
        7: lambda r, a: np.sqrt(8) * (3 * r**3 - 2 * r) * np.sin(a),
        8: lambda r, a: np.sqrt(8) * (3 * r**3 - 2 * r) * np.cos(a),
        9: lambda r, a: np.sqrt(8) * r**3 * np.sin(3 * a),
        10: lambda r, a: np.sqrt(8) * r**3 * np.cos(3 * a),
        11: lambda r, a: np.sqrt(5) * (6 * r**4 - 6 * r**2 + 1),
        22: lambda r, a: np.sqrt(7) * (20 * r**6 - 30 * r**4 + 12 * r**2 - 1),
    }
    return np.asarray(terms[noll](radius, angle))


def _dipole_fields(optics: Optics, sine: AnyFloat, cosine: AnyFloat, phi: AnyFloat) -> NDArray[np.complex128]:
    """Return the field components behind the objective per dipole axis, through the sample's interface (Fresnel)."""
    ratio = optics.immersion_index / optics.sample_index
    # Beyond the critical angle the sample-side cosine is imaginary: supercritical emission at the glass.
    cosine_sample = np.sqrt((1 - (ratio * sine) ** 2).astype(complex))
    # Both transmissions carry the 1/cos(sample) of the plane-wave spectrum; the root is the apodisation.
    apodisation = np.sqrt(cosine) * 2 * optics.sample_index
    p = apodisation / (optics.sample_index * cosine + optics.immersion_index * cosine_sample)
    s = apodisation / (optics.sample_index * cosine_sample + optics.immersion_index * cosine)
    c, d = np.cos(phi), np.sin(phi)
    return np.stack(
        [
            p * cosine_sample * c * c + s * d * d,
            (p * cosine_sample - s) * c * d,
            p * cosine_sample * d * d + s * c * c,
            -p * ratio * sine * c,
            -p * ratio * sine * d,
        ]
    )


def _coverage(samples: int) -> AnyFloat:
    """Return the part of each pupil cell that lies inside the aperture: a soft edge converges fast with the grid."""
    fine = samples * EDGE_SUBSAMPLES
    grid = (np.arange(fine) - (fine - 1) / 2) * 2 / fine
    inside = (grid[:, None] ** 2 + grid[None, :] ** 2 <= 1).astype(float)
    return np.asarray(inside.reshape(samples, EDGE_SUBSAMPLES, samples, EDGE_SUBSAMPLES).mean(axis=(1, 3)))


def phase(pupil: Pupil, zernike_rad: AnyFloat, defocus_nm: float) -> NDArray[np.complex64]:
    """Return the aberration (rad rms) and defocus (nm) factor of the pupil, shape (N, N)."""
    angle = np.tensordot(zernike_rad, pupil.zernikes, axes=1) + pupil.kz * defocus_nm
    return np.exp(1j * angle).astype(np.complex64)


def through_sample(optics: Optics, pupil: Pupil, depth_nm: float) -> NDArray[np.complex64]:
    """Return the pupil's factor by what lies of the sample's medium between a molecule and the glass, shape (N, N).

    All orders of the aberration that the step of the index makes [7]_, less the travel of the stage that undoes most of
    it. Light beyond the critical angle is evanescent there: it fades with depth.

    Parameters
    ----------
    optics : Optics
    pupil : Pupil
        Of these optics.
    depth_nm : float
        Of the molecule above the glass; negative where z counts against it, which turns the phase around.
    """
    wave = 2 * np.pi / optics.emission_nm
    transverse = np.minimum(np.hypot(*np.meshgrid(pupil.k, pupil.k)), wave * optics.na)
    axial = np.sqrt((wave * optics.sample_index) ** 2 - transverse.astype(complex) ** 2)
    weight = np.where(axial.imag == 0, _power(pupil), 0.0)
    weight /= weight.sum()
    travel = pupil.kz - np.sum(weight * pupil.kz)
    refocus = float(np.sum(weight * travel * axial.real) / np.sum(weight * travel**2))
    phase_rad = depth_nm * (axial.real - refocus * pupil.kz)
    return np.asarray(np.exp(1j * phase_rad - abs(depth_nm) * axial.imag), np.complex64)


def collected(pupil: Pupil, factors: NDArray[np.complex64]) -> float:
    """Return the share of the light that a pupil factor (N, N) leaves."""
    power = _power(pupil)
    return float(np.sum(power * np.abs(factors) ** 2) / np.sum(power))


def _power(pupil: Pupil) -> AnyFloat:
    """Return the light of all dipoles at each point, shape (N, N)."""
    return np.asarray(np.tensordot(pupil.weights, np.abs(pupil.fields) ** 2, axes=1))


def image_fields(factors: NDArray[np.complex64], x_nm: AnyFloat, y_nm: AnyFloat, pupil: Pupil) -> NDArray[np.complex64]:
    """Return the fields at image points ``(y, x)``, shape (5, len(y_nm), len(x_nm)), for a pupil factor (N, N)."""
    to_x = np.exp(1j * np.outer(pupil.k, x_nm)).astype(np.complex64)
    to_y = np.exp(1j * np.outer(y_nm, pupil.k)).astype(np.complex64)
    return np.asarray(to_y @ ((pupil.fields * factors) @ to_x))


def intensity(fields: NDArray[np.complex64], pupil: Pupil) -> AnyFloat:
    """Return the energy per nm^2 of unit emission, from `image_fields`."""
    power = fields.real.astype(np.float64) ** 2 + fields.imag.astype(np.float64) ** 2
    return np.tensordot(pupil.weights, power, axes=1) / pupil.energy
