"""Static background for detection: each pixel's median over earlier frames.

Frames are grouped in windows of W; those of a window are compared with the median of the window before (the first
window against its own). It depends on frame numbers alone, so a live run and its repetition from disk agree.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from easyzloc_mm.camera.blank import blank_images
from easyzloc_mm.numerics.kernel import kernel
from easyzloc_mm.typing import I64, U16

SAMPLES = 21
"""Frames of a window that its median is taken of; more would hardly reduce its noise where molecules are rare."""
PEDESTAL_ADU = 2000
"""Added after the subtraction, so that counts stay positive; the net gradient does not see it."""

Read = Callable[[I64], U16]


class RunningBackground:
    """Subtracts the background of each frame's window.

    Parameters
    ----------
    window : int
        Frames per window, W.
    frames : int
        Frames of the movie so far; matters only while there are fewer than W.
    read : callable
        Gives frames by their numbers.
    """

    def __init__(self, window: int, frames: int, read: Read) -> None:
        self._window, self._frames, self._read = window, frames, read
        self._known: dict[int, U16] = {}

    def subtract(self, frames: U16, numbers: I64) -> U16:
        """Return frames without their background, on a pedestal of `PEDESTAL_ADU`."""
        out = np.empty_like(frames)
        for i, number in enumerate(numbers):
            _subtract(frames[i], self._median(max(int(number) // self._window - 1, 0)), PEDESTAL_ADU, out[i])
        return out

    def _median(self, window: int) -> U16:
        if window not in self._known:
            first = window * self._window
            # An earlier window is complete, unless the movie is shorter than one.
            last = first + min(self._window, self._frames) - 1
            chosen = np.unique(np.linspace(first, last, SAMPLES).astype(np.int64))
            for old in [key for key in self._known if key < window - 1]:
                del self._known[old]
            frames = self._read(chosen)
            came = ~blank_images(frames)
            self._known[window] = median_frame(frames[came] if came.any() else frames)
        return self._known[window]


def median_frame(frames: U16) -> U16:
    """Lower median of each pixel over frames, shape (T, Y, X) to (Y, X)."""
    out = np.empty(frames.shape[1:], np.uint16)
    _median(np.ascontiguousarray(frames), out)
    return out


@kernel()
def _median(frames, out):  # type: ignore[no-untyped-def]
    count = frames.shape[0]
    values = np.empty(count, np.uint16)
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            for t in range(count):
                value = frames[t, y, x]
                place = t
                while place > 0 and values[place - 1] > value:
                    values[place] = values[place - 1]
                    place -= 1
                values[place] = value
            out[y, x] = values[(count - 1) // 2]


@kernel()
def _subtract(frame, background, pedestal, out):  # type: ignore[no-untyped-def]
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            value = np.int32(frame[y, x]) - np.int32(background[y, x]) + pedestal
            out[y, x] = min(max(value, 0), 65535)
