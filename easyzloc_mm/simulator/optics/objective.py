"""The objective of the embedded microscope: aberrations over the field, focal surface, exact images.

Normalisation: `photons` of an emitter are those that reach an infinitely large camera (all energy in the
pupil), so an image of the model sums to a little less than 1, by what falls outside its edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.optics.pupil import Pupil, image_fields, intensity, make_pupil, phase
from easyzloc_mm.profile.schema import Optics, Profile
from easyzloc_mm.typing import F64, AnyFloat

FIELD_MARGIN = 1.1
"""Aberrations are defined to a little beyond the sensor, for emitters whose light still falls on it."""
PIXEL_NODES = np.array([-np.sqrt(0.6), 0.0, np.sqrt(0.6)]) / 2
PIXEL_WEIGHTS = np.array([5.0, 8.0, 5.0]) / 18
"""Gauss-Legendre integration over one pixel."""
FOCUS_SEARCH_NM = np.arange(-400.0, 401.0, 50.0)
FIELD_POWERS = (
    (0, 0),
    (1, 0),
    (0, 1),
    (2, 0),
    (1, 1),
    (0, 2),
    (3, 0),
    (2, 1),
    (1, 2),
    (0, 3),
    (4, 0),
    (2, 2),
    (0, 4),
)
"""Powers of the field coordinates that describe where the focus of the aberrated image lies."""


@dataclass(frozen=True)
class Aberrations:
    """Aberrations of an unmodified objective, radians rms (Noll terms) and nanometres.

    Spherical stays near 0.55 rad; constant astigmatism is below 0.2; coma is linear in the field (0.4 rad in
    the corners), field astigmatism quadratic (0.4 rad in the corners), focus tilts and curves by up to 150
    nm.
    """

    spherical: float = 0.55
    spherical_field: float = -0.06
    astigmatism: tuple[float, float] = (0.08, 0.12)
    field_astigmatism: float = 0.2
    coma_field: float = 0.28
    coma_centre: tuple[float, float] = (0.12, -0.08)
    focus_tilt_nm: tuple[float, float] = (66.0, -42.0)
    focus_curvature_nm: float = 28.0


@dataclass(frozen=True)
class OpticsModel:
    """Exact images of a freely rotating dipole anywhere in the field of one camera.

    Parameters
    ----------
    optics : Optics
        NA, indices, wavelength, pixel size.
    width_px, height_px : int
        Camera; field-dependent aberrations scale with its half width and half height.
    aberrations : Aberrations
        The lens.
    """

    optics: Optics
    width_px: int
    height_px: int
    aberrations: Aberrations = Aberrations()

    def field(self, x_px: AnyFloat | float, y_px: AnyFloat | float) -> tuple[F64, F64]:
        """Return field coordinates u, v of sensor pixels: -1..1 from edge to edge."""
        u = (np.asarray(x_px, float) - (self.width_px - 1) / 2) / (self.width_px / 2)
        v = (np.asarray(y_px, float) - (self.height_px - 1) / 2) / (self.height_px / 2)
        return np.clip(u, -FIELD_MARGIN, FIELD_MARGIN), np.clip(v, -FIELD_MARGIN, FIELD_MARGIN)

    def zernike_rad(self, u: float, v: float) -> AnyFloat:
        """Return the coefficients of `pupil.ZERNIKES` (rad rms) at field coordinates u, v."""
        a = self.aberrations
        return np.array(
            [
                a.astigmatism[0] + a.field_astigmatism * 2 * u * v,
                a.astigmatism[1] + a.field_astigmatism * (u * u - v * v),
                a.coma_field * (v - a.coma_centre[1]),
                a.coma_field * (u - a.coma_centre[0]),
                a.spherical + a.spherical_field * (u * u + v * v) / 2,
            ]
        )

    def focal_surface_nm(self, x_px: AnyFloat, y_px: AnyFloat) -> AnyFloat:
        """Return the stage position (nm, relative to the field's mean) that focuses a bead at height 0 there."""
        u, v = self.field(x_px, y_px)
        a = self.aberrations
        bowl = u * u + v * v - 2 / 3
        return np.asarray(a.focus_tilt_nm[0] * u + a.focus_tilt_nm[1] * v + a.focus_curvature_nm * bowl)

    @cached_property
    def _best_focus(self) -> AnyFloat:
        """Polynomials over the field: z, x, y (nm) of the sharpest image against the pupil's own origin.

        Zernike terms shift focus and core of a high-NA image. Taking that shift out makes z = 0 and (x, y)
        mean the sharpest plane, and the middle of the image there.
        """
        nodes = np.linspace(-FIELD_MARGIN, FIELD_MARGIN, 5)
        u, v = (grid.ravel() for grid in np.meshgrid(nodes, nodes))
        found = np.array([self._find_focus(a, b) for a, b in zip(u, v, strict=True)])
        basis = np.stack([u**i * v**j for i, j in FIELD_POWERS], axis=1)
        return np.asarray(np.linalg.lstsq(basis, found, rcond=None)[0].T)

    def _find_focus(self, u: float, v: float) -> tuple[float, float, float]:
        pupil = make_pupil(self.optics, 64)
        grid = (np.arange(15) - 7) * self.optics.pixel_size_nm
        zernike = self.zernike_rad(u, v)

        def image(z_nm: float) -> AnyFloat:
            return intensity(image_fields(phase(pupil, zernike, z_nm), grid, grid, pupil), pupil)

        sharpness = np.array([np.sum(image(z) ** 2) for z in FOCUS_SEARCH_NM])
        best = int(np.clip(np.argmax(sharpness), 2, len(sharpness) - 3))
        curve = np.polyfit(FOCUS_SEARCH_NM[best - 2 : best + 3], sharpness[best - 2 : best + 3], 2)
        z_nm = float(-curve[1] / (2 * curve[0]))
        sharp = image(z_nm)
        x = y = 0.0
        width = 1.3 * self.optics.pixel_size_nm
        for _ in range(20):
            window = np.exp(-((grid[None, :] - x) ** 2 + (grid[:, None] - y) ** 2) / (2 * width**2)) * sharp
            # Of two overlapping Gaussians of like width the weighted mean lies half way.
            x += 2 * (float(np.sum(window * grid[None, :]) / window.sum()) - x)
            y += 2 * (float(np.sum(window * grid[:, None]) / window.sum()) - y)
        return z_nm, x, y

    def focus_shift_nm(self, u: float, v: float) -> tuple[float, float, float]:
        """Return pupil defocus, x and y of the sharpest image at field coordinates u, v (nm)."""
        terms = np.array([u**i * v**j for i, j in FIELD_POWERS])
        z, x, y = self._best_focus @ terms
        return float(z), float(x), float(y)

    def psf_stack(self, x_px: float, y_px: float, z_nm: AnyFloat, size: int) -> AnyFloat:
        """Return images of a point at sensor position x, y, centred on the middle pixel.

        Parameters
        ----------
        x_px, y_px : float
            Where in the field, sensor pixels.
        z_nm : array_like, shape (P,)
            Defocus relative to the local focal surface, positive as the stage rises.
        size : int
            Odd edge length of the images in pixels.

        Returns
        -------
        ndarray, shape (P, size, size)
            Photons per pixel for 1 emitted photon, integrated over the pixels.
        """
        u, v = (float(c) for c in self.field(x_px, y_px))
        zs = np.atleast_1d(np.asarray(z_nm, float))
        offsets = (np.arange(size) - size // 2) * self.optics.pixel_size_nm
        return np.stack([self._image(u, v, z, offsets, offsets) for z in zs])

    def psf_with_derivatives(
        self, x_px: AnyFloat, y_px: AnyFloat, dx_px: AnyFloat, dy_px: AnyFloat, z_nm: AnyFloat, size: int = 15
    ) -> tuple[AnyFloat, AnyFloat, AnyFloat, AnyFloat]:
        """Return images of many emitters with their derivatives, as the CRLB needs them; 1 to 2 ms each.

        Parameters
        ----------
        x_px, y_px : array_like, shape (n,)
            Where in the field, sensor pixels: choose the aberrations.
        dx_px, dy_px : array_like, shape (n,)
            Position of the emitter relative to the middle of the middle pixel.
        z_nm : array_like, shape (n,)
            Defocus relative to the local focal surface.
        size : int
            Odd edge length of the images in pixels.

        Returns
        -------
        psf, by_x, by_y, by_z : ndarray, shape (n, size, size)
            Image for 1 photon, and its derivatives by emitter position, per nm.
        """
        pixel = self.optics.pixel_size_nm
        rows = np.broadcast_arrays(*(np.atleast_1d(np.asarray(a, float)) for a in (x_px, y_px, dx_px, dy_px, z_nm)))
        count = len(rows[0])
        result = np.empty((4, count, size, size))
        grid = (np.arange(size) - size // 2) * pixel
        for index, (x, y, dx, dy, z) in enumerate(zip(*rows, strict=True)):
            u, v = (float(c) for c in self.field(x, y))
            result[:, index] = self._image_with_derivatives(u, v, z, grid - dx * pixel, grid - dy * pixel)
        return result[0], result[1], result[2], result[3]

    def pupil_for(self, z_nm: float, half_size_nm: float) -> Pupil:
        """Return a pupil sampled finely enough that a point at defocus `z_nm` does not wrap around into the image."""
        psf = 1.4 * abs(z_nm) + 2000.0 + half_size_nm
        samples = int(np.ceil(psf * 2 * self.optics.na / self.optics.emission_nm / 16) * 16)
        return make_pupil(self.optics, max(48, samples))

    def factor(self, pupil: Pupil, u: float, v: float, z_nm: float) -> NDArray[np.complex64]:
        """Return the pupil factor of a point that is in focus, and centred, at z = 0."""
        z0, x0, y0 = self.focus_shift_nm(u, v)
        kx, ky = pupil.k[None, :], pupil.k[:, None]
        centring = np.exp(1j * (kx * x0 + ky * y0)).astype(np.complex64)
        return phase(pupil, self.zernike_rad(u, v), z_nm + z0) * centring

    def _image(self, u: float, v: float, z_nm: float, x_nm: AnyFloat, y_nm: AnyFloat) -> AnyFloat:
        pupil = self.pupil_for(z_nm, float(np.abs(x_nm).max()))
        xs, ys = self._subpixels(x_nm), self._subpixels(y_nm)
        fields = image_fields(self.factor(pupil, u, v, z_nm), xs, ys, pupil)
        return self._integrate(intensity(fields, pupil))

    def _image_with_derivatives(self, u: float, v: float, z_nm: float, x_nm: AnyFloat, y_nm: AnyFloat) -> AnyFloat:
        pupil = self.pupil_for(z_nm, float(np.abs(x_nm).max()))
        xs, ys = self._subpixels(x_nm), self._subpixels(y_nm)
        factor = self.factor(pupil, u, v, z_nm)
        to_x = np.exp(1j * np.outer(pupil.k, xs)).astype(np.complex64)
        to_y = np.exp(1j * np.outer(ys, pupil.k)).astype(np.complex64)
        k = (1j * pupil.k).astype(np.complex64)
        spectrum = pupil.fields * factor
        half = spectrum @ to_x
        fields = to_y @ half
        # The emitter moves against the image coordinates, hence the minus signs.
        slopes = (
            -(to_y @ (spectrum @ (k[:, None] * to_x))),
            -((to_y * k) @ half),
            to_y @ ((spectrum * (1j * pupil.kz).astype(np.complex64)) @ to_x),
        )
        images = [intensity(fields, pupil)]
        for slope in slopes:
            change = 2 * (fields.real * slope.real + fields.imag * slope.imag)
            images.append(np.tensordot(pupil.weights, change.astype(np.float64), axes=1) / pupil.energy)
        return np.stack([self._integrate(image) for image in images])

    def _subpixels(self, centres_nm: AnyFloat) -> AnyFloat:
        return np.asarray((centres_nm[:, None] + PIXEL_NODES * self.optics.pixel_size_nm).ravel())

    def _integrate(self, fine: AnyFloat) -> AnyFloat:
        height, width = fine.shape[0] // 3, fine.shape[1] // 3
        pixels = fine.reshape(height, 3, width, 3)
        integral = np.einsum("aibj,i,j->ab", pixels, PIXEL_WEIGHTS, PIXEL_WEIGHTS)
        return np.asarray(integral * self.optics.pixel_size_nm**2)


@lru_cache(maxsize=4)
def _model(optics: Optics, width_px: int, height_px: int) -> OpticsModel:
    return OpticsModel(optics, width_px, height_px)


def embedded_optics(profile: Profile) -> OpticsModel:
    """Return the optics of the embedded microscope for `profile`, the same object for the same optics."""
    return _model(profile.optics, profile.camera.width_px, profile.camera.height_px)
