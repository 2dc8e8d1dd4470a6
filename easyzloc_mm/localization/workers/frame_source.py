"""Where a worker gets the frames of a block."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from easyzloc_mm.io.movies import Movie, open_movie
from easyzloc_mm.io.runs.frames import StoredFrames, holds_frames
from easyzloc_mm.localization.detection.background import RunningBackground
from easyzloc_mm.typing import I64, U16


class FrameSource:
    """Reads frames by number and keeps the file open; opens it anew when it has grown.

    Parameters
    ----------
    window : int or None
        Of the running background, frames.
    """

    def __init__(self, window: int | None = None) -> None:
        self._window = window
        self._path: Path | None = None
        self._opened: Movie | StoredFrames | None = None
        self._background: RunningBackground | None = None
        self._whole_windows = False

    def read(self, path: Path | None, numbers: I64) -> U16:
        """Frames with these numbers, shape (T, Y, X)."""
        assert path is not None
        if path != self._path or self._opened is None:
            self._opened = StoredFrames(path) if holds_frames(path) else open_movie(path)
            self._path, self._background = path, None
        if isinstance(self._opened, StoredFrames):
            return self._opened.take(numbers.tolist())
        if int(numbers[-1]) >= self._opened.shape[0]:
            self._opened = open_movie(path)
        first, last = int(numbers[0]), int(numbers[-1])
        if last - first + 1 == len(numbers):
            return self._opened.read(first, last + 1)
        return np.concatenate([self._opened.read(int(number), int(number) + 1) for number in numbers])

    def cleared(self, frames: U16, numbers: I64, there: int) -> U16 | None:
        """Frames without their background, or None where none is to be subtracted.

        `there` says how many frames the source has: a movie shorter than one window is a window of its own.
        """
        if self._window is None:
            return None
        path, whole = self._path, there >= self._window
        if self._background is None or whole != self._whole_windows:
            self._background = RunningBackground(self._window, there, lambda chosen: self.read(path, chosen))
            self._whole_windows = whole
        return self._background.subtract(frames, numbers)
