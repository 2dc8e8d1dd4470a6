"""Frames of a block, read by the worker from the movie or run that holds them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from easyzloc_mm.io.images.movies import Movie, open_movie
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

    def read(self, path: Path, numbers: I64) -> U16:
        """Return the frames with these numbers, shape (T, Y, X), ADU."""
        if path != self._path or self._opened is None:
            self._opened = StoredFrames(path) if holds_frames(path) else _again(path)
            self._path, self._background = path, None
        if isinstance(self._opened, StoredFrames):
            return self._opened.take(numbers.tolist())
        if int(numbers[-1]) >= self._opened.shape[0]:
            self._opened = _again(path)
        first, last = int(numbers[0]), int(numbers[-1])
        if last - first + 1 == len(numbers):
            return self._opened.read(first, last + 1)
        return np.concatenate([self._opened.read(int(number), int(number) + 1) for number in numbers])

    def cleared(self, frames: U16, numbers: I64, available: int) -> U16 | None:
        """Return the frames without their running background, or None where none is to be subtracted.

        Parameters
        ----------
        frames : ndarray, shape (T, Y, X), uint16
            As `read` returned them last.
        numbers : ndarray, shape (T,)
            Their frame numbers.
        available : int
            Frames that the source has: a movie shorter than one window is a window of its own.
        """
        path, whole = self._path, available >= (self._window or 0)
        if self._window is None or path is None:
            return None
        if self._background is None or whole != self._whole_windows:
            self._background = RunningBackground(self._window, available, lambda chosen: self.read(path, chosen))
            self._whole_windows = whole
        return self._background.subtract(frames, numbers)


def _again(path: Path) -> Movie:
    """Open a movie that the program has opened before: what is missing was said, and accepted, there."""
    return open_movie(path, partial=True, quiet=True)
