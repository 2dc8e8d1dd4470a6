"""Frames as a camera of uniform pixels would record them; with a camera map, spots are detected on these.

Detection looks at differences between neighbouring pixels, and the fixed pattern of an sCMOS chip has those too.
"""

from __future__ import annotations

import numpy as np

from easyzloc_mm.camera.response import CameraResponse, PixelResponse
from easyzloc_mm.numerics.kernel import kernel
from easyzloc_mm.typing import U16


def flattened(frames: U16, pixels: PixelResponse, response: CameraResponse) -> U16:
    """Return the counts of a camera with `response` at every pixel for the same light, rounded to whole counts.

    Parameters
    ----------
    frames : ndarray, shape (T, Y, X), uint16
        ADU.
    pixels : PixelResponse
        Of each pixel of these frames.
    response : CameraResponse
        Of the whole chip.
    """
    out = np.empty_like(frames, np.uint16)
    ratio = pixels.electrons_per_adu / np.float32(response.electrons_per_adu)
    for frame, level in zip(frames, out, strict=True):
        _level(frame, pixels.baseline_adu, ratio, np.float32(response.baseline_adu), level)
    return out


@kernel()
def _level(frame, baseline, ratio, pedestal, out):  # type: ignore[no-untyped-def]
    for y in range(frame.shape[0]):
        for x in range(frame.shape[1]):
            value = (np.float32(frame[y, x]) - baseline[y, x]) * ratio[y, x] + pedestal + np.float32(0.5)
            out[y, x] = np.uint16(min(max(value, np.float32(0)), np.float32(65535)))
