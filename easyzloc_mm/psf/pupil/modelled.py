"""Images of a computed pupil in the form of the measured PSF: cubic B-splines in z, y and x, pixels integrated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.integrate import quad

from easyzloc_mm.numerics.spline import cubic_b_spline
from easyzloc_mm.optics.pupil import Pupil, deep_pupil, image_fields, intensity, phase
from easyzloc_mm.profile.schema import Optics
from easyzloc_mm.psf.bead_psf import PITCH_PX
from easyzloc_mm.typing import F64, AnyFloat

NOLLS = (5, 6, 7, 8, 9, 10, 11, 22)
"""Terms of a wavefront: astigmatism, coma, trefoil, primary and secondary spherical."""
SAMPLES = 40
"""Of the pupil, per axis: the image repeats after 40 wavelengths / (2 NA), some 9 um."""
MARGIN = 6
"""Knots by which images are computed beyond the wanted ones, where the ends of the filters are felt."""
PIXEL_TAPS = tuple(
    quad(lambda t, m=m: cubic_b_spline(np.array([t - m]))[0], -0.5 / PITCH_PX, 0.5 / PITCH_PX)[0] * PITCH_PX
    for m in range(-2, 3)
)
"""Mean over a pixel of a spline, by coefficients from two knots below to two above."""


@dataclass(frozen=True)
class PupilImages:
    """The images that an objective makes of a point.

    Attributes
    ----------
    optics : Optics
    knots : int
        Lateral, per axis.
    blur_px : float
        Standard deviation of what widens images beside the optics: the bead's size, the modelling.
    depth_nm : float
        Of the point above the glass, in the sample's medium (`optics.pupil.deep_pupil`); images count from about
        where that depth is in focus, and per photon that is collected from there.
    walk : (float, float)
        nm along x and y by which images go sideways per nm of z: beads, on a stage that does not rise straight.
    """

    optics: Optics
    knots: int
    blur_px: float = 0.0
    depth_nm: float = 0.0
    walk: tuple[float, float] = (0.0, 0.0)

    @property
    def _pupil(self) -> Pupil:
        return deep_pupil(self.optics, SAMPLES, NOLLS, self.depth_nm)

    def at_knots(self, wavefront_rad: AnyFloat, z_nm: AnyFloat, *, x_nm: float = 0.0, y_nm: float = 0.0) -> F64:
        """Return images of one photon at depths `z_nm`, at the lateral knots of the measured PSF.

        Parameters
        ----------
        wavefront_rad : array_like, shape (len(NOLLS),)
            Zernike coefficients, rad rms.
        z_nm : array_like, shape (n,)
        x_nm, y_nm : float
            The emitter at z = 0, from the middle knot.

        Returns
        -------
        ndarray, shape (n, knots, knots)
            Photons in a camera pixel that is centred on the knot.
        """
        coefficients = self._lateral(wavefront_rad, z_nm, x_nm, y_nm)
        inner = slice(MARGIN, -MARGIN)
        for axis in (1, 2):
            coefficients = ndimage.convolve1d(coefficients, [1 / 6, 2 / 3, 1 / 6], axis=axis)
        return coefficients[:, inner, inner]

    def coefficients(
        self,
        wavefront_rad: AnyFloat,
        z_start_nm: float,
        z_pitch_nm: float,
        planes: int,
        *,
        x_nm: float = 0.0,
        y_nm: float = 0.0,
    ) -> F64:
        """Return B-spline coefficients, shape (planes, knots, knots), as of `SplinePsf`, for z knots from `z_start_nm`.

        Parameters
        ----------
        wavefront_rad : array_like, shape (len(NOLLS),)
        z_start_nm, z_pitch_nm : float
        planes : int
            z knots.
        x_nm, y_nm : float
            As for `at_knots`.
        """
        z_nm = z_start_nm + z_pitch_nm * np.arange(-2, planes + 2)
        lateral = self._lateral(wavefront_rad, z_nm, x_nm, y_nm)
        inner = slice(MARGIN, -MARGIN)
        return np.asarray(ndimage.spline_filter1d(lateral[:, inner, inner], 3, axis=0, mode="mirror")[2:-2])

    def _lateral(self, wavefront_rad: AnyFloat, z_nm: AnyFloat, x_nm: float, y_nm: float) -> F64:
        """B-spline coefficients in y and x, with a margin."""
        pitch_nm = PITCH_PX * self.optics.pixel_size_nm
        knots = pitch_nm * np.arange(-(self.knots // 2) - MARGIN, self.knots // 2 + MARGIN + 1)
        pupil = self._pupil
        fields = [
            intensity(
                image_fields(
                    phase(pupil, wavefront_rad, z),
                    knots - x_nm - self.walk[0] * z,
                    knots - y_nm - self.walk[1] * z,
                    pupil,
                ),
                pupil,
            )
            for z in np.asarray(z_nm, float)
        ]
        images = np.asarray(np.stack(fields) * self.optics.pixel_size_nm**2, np.float64)
        # What is sampled passes through two filters: from samples to coefficients, over the pixel, and back.
        for axis in (1, 2):
            images = ndimage.spline_filter1d(images, 3, axis=axis, mode="mirror")
            images = ndimage.convolve1d(images, PIXEL_TAPS, axis=axis)
            if self.blur_px:
                images = ndimage.gaussian_filter1d(images, self.blur_px / PITCH_PX, axis=axis)
            images = ndimage.spline_filter1d(images, 3, axis=axis, mode="mirror")
        return images
