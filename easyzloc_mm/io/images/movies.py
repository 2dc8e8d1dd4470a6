"""Movies from every format that users have: TIFF, OME-TIFF, NDTiff, OME-Zarr, a RUN.zarr's frames, Picasso .raw."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.runs.frames import StoredFrames, holds_frames
from easyzloc_mm.io.runs.localizations import holds_localizations
from easyzloc_mm.io.sources.images import Sampling
from easyzloc_mm.io.sources.open import open_images
from easyzloc_mm.typing import U16

UINT16 = np.dtype(np.uint16)
TIME_AXES = "TZIQ"
"""Axes that can mean frames: time, planes of an ImageJ stack, or pages that the file does not name."""

Read = Callable[[int, int], U16]


@dataclass(frozen=True)
class Movie:
    """Frames that are read where they are needed.

    Attributes
    ----------
    shape : (int, int, int)
        Frames up to the last one that is there, height, width.
    sampling : Sampling
        What the file states.
    read : callable
        ``read(start, stop)`` gives frames as uint16, shape (n, height, width), ADU; a missing one is zeros.
    dtype : dtype
        Of the file's pixels, in this computer's byte order.
    missing : frozenset of int
        Frames among them that were lost on the way from the camera, or whose file does not hold them.
    lost_after : int
        Frames that should follow the last one.
    remarks : tuple of str
        What a person should know about the file.
    """

    shape: tuple[int, int, int]
    sampling: Sampling
    read: Read
    dtype: np.dtype[Any] = UINT16
    missing: frozenset[int] = frozenset()
    lost_after: int = 0
    remarks: tuple[str, ...] = field(default=())

    @property
    def pixel_size_nm(self) -> float | None:
        """Pixel size as the file states it, whether it can be or not."""
        return self.sampling.pixel_nm

    @property
    def frames_missing(self) -> int:
        """Frames that should be there and are not."""
        return len(self.missing) + self.lost_after

    def warn(self) -> None:
        """Say what a person should know about the file."""
        for remark in self.remarks:
            warnings.warn(remark, EasyZlocWarning, stacklevel=3)


def open_movie(path: Path, *, partial: bool = False, quiet: bool = False) -> Movie:
    """Open a movie.

    Parameters
    ----------
    path : Path
    partial : bool
        Whether a movie in several files may lack some of them.
    quiet : bool
        Leave it to the caller to `Movie.warn` of what is not as it should be.

    Raises
    ------
    InputError
        It is missing, empty, of an unknown format, its axes are not those of a movie, or its pixels are no counts.
    """
    path = Path(path)
    if path.is_dir() and holds_localizations(path) and not holds_frames(path):
        raise InputError(f"{path} is a run without raw frames: give the movie that it was localised from")
    movie = _stored(path) if path.is_dir() and holds_frames(path) else _of_images(path, partial)
    # Pixels that are no counts, or that nobody here can decode, are refused before any work.
    first = next((number for number in range(movie.shape[0]) if number not in movie.missing), 0)
    movie.read(first, first + 1)
    if not quiet:
        movie.warn()
    return movie


def _stored(path: Path) -> Movie:
    stored = StoredFrames(path)
    frames, height, width = stored.shape
    if 0 in stored.shape:
        raise InputError(f"movie {path} is empty (frames, height, width = {stored.shape}): record it again")
    sampling = Sampling(pixel_nm=stored.pixel_size_nm)
    return Movie((frames, height, width), sampling, stored.read, UINT16, frozenset(stored.missing))


def _of_images(path: Path, partial: bool) -> Movie:
    found = open_images(path, "movie", partial=partial)
    first, *others = found
    for images in found:
        if len(images.axes) > 1 or images.axes not in ("", *TIME_AXES):
            raise InputError(
                f"movie {path} has images along axes {images.axes.lower()} {images.sizes} instead of frames alone: "
                "save one channel as a time series"
            )
    remarks = [remark for images in found for remark in images.remarks]
    if others and not all(images.goes_on for images in others):
        if len(first.there) == 1 or any(len(images.there) > 1 for images in others):
            raise InputError(f"movie {path} holds {len(found)} positions or images: save each in a file of its own")
        remarks.append(f"movie {path}: {len(others)} single images beside the movie are left out")
        others = []
    elif others:
        remarks.append(f"movie {path} holds {len(found)} series: they are read as one, one after another")
    joined = [first, *others]
    there = np.concatenate([images.there for images in joined])
    places = [(images, place) for images in joined for place in range(len(images.there))] if others else []

    def read(start: int, stop: int) -> U16:
        if not others:
            return first.read(range(start, min(stop, len(there))))
        return np.concatenate(
            [np.empty((0, *first.shape_yx), np.uint16), *(one.read([at]) for one, at in places[start:stop])]
        )

    return Movie(
        (len(there), *first.shape_yx),
        first.sampling,
        read,
        first.dtype,
        frozenset(np.flatnonzero(~there).tolist()),
        sum(images.lost_after for images in joined),
        tuple(remarks),
    )
