"""The second microscope at work: its PSF tabulated over field and depth, noisy frames, and the information limit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage

from easyzloc_mm._models import FrozenModel
from easyzloc_mm.benchmarks.second_optics.cameras import RESPONSES, CameraKind, unlike_pixels
from easyzloc_mm.benchmarks.second_optics.lens import SAMPLES_PER_PIXEL, Lens, Mask
from easyzloc_mm.camera.exposure import camera_counts
from easyzloc_mm.camera.response import CameraResponse, PixelResponse
from easyzloc_mm.numerics.spline import cubic_b_spline
from easyzloc_mm.psf.crlb import crlb
from easyzloc_mm.typing import F32, F64, U16

MARGIN_PX = 2
LIMIT_HALF_PX, ENGINEERED_LIMIT_HALF_PX = 7, 12
"""The information limit is that of 15 x 15 px; of 25 x 25 px, where a mask spreads the light."""
Z_STEP_NM, Z_LIMIT_NM = 50.0, 1500.0
FOCUS_SEARCH_NM = np.arange(-500.0, 501.0, 50.0)
STEP_NM = 2.0
"""Of the numerical derivatives."""


class SecondMicroscope(FrozenModel):
    """A camera behind the lens.

    Attributes
    ----------
    lens : Lens
    width_px, height_px : int
        Of the camera.
    response : CameraResponse
        Of its pixels.
    pixel_seed : int, optional
        Draws pixels that differ (`cameras.unlike_pixels`); without it all are alike.
    field_curvature_nm : float
        How much higher the stage stands where a corner of the field is in focus than where the middle is.
    field_nodes : int
        Places per axis at which the PSF is computed; it is interpolated between.
    """

    lens: Lens = Lens()
    width_px: int = 256
    height_px: int = 256
    response: CameraResponse = RESPONSES[CameraKind.CMOS]
    pixel_seed: int | None = None
    field_curvature_nm: float = 0.0
    field_nodes: int = 5

    @property
    def pixels(self) -> PixelResponse | None:
        """Response of each pixel, where they differ."""
        if self.pixel_seed is None:
            return None
        return unlike_pixels(self.response, (self.height_px, self.width_px), self.pixel_seed)

    def focal_surface_nm(self, x: F64, y: F64) -> F64:
        """Stage position at which a molecule on a flat slide is in focus, against that of the middle of the field."""
        u, v = self._field(x, y)
        return np.asarray(self.field_curvature_nm * (u * u + v * v) / 2)

    def _field(self, x: F64, y: F64) -> tuple[F64, F64]:
        return (2 * np.asarray(x, float) / (self.width_px - 1) - 1, 2 * np.asarray(y, float) / (self.height_px - 1) - 1)

    def images(self, x: F64, y: F64, z_nm: F64, half_px: int) -> F64:
        """Images of molecules per photon, free of noise, each around the pixel that is nearest to it.

        Parameters
        ----------
        x, y : ndarray, shape (n,)
            Pixels.
        z_nm : ndarray, shape (n,)
            Height above the flat slide, as the stage counts it.
        half_px : int
            Pixels to either side.

        Returns
        -------
        ndarray, shape (n, 2 * half_px + 1, 2 * half_px + 1)
        """
        x, y = np.asarray(x, float), np.asarray(y, float)
        return self._images_around(np.rint(x), np.rint(y), x, y, np.asarray(z_nm, float), half_px)

    def _images_around(self, column: F64, row: F64, x: F64, y: F64, z_nm: F64, half_px: int) -> F64:
        table = psf_table(self.lens, self.field_nodes)
        u, v = self._field(x, y)
        local_z = z_nm - self.focal_surface_nm(x, y)
        return table.images(u, v, x - column, y - row, local_z, half_px)

    def limits_nm(self, x: F64, y: F64, z_nm: F64, photons: F64, background: F64) -> tuple[F64, F64, F64]:
        """Information limit (CRLB) of x, y and z of isolated molecules, nm, each of shape (n,)."""
        x, y, z_nm = (np.asarray(values, float) for values in (x, y, z_nm))
        column, row, step_px = np.rint(x), np.rint(y), STEP_NM / self.lens.pixel_size_nm
        half_px = LIMIT_HALF_PX if self.lens.mask is Mask.NONE else ENGINEERED_LIMIT_HALF_PX

        def image(dx: float, dy: float, dz: float) -> F64:
            return self._images_around(column, row, x + dx * step_px, y + dy * step_px, z_nm + dz * STEP_NM, half_px)

        slopes = [
            (image(*direction) - image(*(-part for part in direction))) / (2 * STEP_NM)
            for direction in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
        ]
        by_x, by_y, by_z = slopes
        excess, read_noise_e = self.response.excess_noise, self.response.effective().read_noise_e
        return crlb(image(0, 0, 0), by_x, by_y, by_z, photons / excess, background / excess, read_noise_e)

    def expose(self, x: F64, y: F64, z_nm: F64, photons: F64, background: float | F64, rng: np.random.Generator) -> U16:
        """One camera image (height, width) of molecules, in ADU; parts of images outside the camera are lost."""
        half_px = self.lens.half_px
        column, row = np.rint(x).astype(int), np.rint(y).astype(int)
        near = (column >= -half_px) & (row >= -half_px)
        near &= (column < self.width_px + half_px) & (row < self.height_px + half_px)
        side = 2 * half_px + 1
        light = np.zeros((self.height_px + 4 * half_px, self.width_px + 4 * half_px))
        images = photons[near, None, None] * self.images(x[near], y[near], z_nm[near], half_px)
        for left, top, image in zip(column[near] + half_px, row[near] + half_px, images, strict=True):
            light[top : top + side, left : left + side] += image
        inner = light[2 * half_px : -2 * half_px, 2 * half_px : -2 * half_px]
        return camera_counts(np.maximum(inner, 0.0) + background, self.pixels or self.response, rng)


@dataclass(frozen=True)
class PsfGrid:
    """A lens tabulated: cubic B-splines in z, y and x, and linear over the field.

    Attributes
    ----------
    coefficients : ndarray, shape (nodes, nodes, Z, S, S), float32
        By field row, field column, depth, sample row, sample column.
    focus_nm : ndarray, shape (nodes, nodes)
        Nominal stage position at which each place is sharpest: the depths of the table count from there.
    """

    coefficients: F32
    focus_nm: F64

    def images(self, u: F64, v: F64, dx: F64, dy: F64, z_nm: F64, half_px: int) -> F64:
        """Images of molecules `dx`, `dy` (pixels) right of and below the middle of the middle pixel."""
        nodes = len(self.coefficients)
        samples = self.coefficients.shape[-1]
        pixels = SAMPLES_PER_PIXEL * np.arange(-half_px, half_px + 1)
        knots = np.arange(samples) - samples // 2
        found = np.empty((len(u), len(pixels), len(pixels)))
        first_z = -Z_LIMIT_NM / Z_STEP_NM
        places = [np.clip((np.asarray(at) + 1) / 2 * (nodes - 1), 0, nodes - 1) for at in (u, v)]
        for i in range(len(u)):
            z = z_nm[i] / Z_STEP_NM - first_z
            planes = np.clip(int(np.floor(z)) - 1, 0, self.coefficients.shape[2] - 4) + np.arange(4)
            weight = cubic_b_spline(np.asarray(z - planes, float))
            low_u, low_v = (min(int(place[i]), nodes - 2) for place in places)
            part_u, part_v = places[0][i] - low_u, places[1][i] - low_v
            across, down = np.array([1 - part_u, part_u]), np.array([1 - part_v, part_v])
            corner = self.coefficients[low_v : low_v + 2, low_u : low_u + 2, planes[0] : planes[0] + 4]
            weights = down[:, None, None] * across[None, :, None] * weight[None, None, :]
            plane = (weights.astype(np.float32).ravel() @ corner.reshape(16, -1)).reshape(samples, samples)
            rows = cubic_b_spline(pixels[:, None] - SAMPLES_PER_PIXEL * dy[i] - knots[None, :])
            columns = cubic_b_spline(pixels[:, None] - SAMPLES_PER_PIXEL * dx[i] - knots[None, :])
            found[i] = rows @ plane @ columns.T
        return found


@lru_cache(maxsize=4)
def psf_table(lens: Lens, nodes: int) -> PsfGrid:
    """Compute a lens at `nodes` x `nodes` places of the field and all depths."""
    half = lens.half_px + MARGIN_PX
    samples = 2 * half * SAMPLES_PER_PIXEL + 1
    z_nm = np.arange(-Z_LIMIT_NM, Z_LIMIT_NM + Z_STEP_NM / 2, Z_STEP_NM)
    coefficients = np.empty((nodes, nodes, len(z_nm), samples, samples), np.float32)
    focus = np.empty((nodes, nodes))
    ticks = np.linspace(-1, 1, nodes)
    for row, v in enumerate(ticks):
        for column, u in enumerate(ticks):
            focus[row, column] = sharpest_nm(lens, float(u), float(v))
            images = lens.images(float(u), float(v), focus[row, column] + z_nm, half)
            for axis in range(3):
                images = ndimage.spline_filter1d(images, 3, axis=axis, mode="mirror")
            coefficients[row, column] = images
    return PsfGrid(coefficients, focus)


def sharpest_nm(lens: Lens, u: float, v: float) -> float:
    """Nominal stage position at which a molecule's image is sharpest: its sum of squares is largest.

    An image behind a mask has more than one such position, or none, and which is first changes from place to place:
    there it is the one of the middle of the field for all.
    """
    if lens.mask is not Mask.NONE:
        u = v = 0.0
    images = lens.images(u, v, FOCUS_SEARCH_NM, LIMIT_HALF_PX)
    sharpness = np.sum(images**2, axis=(1, 2))
    best = int(np.clip(np.argmax(sharpness), 1, len(sharpness) - 2))
    below, middle, above = sharpness[best - 1 : best + 2]
    shift = (below - above) / (2 * (below - 2 * middle + above))
    return float(FOCUS_SEARCH_NM[best] + shift * (FOCUS_SEARCH_NM[1] - FOCUS_SEARCH_NM[0]))
