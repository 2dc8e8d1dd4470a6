"""Images of a freely rotating dipole through an aberrated oil objective, by fast Fourier transform of its pupil.

The far field of a dipole at a glass-water interface [1]_, in the directions that the objective collects, is its pupil
function; five transforms (three dipoles, two field components) and the sum of their squares are the image [2]_. Camera
pixels are integrated in the Fourier domain, where that is exact. Nothing here is shared with `easyzloc_mm.simulator`:
not the transform, not the aberrations, not the pixels, not the noise.

References
----------
.. [1] D. Axelrod, "Fluorescence excitation and imaging of single molecules near dielectric-coated and bare surfaces",
   J. Microsc. 247, 147-160 (2012), doi:10.1111/j.1365-2818.2012.03625.x.
.. [2] F. Aguet et al., "Super-resolution orientation estimation and localization of fluorescent dipoles using 3-D
   steerable filters", Opt. Express 17, 6829-6848 (2009), doi:10.1364/OE.17.006829.
.. [3] S. R. P. Pavani et al., "Three-dimensional, single-molecule fluorescence imaging beyond the diffraction limit by
   using a double-helix point spread function", PNAS 106, 2995-2999 (2009), doi:10.1073/pnas.0900245106.
.. [4] Y. Shechtman et al., "Optimal point spread function design for 3D imaging", Phys. Rev. Lett. 113, 133902 (2014),
   doi:10.1103/PhysRevLett.113.133902.
.. [5] D. Baddeley, M. B. Cannell and C. Soeller, "Three-dimensional sub-100 nm super-resolution imaging of biological
   samples using a phase ramp in the objective pupil", Nano Res. 4, 589-598 (2011), doi:10.1007/s12274-011-0115-z.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from easyzloc_mm._models import FrozenModel
from easyzloc_mm.typing import F64, Bool

SAMPLES_PER_PIXEL = 2
"""Of the image: 55 nm, where the light's finest period is 233 nm."""
GRID = 256
"""Samples of pupil and image per axis; the image repeats after 14 um."""

Complex = NDArray[np.complex64]


class Mask(StrEnum):
    """What stands in the pupil besides the lens's own aberrations."""

    NONE = "none"
    ASTIGMATIC = "astigmatic"
    """A cylindrical lens: 0.9 rad rms of astigmatism."""
    DOUBLE_HELIX = "double-helix"
    """Five optical vortices in a row [3]_: two lobes that turn with depth."""
    TETRAPOD = "tetrapod"
    """Astigmatism of two orders against each other [4]_: two lobes, across below focus and upright above."""
    PHASE_RAMP = "phase-ramp"
    """A wedge before each half of the pupil, tilted against the other [5]_: two lobes that pass each other."""

    @property
    def lens(self) -> Lens:
        """The objective with this mask: one with little spherical aberration, where a mask has to do the work."""
        return Lens() if self is Mask.NONE else Lens(mask=self, **WELL_CORRECTED)


VORTICES = (-0.8, -0.4, 0.0, 0.4, 0.8)
"""Places along x of the double helix's vortices, in pupil radii."""
RAMP_RAD = 7.0
"""Phase of a wedge at the pupil's edge."""


ADDABLE = ("spherical", "trefoil", "astigmatism 0", "astigmatism 45", "coma x", "coma y")
"""Aberrations by which a lens may differ from another one all over the field."""
WELL_CORRECTED: dict[str, Any] = {"spherical_rad": 0.15, "secondary_spherical_rad": 0.0, "field_coma_rad": 0.15}


class Lens(FrozenModel):
    """An objective with its aberrations: Zernike terms in radians rms, some of which change over the field.

    Attributes
    ----------
    na, oil_index, water_index, wavelength_nm, pixel_size_nm : float
        Molecules lie in water on the glass.
    spherical_rad, secondary_spherical_rad, trefoil_rad : float
        The same all over the field.
    coma_rad, astigmatism_rad : (float, float)
        At the middle of the field, both components.
    field_coma_rad, field_astigmatism_rad : float
        Added at the edge of the field: coma that points outwards, astigmatism along and across the radius.
    mask : Mask
        An engineered PSF.
    depth_nm : float
        Of the molecules in the water, above the glass; the stage is where that depth is about in focus.
    """

    na: float = 1.46
    oil_index: float = 1.518
    water_index: float = 1.333
    wavelength_nm: float = 680.0
    pixel_size_nm: float = 110.0
    spherical_rad: float = 0.65
    secondary_spherical_rad: float = 0.1
    trefoil_rad: float = 0.12
    coma_rad: tuple[float, float] = (0.12, -0.08)
    astigmatism_rad: tuple[float, float] = (0.15, 0.1)
    field_coma_rad: float = 0.3
    field_astigmatism_rad: float = 0.3
    mask: Mask = Mask.NONE
    depth_nm: float = 0.0

    @property
    def half_px(self) -> int:
        """Camera pixels to either side of a molecule that its light is drawn on: lobes go far."""
        return 13 if self.mask is Mask.NONE else 20

    @property
    def sample_nm(self) -> float:
        """Distance of the image's samples."""
        return self.pixel_size_nm / SAMPLES_PER_PIXEL

    def with_added(self, aberrations_rad: Mapping[str, float]) -> Lens:
        """Return a lens with more aberrations, all over the field: those that are named, rad rms.

        ``spherical``, ``trefoil``, ``astigmatism 0``, ``astigmatism 45``, ``coma x``, ``coma y``.
        """
        added = dict.fromkeys(ADDABLE, 0.0) | dict(aberrations_rad)
        return self.model_copy(
            update={
                "spherical_rad": self.spherical_rad + added["spherical"],
                "trefoil_rad": self.trefoil_rad + added["trefoil"],
                "astigmatism_rad": (
                    self.astigmatism_rad[0] + added["astigmatism 0"],
                    self.astigmatism_rad[1] + added["astigmatism 45"],
                ),
                "coma_rad": (self.coma_rad[0] + added["coma x"], self.coma_rad[1] + added["coma y"]),
            }
        )

    @cached_property
    def _pupil(self) -> _Pupil:
        return _Pupil(self)

    def aberration_rad(self, u: float, v: float) -> F64:
        """Phase of the pupil, shape (GRID, GRID), at field coordinates from -1 to 1."""
        x, y = self._pupil.x, self._pupil.y
        square = x * x + y * y
        coma_x, coma_y = self.coma_rad[0] + self.field_coma_rad * u, self.coma_rad[1] + self.field_coma_rad * v
        straight = self.astigmatism_rad[0] + self.field_astigmatism_rad * (u * u - v * v)
        oblique = self.astigmatism_rad[1] + self.field_astigmatism_rad * 2 * u * v
        return np.asarray(
            self.spherical_rad * np.sqrt(5) * (6 * square**2 - 6 * square + 1)
            + self.secondary_spherical_rad * np.sqrt(7) * (20 * square**3 - 30 * square**2 + 12 * square - 1)
            + self.trefoil_rad * np.sqrt(8) * (x**3 - 3 * x * y * y)
            + np.sqrt(8) * (3 * square - 2) * (coma_x * x + coma_y * y)
            + np.sqrt(6) * (straight * (x * x - y * y) + oblique * 2 * x * y)
            + self._mask_rad(x, y)
        )

    def _mask_rad(self, x: F64, y: F64) -> F64:
        saddle = x * x - y * y
        if self.mask is Mask.ASTIGMATIC:
            return np.asarray(0.9 * np.sqrt(6) * saddle)
        if self.mask is Mask.TETRAPOD:
            return np.asarray((1.5 * np.sqrt(6) - 0.9 * np.sqrt(10) * (4 * (x * x + y * y) - 3)) * saddle)
        if self.mask is Mask.DOUBLE_HELIX:
            vortices: F64 = np.sum([np.arctan2(y, x - at) for at in VORTICES], axis=0)
            return vortices
        if self.mask is Mask.PHASE_RAMP:
            return np.asarray(RAMP_RAD * np.sign(y) * x)
        return np.zeros_like(x)

    def images(self, u: float, v: float, z_nm: F64, half_px: int) -> F64:
        """Images of a molecule at one place and several depths, per photon, free of noise.

        Parameters
        ----------
        u, v : float
            Place in the field, -1 to 1.
        z_nm : ndarray, shape (n,)
            Stage position above nominal focus, nm.
        half_px : int
            Camera pixels to either side of the molecule.

        Returns
        -------
        ndarray, shape (n, s, s), s = 2 * half_px * SAMPLES_PER_PIXEL + 1
            Share of the collected photons in a camera pixel that is centred on the sample. The molecule is at the
            middle sample.
        """
        pupil = self._pupil
        lit, columns = pupil.lit, pupil.columns
        static = pupil.fields[:, lit] * np.exp(1j * self.aberration_rad(u, v)[lit])
        if self.depth_nm:
            static *= np.exp(1j * self.depth_nm * pupil.through_water_rad_per_nm[lit])
        axial = pupil.axial_rad_per_nm[lit]
        waves: Complex = np.zeros((len(static), GRID, GRID), np.complex64)
        half = half_px * SAMPLES_PER_PIXEL
        middle = np.arange(-half, half + 1)
        found = np.empty((len(z_nm), len(middle), len(middle)))
        for row, z in enumerate(np.asarray(z_nm, float)):
            waves[:, lit] = static * np.exp(1j * z * axial)
            # Columns without light stay without it: the first of the two transforms leaves them out.
            image = waves.copy()
            image[:, :, columns] = fft.ifft(waves[:, :, columns], axis=1)
            image = fft.ifft(image, axis=2, overwrite_x=True)
            power = np.tensordot(pupil.weights, image.real**2 + image.imag**2, axes=1)
            pixels = fft.irfft2(fft.rfft2(power) * pupil.pixel, s=power.shape)
            found[row] = pixels[np.ix_(middle, middle)]
        return found


class _Pupil:
    """What all images of a lens have in common, on the grid of the transform."""

    def __init__(self, lens: Lens) -> None:
        frequency = fft.fftfreq(GRID, lens.sample_nm)
        sine_y, sine_x = np.meshgrid(lens.wavelength_nm * frequency, lens.wavelength_nm * frequency, indexing="ij")
        sine = np.hypot(sine_x, sine_y)
        cell = float(lens.wavelength_nm * frequency[1])
        inside = np.clip((lens.na - sine) / cell + 0.5, 0.0, 1.0)
        scale = np.where(sine > lens.na, lens.na / np.maximum(sine, 1e-12), 1.0) / lens.na
        self.x, self.y = sine_x * scale, sine_y * scale
        sine = np.minimum(sine, lens.na)
        oil, water = lens.oil_index, lens.water_index
        cos_oil = np.sqrt(1 - (sine / oil) ** 2)
        cos_water = np.sqrt((1 - (sine / water) ** 2).astype(complex))
        self.axial_rad_per_nm = np.where(inside > 0, 2 * np.pi * oil * cos_oil / lens.wavelength_nm, 0.0)
        self.through_water_rad_per_nm = self._refocused(2 * np.pi * water * cos_water / lens.wavelength_nm, inside > 0)
        # Fresnel transmission out of the water, over the water's cosine: the dipole's spectrum of plane waves.
        parallel = 2 * water / (oil * cos_water + water * cos_oil)
        across = 2 * water / (water * cos_water + oil * cos_oil)
        brightness = inside * np.sqrt(cos_oil)
        distance = np.maximum(np.hypot(self.x, self.y), 1e-12)
        cos_phi, sin_phi = self.x / distance, self.y / distance
        cos_phi[0, 0], sin_phi[0, 0] = 1.0, 0.0
        radial, tangential = parallel * cos_water * brightness, across * brightness
        upright = -parallel * sine / water * brightness
        fields = np.stack(
            [
                radial * cos_phi**2 + tangential * sin_phi**2,
                radial * sin_phi**2 + tangential * cos_phi**2,
                (radial - tangential) * sin_phi * cos_phi,
                upright * cos_phi,
                upright * sin_phi,
            ]
        )
        # A dipole along x gives a y field, and one along y the same x field.
        self.weights = np.array([1.0, 1.0, 2.0, 1.0, 1.0])
        energy = float(np.sum(self.weights[:, None, None] * np.abs(fields) ** 2)) / GRID**2
        self.lit = inside > 0
        self.columns = np.flatnonzero(self.lit.any(axis=0))
        self.fields: Complex = (fields / np.sqrt(energy)).astype(np.complex64)
        sinc = np.sinc(frequency * lens.pixel_size_nm)
        half = np.sinc(fft.rfftfreq(GRID, lens.sample_nm) * lens.pixel_size_nm)
        self.pixel = SAMPLES_PER_PIXEL**2 * sinc[:, None] * half[None, :]

    def _refocused(self, water: NDArray[np.complex128], lit: Bool) -> NDArray[np.complex128]:
        """Return the phase of a nanometre of water, less what moving the stage makes of it: evanescent light fades."""
        travelling = lit & (water.imag == 0)
        oil = self.axial_rad_per_nm[travelling] - self.axial_rad_per_nm[travelling].mean()
        stage = float(np.sum(oil * water.real[travelling]) / np.sum(oil**2))
        return np.asarray(water - stage * self.axial_rad_per_nm)
