"""What a source of images holds: places along axes, which of them have an image, and what its headings state."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.units import is_pixels, length_nm
from easyzloc_mm.typing import F64, I64, U16, Bool

COUNTS = (np.uint8, np.uint16)
"""Pixel types that hold nothing but counts. Programs save counts in others too: these are looked at, image by image."""
PIXEL_NM = (5.0, 20_000.0)
"""Pixels in the sample plane that can be."""
STEP_NM = (0.5, 20_000.0)
"""Distances of planes that can be."""
ALIKE = 0.01
"""Edges of a pixel that differ by more are not of a square one."""
NO_LENGTHS = ("", "inch", "in", "inches", '"', "referenceframe", "reference frame")
"""Units that state no length in the sample: printers' units, and none."""
MOST_GAPS = 20
"""So many times as many places as images may there be on an axis, and `FEW_PLACES` more."""
FEW_PLACES = 10_000
MOST_PLACES = 2**28
"""More images than a source can have."""

Take = Callable[[Sequence[int]], NDArray[Any]]
"""Gives the images of these places, which have one; shape (n, Y, X)."""


@dataclass(frozen=True)
class Sampling:
    """What a source states about its sampling.

    Attributes
    ----------
    pixel_nm, step_nm : float or None
        Pixel size in the sample plane, and distance of planes, as stated, whether it can be or not.
    z_um : ndarray, shape (places,) or None
        Stage reading of each place.
    unread : tuple of str
        What it states in a way that is not understood, as the part of a sentence after "it states".
    """

    pixel_nm: float | None = None
    step_nm: float | None = None
    z_um: F64 | None = None
    unread: tuple[str, ...] = ()


@dataclass(frozen=True)
class Images:
    """Images of one size, each at the place that the axes give it.

    Attributes
    ----------
    source : Path
    axes : str
        Names of the axes that have more than one place (or the only one that there is), slowest first: T, Z, C, I, Q.
    sizes : tuple of int
        Places along each. The last place of a single axis has an image.
    shape_yx : (int, int)
        Height and width, pixels.
    dtype : dtype
        Of the pixels, in this computer's byte order.
    there : ndarray of bool, shape (places,)
        Which places have an image.
    take : callable
        Reads.
    lost_after : int
        Images that the headings state beyond the last place.
    sampling : Sampling
    remarks : tuple of str
        What a person should know about the source, each a sentence.
    goes_on : bool
        Whether these may be the next frames of the images before them: arrays that were written one after another.
    files : frozenset of Path
        TIFF files that the images lie in.
    """

    source: Path
    axes: str
    sizes: tuple[int, ...]
    shape_yx: tuple[int, int]
    dtype: np.dtype[Any]
    there: Bool
    take: Take
    lost_after: int = 0
    sampling: Sampling = field(default_factory=Sampling)
    remarks: tuple[str, ...] = ()
    goes_on: bool = False
    files: frozenset[Path] = frozenset()

    @property
    def lost(self) -> int:
        """Images that should be there and are not."""
        return int(np.count_nonzero(~self.there)) + self.lost_after

    def read(self, places: Sequence[int]) -> U16:
        """Return images as counts, shape (n, Y, X); zeros where there is none."""
        out = np.zeros((len(places), *self.shape_yx), np.uint16)
        known = [row for row, place in enumerate(places) if self.there[place]]
        if known:
            out[known] = as_counts(self.source, self.take([places[row] for row in known]))
        return out

    def warn(self) -> None:
        """Say what is to be said about the source."""
        for remark in self.remarks:
            warnings.warn(remark, EasyZlocWarning, stacklevel=3)


def cut_behind_last(sizes: Sequence[int], there: Bool) -> tuple[tuple[int, ...], Bool, int]:
    """Cut a single axis behind its last image.

    Returns
    -------
    sizes, there
        As attributes of `Images`.
    lost_after : int
        Places that were cut off.
    """
    if len(sizes) != 1 or not there.any():
        return tuple(sizes), there, 0
    last = int(np.flatnonzero(there)[-1]) + 1
    return (last,), there[:last], len(there) - last


def as_counts(source: Path, images: NDArray[Any]) -> U16:
    """Return images as uint16, if that is what their values are.

    Raises
    ------
    InputError
        They are fractions, negative, above 65535, or no numbers: no counts that a camera gave.
    """
    if images.dtype.newbyteorder("=") not in COUNTS:
        whole = images.dtype.kind in "uif" and bool(((images >= 0) & (images <= 65535) & (images % 1 == 0)).all())
        if not whole:
            raise InputError(
                f"{source} has {images.dtype.name} pixels that are no counts from 0 to 65535: save what the camera "
                "gave, before any processing"
            )
    return images.astype(np.uint16, copy=False)


def stated_length(what: str, value: object, unit: object) -> tuple[float | None, tuple[str, ...]]:
    """Return a length in nm as a heading states it, and what of it is not understood."""
    text = str(unit).strip()
    if value is None or is_pixels(text) or text.lower() in NO_LENGTHS:
        return None, ()
    scale = length_nm(text)
    try:
        number = float(str(value))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        return None, (f"{what} as {str(value)[:40]!r}, which is no number",)
    if scale is None:
        return None, (f"{what} in {text[:40]!r}, which is no unit of length that is known",)
    return (number * scale or None), ()


def check_pixel_nm(pixel_nm: float, where: str) -> None:
    """Raise `InputError` where a pixel size cannot be; `where` names who states it."""
    low, high = PIXEL_NM
    if not low <= pixel_nm <= high:
        raise InputError(
            f"{where} states a pixel of {pixel_nm:g} nm, which no camera has in the sample plane ({low:g} to {high:g} "
            "nm): give the right one as `pixel_size_nm`"
        )


def check_step_nm(step_nm: float, where: str) -> None:
    """Raise `InputError` where a distance of planes cannot be; `where` names who states it."""
    low, high = STEP_NM
    if not low <= abs(step_nm) <= high:
        raise InputError(
            f"{where} states planes {step_nm:g} nm apart, which no stack through focus has ({low:g} to {high:g} nm): "
            "give the right distance as `z_step_nm`"
        )


def check_places(source: Path, axis: str, values: I64) -> None:
    """Raise `InputError` where the values of an axis are no numbers of images."""
    if int(values.min()) < 0 or int(values.max()) >= MOST_GAPS * len(values) + FEW_PLACES:
        raise InputError(
            f"{source} has {len(values)} images whose {axis} runs from {values.min()} to {values.max()}: these are no "
            "numbers of images; save it again with consecutive ones"
        )
