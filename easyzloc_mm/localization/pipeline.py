"""Frames in, 3D localisations out: the one pipeline that live runs, files and tables share."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from easyzloc_mm._version import installed
from easyzloc_mm.camera.crops import crops_and_noise
from easyzloc_mm.camera.flatten import flattened
from easyzloc_mm.camera.response import CameraResponse, PixelResponse
from easyzloc_mm.io.camera_map import read_camera_map
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.localization.config import LocalizerConfig, resolved
from easyzloc_mm.localization.detection.background import PEDESTAL_ADU
from easyzloc_mm.localization.detection.gaussian_fit import detect_frames, fit_gaussians
from easyzloc_mm.localization.detection.threshold import automatic_threshold
from easyzloc_mm.localization.matched.emitters import EmitterLocalizer, Found
from easyzloc_mm.localization.matched.noise import SOME_MOLECULES, noise_of_some
from easyzloc_mm.localization.provenance import map_reference
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.model.predictor import Predictor
from easyzloc_mm.profile.detection import Detection, SurfaceRemoval
from easyzloc_mm.typing import U16

PACKAGES = ("easyzloc-mm", "picassosr", "numpy", "onnxruntime", "numba", "zarr")
LOOKED_AT_ONCE = 4
"""Frames, of those whose noise is measured before a run: more only where these hold too few molecules."""


class Localizer:
    """Detect, fit, predict z.

    Parameters
    ----------
    settings : LocalizerConfig
        Model, camera units, box, fit.
    """

    def __init__(self, settings: LocalizerConfig) -> None:
        self.settings = settings
        self._predictor = Predictor.load(settings.model)
        self._map = read_camera_map(settings.camera_map) if settings.camera_map else None
        self._pixels: dict[tuple[tuple[int, ...], float], PixelResponse] = {}

    @cached_property
    def _emitters(self) -> EmitterLocalizer | None:
        """What finds molecules by the measured PSF; None, where Picasso's identification does."""
        how = resolved(self.settings.localize, self._predictor.card)
        if how.detection is Detection.PICASSO:
            return None
        return EmitterLocalizer(self._predictor, how, self.settings.origin_px)

    def _response(self, frames: U16, noise_ratio: float = 1.0) -> CameraResponse | PixelResponse:
        """Units of frames in effective photons (`CameraResponse.effective`), or of each of their pixels."""
        response = self.settings.response
        if self._map is None:
            return response.effective(noise_ratio)
        key = frames.shape[1:], response.excess_noise * noise_ratio
        if key not in self._pixels:
            part = self._map.part(self.settings.origin_px, (frames.shape[1], frames.shape[2]))
            self._pixels = {key: part.effective(key[1])}
        return self._pixels[key]

    def _flattened(self, frames: U16, noise_ratio: float = 1.0) -> U16:
        response = self._response(frames, noise_ratio)
        if isinstance(response, CameraResponse):
            return frames
        return flattened(frames, response, self.settings.response.effective(noise_ratio))

    def _count_photons(self, table: pd.DataFrame, noise_ratio: float = 1.0) -> None:
        """Turn effective photons into photons."""
        factor = np.float32(self.settings.response.excess_noise * noise_ratio)
        if factor != 1:
            for name in ("photons", "bg"):
                table[name] = factor * table[name].to_numpy()

    def threshold(self, frames: U16, cleared: U16 | None = None) -> float:
        """Return what spots must exceed to be molecules: signal to noise, or Picasso's net gradient (ADU)."""
        if self._emitters is not None:
            return self._emitters.threshold((frames.shape[1], frames.shape[2]))
        return automatic_threshold(
            self._flattened(frames) if cleared is None else cleared, self.settings.localize.box_px
        )

    def localize(
        self,
        frames: U16,
        numbers: NDArray[np.integer],
        threshold: float,
        cleared: U16 | None = None,
        noise_ratio: float = 1.0,
    ) -> Found:
        """Localise a block of frames; each frame's rows depend on that frame alone.

        Parameters
        ----------
        frames : ndarray, shape (T, Y, X), uint16
            ADU.
        numbers : ndarray, shape (T,)
            Frame numbers.
        threshold : float
            As from `threshold`.
        cleared : ndarray, shape (T, Y, X), uint16, optional
            The frames without their background, for detection.
        noise_ratio : float
            Variance of the noise over what the camera's units say (`localization.noise`).

        Returns
        -------
        Found
            Columns of a localisation table (DESIGN, section 4), all finite; x, y in sensor pixels.
        """
        if self._emitters is not None:
            return self._by_psf(self._emitters, frames, numbers, threshold, cleared, noise_ratio)
        how = self.settings.localize
        flat = self._flattened(frames, noise_ratio) if cleared is None else cleared
        spots = detect_frames(flat, threshold, how.box_px)
        table, rejected = fit_gaussians(frames, spots, how.box_px, self._response(frames, noise_ratio), how.fit)
        self._count_photons(table, noise_ratio)
        noise = self.assign_z(frames, table, move_xy=True, noise_ratio=noise_ratio)
        table["frame"] = np.asarray(numbers, np.uint32)[table["frame"].to_numpy(np.int64)]
        return Found(table, rejected, noise)

    def noise(self, frames: U16, threshold: float, cleared: U16 | None = None) -> tuple[float, ...]:
        """Return the noise around some molecules of frames, over what the camera's units say; nothing without a PSF.

        Few frames of many molecules are enough, from the whole length. Parameters as of `localize`.
        """
        if self._emitters is None and not self._predictor.card.has_psf:
            return ()
        found: list[float] = []
        apart = -(-len(frames) // LOOKED_AT_ONCE)
        for first in range(apart):
            # Copies: kernels would be compiled anew for strided arrays.
            clear = None if cleared is None else cleared[first::apart].copy()
            found += self._noise(frames[first::apart].copy(), threshold, clear)
            if len(found) >= SOME_MOLECULES:
                break
        return tuple(found)

    def _noise(self, frames: U16, threshold: float, cleared: U16 | None) -> tuple[float, ...]:
        if self._emitters is not None:
            return self._emitters.localize(frames, threshold, self._response(frames), None, passes=1).noise
        return self.localize(frames, np.arange(len(frames)), threshold, cleared).noise

    def _by_psf(
        self,
        emitters: EmitterLocalizer,
        frames: U16,
        numbers: NDArray[np.integer],
        threshold: float,
        cleared: U16 | None,
        noise_ratio: float,
    ) -> Found:
        response, static = self._response(frames, noise_ratio), None
        if cleared is not None:
            still = frames.astype(np.float32) - cleared + np.float32(PEDESTAL_ADU)
            static = (still - np.float32(response.baseline_adu)) * np.float32(response.electrons_per_adu)
        found = emitters.localize(frames, threshold, response, static)
        table = found.table
        self._count_photons(table, noise_ratio)
        # Column by column a table is slow to change: of single frames that would be a tenth of their time.
        factor = np.float32(self.settings.localize.focal_shift_factor)
        if factor != 1:
            for name in ("z", "lpz"):
                table[name] = factor * table[name].to_numpy()
        for name, first_px in zip("xy", self.settings.origin_px, strict=True):
            if first_px:
                table[name] += first_px
        self._take_out_surface(table)
        table["frame"] = np.asarray(numbers, np.uint32)[table["frame"].to_numpy(np.int64)]
        return found._replace(noise=tuple(noise_ratio * ratio for ratio in found.noise))

    def assign_z(
        self, frames: U16, table: pd.DataFrame, *, move_xy: bool = False, noise_ratio: float = 1.0
    ) -> tuple[float, ...]:
        """Add z, lpz and z_flag, count x, y from the sensor's corner, and return the noise as `Found` has it.

        Parameters
        ----------
        frames : ndarray, shape (T, Y, X), uint16
            ADU.
        table : DataFrame
            `frame` counts within `frames`; x, y in their pixels.
        move_xy : bool
            Also correct x, y by the likelihood fit of the measured PSF: a Gaussian fit is biased by the skewed image of
            a defocused emitter, by tens of nanometres.
        noise_ratio : float
            As of `localize`.
        """
        noise = self._assign_z(frames, table, self._response(frames, noise_ratio), move_xy)
        self._take_out_surface(table)
        return tuple(noise_ratio * ratio for ratio in noise)

    def _take_out_surface(self, table: pd.DataFrame) -> None:
        """Count z from a flat slide in place of the focus at each place of the field; x, y from the sensor's corner."""
        how, surface = self.settings.localize, self._predictor.card.focal_surface
        if surface is None or how.focal_surface is SurfaceRemoval.NONE:
            return
        height = surface.height_nm(
            table["x"].to_numpy(), table["y"].to_numpy(), tilt=how.focal_surface is SurfaceRemoval.TILT
        )
        table["z"] += (how.focal_shift_factor * height).astype(np.float32)

    def _assign_z(
        self, frames: U16, table: pd.DataFrame, response: CameraResponse | PixelResponse, move_xy: bool
    ) -> tuple[float, ...]:
        predictor, (left, top) = self._predictor, self.settings.origin_px
        x, y = table["x"].to_numpy(float), table["y"].to_numpy(float)
        crops, noise_e = crops_and_noise(frames, table["frame"].to_numpy(), x, y, response, predictor.card.roi_px)
        prediction = predictor.predict(
            crops, x + left, y + top, refine=self.settings.localize.refine, read_noise_e=noise_e
        )
        factor = np.float32(self.settings.localize.focal_shift_factor)
        table["z"], table["lpz"] = factor * prediction.z_nm, factor * prediction.lpz_nm
        table["z_flag"] = prediction.z_flag
        if move_xy:
            known = np.isfinite(prediction.xy_px[:, 0])
            for axis, (name, fitted) in enumerate((("x", x), ("y", y))):
                moved = np.rint(fitted) + prediction.xy_px[:, axis]
                table[name] = np.where(known, moved, fitted).astype(np.float32)
                spread = prediction.lpxy_px[:, axis]
                table[f"lp{name}"] = np.where(known, spread, table[f"lp{name}"]).astype(np.float32)
        if (left, top) != (0, 0):
            table["x"] += left
            table["y"] += top
        if prediction.optimum is None:
            return ()
        place = predictor.place(x + left, y + top)
        at = table["frame"].to_numpy(), x, y
        return noise_of_some(at, crops, noise_e, predictor.psf[1], place, prediction.optimum, response)

    def warm_up(self) -> None:
        """Compile and run everything on three frames, so that no camera frame has to wait for it."""
        from scipy.ndimage import gaussian_filter

        # Large enough for a background that counts as known; two spots to be fitted together, others alone.
        frame = np.zeros((256, 256))
        for y, x in ((60, 60), (60, 65), (110, 190), (200, 60), (190, 160)):
            frame[y, x] = 20000.0
        rng = np.random.default_rng(0)
        image = gaussian_filter(frame, 1.3) + 100 + rng.normal(0, 2, frame.shape)
        with_edge = image + np.where(np.arange(256) < 128, 300.0, 0.0)
        clouds = gaussian_filter(rng.normal(0, 1, frame.shape), 15)
        uneven = image + 40 * clouds / clouds.std()
        frames = np.clip([image, with_edge, uneven], 0, None).astype(np.uint16)
        how = self.settings.localize
        response: CameraResponse | PixelResponse = CameraResponse(
            baseline_adu=90.0, electrons_per_adu=1.0, read_noise_e=1.0
        )
        if self._map is not None:
            response = PixelResponse(*(np.full(frame.shape, value, np.float32) for value in (90.0, 1.0, 1.0)))
            flattened(frames, response, self.settings.response.effective())
        if self._emitters is not None:
            self._emitters.localize(frames, 6.0, response, None)
            return
        spots = detect_frames(frames, 1000.0, how.box_px)
        table, _ = fit_gaussians(frames, spots, how.box_px, response, how.fit)
        if not len(table):
            raise RuntimeError("the spot finder does not find a bright spot")
        self._assign_z(frames, table, response, move_xy=True)


def run_metadata(
    card: ModelCard,
    settings: LocalizerConfig,
    shape_yx: tuple[int, int],
    pixel_size_nm: float,
    **known: object,
) -> RunMetadata:
    """Return the metadata of a run before its first frame; `known` are further fields (`RunMetadata`)."""
    left, top = settings.origin_px
    factor = settings.localize.focal_shift_factor
    low, high = card.z_range_nm
    return RunMetadata(
        pixel_size_nm=pixel_size_nm,
        height_px=int(shape_yx[0]) + top,
        width_px=int(shape_yx[1]) + left,
        origin_px=(left, top),
        camera_response=settings.response,
        model=card.reference,
        z_range_nm=(factor * low, factor * high),
        focal_shift_factor=factor,
        focal_surface=None if settings.localize.focal_surface is SurfaceRemoval.NONE else card.focal_surface,
        surface_removal=settings.localize.focal_surface,
        camera_map=map_reference(settings.camera_map),
        localize=settings.localize,
        versions=installed(PACKAGES),
        complete=False,
    ).changed(**known)
