"""The camera of the embedded microscope: shot noise, read noise, gain, baseline, hot pixels, clipping.

A pixel's counts are ``round(electrons / electrons_per_adu) + baseline``, clipped to the bit depth, where
electrons are Poisson(signal) + Poisson(background) + Normal(0, read noise), the Poisson counts multiplied at
random where the camera has EM gain (`camera.exposure`). Since the sum of Poisson counts
is Poisson again, the background comes from a pool that is drawn once per light level, and only the small
patches around emitters are drawn anew in every frame.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from easyzloc_mm.camera.exposure import multiplied
from easyzloc_mm.camera.response import NO_EXCESS
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.simulator.optics.kernels import SEGMENT_PX, add_counts, add_points, random_state, read_out
from easyzloc_mm.simulator.optics.objective import FIELD_MARGIN, OpticsModel
from easyzloc_mm.simulator.optics.psf_table import RADIUS_PX, PsfTable
from easyzloc_mm.typing import F32, F64, I64, U16

LEVELS = 256
POOLS_KEPT = 3
POOL_SAMPLES = 1 << 13
"""Samples per background level; many levels, so that drawing between two adds no visible variance."""
HOT_PIXEL_PART = 2e-4
HOT_PIXEL_E_PER_S = 250.0
"""Median extra rate of a hot pixel (log-normal)."""
BACKGROUND_SWING = 0.3
"""Relative half range of the background over the field."""
FAINT_PHOTONS = 0.2
"""A patch ends where the rest of the image would add less than this to a pixel, far below its noise."""
SMALLEST_PATCH_PX = 7


@dataclass(frozen=True)
class Points:
    """Emitters as the camera sees them; every array has shape (n,).

    Attributes
    ----------
    x, y : ndarray
        Sensor pixels.
    z : ndarray
        Defocus relative to the local focal surface, nm.
    photons : ndarray
        Expected photons in this frame, on an infinite camera.
    """

    x: F64
    y: F64
    z: F64
    photons: F64


class VirtualCamera:
    """Renders frames of one sensor.

    Parameters
    ----------
    profile : Profile
        Sensor size, units, bit depth.
    model, table : OpticsModel, PsfTable
        The optics.
    seed : int
        Decides the hot pixels and the shape of the background.
    """

    def __init__(self, profile: Profile, model: OpticsModel, table: PsfTable, seed: int = 0) -> None:
        self._camera = profile.camera
        self._model = model
        self._table = table
        self._seed = seed
        height, width = profile.camera.height_px, profile.camera.width_px
        rng = np.random.default_rng((seed, 1))
        hot = max(1, round(HOT_PIXEL_PART * width * height))
        self._hot_index = np.sort(rng.choice(width * height, size=hot, replace=False))
        self._hot_rate = rng.lognormal(np.log(HOT_PIXEL_E_PER_S), 0.8, hot)
        self._shape = self._background_shape(rng)
        self._range = (float(self._shape.min()), float(self._shape.max()))
        spread = max(self._range[1] - self._range[0], 1e-6)
        self._level = ((self._shape - self._range[0]) / spread * (LEVELS - 1)).astype(np.float32)
        self._pools: dict[float, F32] = {}
        self._lock = threading.Lock()
        side = table.coefficients.shape[-1]
        patch = 2 * RADIUS_PX + 1
        self._scratch = (
            np.zeros((side, side), np.float32),
            np.zeros(side, np.float32),
            np.zeros((patch, patch), np.float32),
        )
        self._signal = np.zeros((height, width), np.float32)

    def _background_shape(self, rng: np.random.Generator) -> F32:
        """Smooth relative background, mean 1, per row and segment; shape (height, segments)."""
        height, width = self._camera.height_px, self._camera.width_px
        segments = (width + SEGMENT_PX - 1) // SEGMENT_PX
        x = (np.arange(segments) + 0.5) * SEGMENT_PX / width
        y = np.arange(height) / height
        px, py = rng.uniform(0, 2 * np.pi, 2)
        wave = np.sin(2 * np.pi * 0.8 * x[None, :] + px) + np.sin(2 * np.pi * 0.7 * y[:, None] + py)
        shape = 1 + BACKGROUND_SWING / 2 * wave
        return np.asarray(shape / shape.mean(), dtype=np.float32)

    def background_at(self, x: F64, y: F64, mean: float) -> F64:
        """Return the expected background (photons per pixel) at sensor pixels, for a mean over the field."""
        column = np.clip(np.round(x).astype(int) // SEGMENT_PX, 0, self._shape.shape[1] - 1)
        row = np.clip(np.round(y).astype(int), 0, self._shape.shape[0] - 1)
        return np.asarray(mean * self._shape[row, column], dtype=np.float64)

    def photograph(self, points: Points, background: float, exposure_s: float, *seed: int) -> U16:
        """Render one frame.

        Parameters
        ----------
        points : Points
            Emitters.
        background : float
            Mean background, photons per pixel.
        exposure_s : float
            For the hot pixels.
        *seed : int
            Decide the noise of this frame.

        Returns
        -------
        ndarray, shape (height, width), uint16
            ADU.
        """
        camera, table = self._camera, self._table
        frame = np.empty((camera.height_px, camera.width_px), np.uint16)
        u, v = self._model.field(points.x, points.y)
        with self._lock:
            state = random_state(self._seed, *seed)
            add_points(
                self._signal, table.coefficients, table.scale, table.z_start_nm, table.z_step_nm,
                table.oversampling, FIELD_MARGIN, u, v, points.x, points.y, points.z, points.photons,
                self._radii(points), *self._scratch, state,
            )  # fmt: skip
            add_counts(self._signal, self._hot_index, self._hot_rate * exposure_s, state)
            self._multiply(*seed)
            read_out(
                self._signal, self._pool(background), self._level, frame, 1 / camera.electrons_per_adu,
                camera.baseline_adu, float(2**camera.bit_depth - 1), state,
            )  # fmt: skip
        return frame

    def _multiply(self, *seed: int) -> None:
        """Send the signal through the EM register, if there is one."""
        excess = self._camera.excess_noise
        if excess > NO_EXCESS:
            lit = np.flatnonzero(self._signal)
            rng = np.random.default_rng((self._seed, 3, *seed))
            self._signal.flat[lit] = multiplied(self._signal.flat[lit], excess, rng)

    def _radii(self, points: Points) -> I64:
        outside = self._table.outside
        plane = np.round((points.z - self._table.z_start_nm) / self._table.z_step_nm).astype(int)
        side = 2 * np.arange(RADIUS_PX + 1) + 1
        pixels_beyond = np.maximum((side[-1] ** 2 - side**2).astype(float), 1.0)
        beyond = outside[np.clip(plane, 0, len(outside) - 1)] * points.photons[:, None] / pixels_beyond
        return np.asarray(np.maximum(np.argmax(beyond <= FAINT_PHOTONS, axis=1), SMALLEST_PATCH_PX))

    def _pool(self, background: float) -> F32:
        """Electrons of unlit pixels, shape (LEVELS, samples): background and read noise."""
        key = round(background, 3)
        if key not in self._pools:
            if len(self._pools) == POOLS_KEPT:
                self._pools.pop(next(iter(self._pools)))
            rng = np.random.default_rng((self._seed, 2, round(1000 * key)))
            means = key * np.linspace(self._range[0], self._range[1], LEVELS)
            size = (LEVELS, POOL_SAMPLES + SEGMENT_PX)
            electrons = rng.standard_normal(size, np.float32) * np.float32(self._camera.read_noise_e)
            counts = multiplied(rng.poisson(means[:, None], size), self._camera.excess_noise, rng)
            self._pools[key] = electrons + counts.astype(np.float32)
        return self._pools[key]
