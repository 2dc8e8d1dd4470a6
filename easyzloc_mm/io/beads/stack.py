"""One bead stack as every reader gives it: pixels on demand and a table of stage readings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.errors import InputError
from easyzloc_mm.typing import U16

if TYPE_CHECKING:
    from easyzloc_mm.io.zarr.chunks import ChunkedArray

NUMBERS = ("requested_z_um", "measured_z_um", "x_um", "y_um", "exposure_ms", "time_s")
"""Columns of the stored plane table; after them stands the index of the illumination preset."""
COLUMNS = (*NUMBERS[:5], "illumination", "time_s")
"""Columns of `BeadStack.planes`, in order."""
FEWEST_PLANES = 8
"""A bead alone is held against itself by every second plane, and a cubic through focus takes four."""


def check_planes(planes: int, where: str, cure: str) -> None:
    """Raise `InputError` where a stack has, or would have, too few planes to calibrate by."""
    if planes < FEWEST_PLANES:
        raise InputError(f"{where} has {planes} plane(s), a bead stack needs {FEWEST_PLANES} or more: {cure}")


OTHER_STACK = "leave it out, or acquire it again"
"""What to do about a file with too few."""


class Planes(Protocol):
    """Planes that are read where they are indexed, by their number or numbers first."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Planes, rows, columns."""
        ...

    def __getitem__(self, key: Any, /) -> U16:
        """Return a part of one plane, or of each of several."""
        ...


class StoredPlanes:
    """The (z, y, x) array of a store, a chunk per plane; a plane that is missing or damaged is an `InputError`."""

    def __init__(self, array: ChunkedArray) -> None:
        self._array, self.shape = array, array.shape

    def __getitem__(self, key: tuple[Any, ...]) -> U16:
        """Return a part of one plane, or of each of several: their number or numbers come first in `key`."""
        chosen, *rest = key
        if isinstance(chosen, int):
            return np.asarray(self._array.read((chosen, 0, 0))[0][tuple(rest)])
        block = np.empty((len(chosen), *self.shape[1:]), self._array.dtype)
        for place, plane in enumerate(chosen):
            self._array.read((plane, 0, 0), block[place])
        return block[(slice(None), *rest)]


class StackPixels:
    """A (z, y, x) uint16 array that is read only where it is indexed (`numpy.asarray` reads all).

    Parameters
    ----------
    array : array, shape (z, y, x)
    planes : int or sequence of int
        How many of its planes are complete, or which.
    """

    def __init__(self, array: Planes, planes: int | Sequence[int]) -> None:
        self._array = array
        self._rows = range(planes) if isinstance(planes, int) else planes
        self.shape: tuple[int, int, int] = (len(self._rows), int(array.shape[1]), int(array.shape[2]))
        self.dtype = np.dtype(np.uint16)
        self.ndim = 3

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> U16:
        head, *rest = key if isinstance(key, tuple) else (key,)
        if head is Ellipsis:
            head, rest = slice(None), [Ellipsis, *rest]
        chosen = self._rows[head]
        if not isinstance(chosen, int):
            return np.asarray(self._array[(list(chosen), *rest)])
        return np.asarray(self._array[(chosen, *rest)])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype=dtype)


@dataclass(frozen=True)
class BeadStack:
    """One field of view through focus.

    Attributes
    ----------
    fov : int
        0-based field of view within its source.
    pixels : StackPixels, shape (z, y, x), uint16
        ADU, cut to the complete planes; read on indexing.
    planes : DataFrame
        One row per plane, columns `COLUMNS`.
    pixel_size_nm, z_step_nm : float
        Sampling.
    response : CameraResponse or None
        Camera units of the profile that the stack was taken with.
    source : Path
        File or store.
    full_scale_adu : int or None
        The camera's upper end, where it is known.
    bleaching_per_um : float or None
        Relative change of the beads' light per um of rising z, where it was measured.
    frames_per_plane : int
        Camera frames whose mean each plane is.
    planes_lost : int
        Planes that were taken, or planned, and are not there.
    """

    fov: int
    pixels: StackPixels
    planes: pd.DataFrame
    pixel_size_nm: float
    z_step_nm: float
    response: CameraResponse | None
    source: Path
    full_scale_adu: int | None = None
    bleaching_per_um: float | None = None
    frames_per_plane: int = 1
    planes_lost: int = 0
