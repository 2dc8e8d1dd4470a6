"""Bead stacks of a camera whose pixels differ, as one whose pixels are alike would have recorded them.

An sCMOS chip multiplies the light of each pixel by a gain of its own: around bright beads that pattern is far above the
noise, and a PSF or a focus that was measured through it holds the chip's pattern too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from easyzloc_mm.beads.detection.inspect_stack import full_scale_of
from easyzloc_mm.beads.quality.checks import name_of
from easyzloc_mm.camera.flatten import flattened
from easyzloc_mm.camera.response import CameraResponse, PixelResponse
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.stack import BeadStack, StackPixels
from easyzloc_mm.typing import U16


@dataclass(frozen=True)
class FlatPlanes:
    """Planes of a stack, flattened where they are read.

    Attributes
    ----------
    planes : StackPixels, shape (z, y, x)
        ADU as the camera gave them.
    pixels : PixelResponse
    response : CameraResponse
        Of the camera of like pixels.
    full_scale_adu : int
        A pixel that reached the camera's upper end stays there.
    """

    planes: StackPixels
    pixels: PixelResponse
    response: CameraResponse
    full_scale_adu: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Planes, rows, columns."""
        return self.planes.shape

    def __getitem__(self, key: tuple[Any, ...], /) -> U16:
        """Return a part of one plane, or of each of several: their number or numbers come first in `key`."""
        chosen, *rest = key
        if isinstance(chosen, int):
            return np.asarray(self._flat(self.planes[chosen][None])[(0, *rest)])
        return np.asarray(self._flat(np.stack([self.planes[plane] for plane in chosen]))[(slice(None), *rest)])

    def _flat(self, frames: U16) -> U16:
        flat = np.minimum(flattened(frames, self.pixels, self.response), np.uint16(self.full_scale_adu - 1))
        flat[frames >= self.full_scale_adu] = self.full_scale_adu
        return np.asarray(flat)


def flat_stack(stack: BeadStack, pixels: PixelResponse, response: CameraResponse) -> BeadStack:
    """Return a stack as a camera with `response` at every pixel would have recorded it.

    Raises
    ------
    InputError
        The map is not of the stack's size.
    """
    planes, height, width = stack.pixels.shape
    if pixels.shape != (height, width):
        raise InputError(
            f"{name_of(stack)} is {width} x {height} px, but the camera map has {pixels.shape[1]} x {pixels.shape[0]} "
            "px: measure it with the camera ROI of the stacks (`camera-calibrate`)"
        )
    full_scale = stack.full_scale_adu or full_scale_of(float(max(stack.pixels[plane].max() for plane in range(planes))))
    flat = FlatPlanes(stack.pixels, pixels, response, full_scale)
    return replace(stack, pixels=StackPixels(flat, planes), full_scale_adu=full_scale)
