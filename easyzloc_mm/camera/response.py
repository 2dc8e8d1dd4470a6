"""What turns a camera's counts into photo-electrons: for the whole chip, or for every pixel."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm._models import FrozenModel, NonNegative, Positive
from easyzloc_mm.errors import InputError

Floats = NDArray[np.float32]
MAPS = ("baseline_adu", "read_noise_e", "electrons_per_adu")


class CameraResponse(FrozenModel):
    """What turns a camera's counts into photo-electrons: photons = (ADU - baseline_adu) * electrons_per_adu."""

    baseline_adu: NonNegative
    electrons_per_adu: Positive
    read_noise_e: NonNegative
    estimated: bool = False
    """True when no one measured these values and they were guessed from the images."""


@dataclass(frozen=True)
class PixelResponse:
    """What turns counts into photo-electrons, pixel by pixel: (ADU - baseline_adu) * electrons_per_adu.

    Attributes
    ----------
    baseline_adu, read_noise_e, electrons_per_adu : ndarray, shape (height, width), float32
    """

    baseline_adu: Floats
    read_noise_e: Floats
    electrons_per_adu: Floats

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, pixels."""
        height, width = self.baseline_adu.shape
        return height, width

    def part(self, origin_px: tuple[int, int], shape_yx: tuple[int, int]) -> PixelResponse:
        """Pixels of a camera ROI, whose first pixel is the sensor's column and row `origin_px`.

        Raises
        ------
        InputError
            The ROI reaches beyond the map.
        """
        left, top = origin_px
        bottom, right = top + shape_yx[0], left + shape_yx[1]
        if min(left, top) < 0 or bottom > self.shape[0] or right > self.shape[1]:
            raise InputError(
                f"the camera map has {self.shape[1]} x {self.shape[0]} px, but the frames cover columns {left} to "
                f"{right - 1} and rows {top} to {bottom - 1} of the sensor: measure the map with the same camera ROI "
                "(`camera-calibrate`), or give the ROI's first pixel as `origin_px`"
            )
        return PixelResponse(**{name: getattr(self, name)[top:bottom, left:right].copy() for name in MAPS})

    def digest(self) -> str:
        """SHA-256 of the maps: what a run stores, to be gone on with under the same ones."""
        content = hashlib.sha256(str(self.shape).encode())
        for name in MAPS:
            content.update(np.ascontiguousarray(getattr(self, name), "<f4").tobytes())
        return content.hexdigest()
