"""What passes between the rooms: array types, progress, camera frames, stage positions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
AnyFloat = NDArray[np.floating[Any]]
"""Floating point of any width."""
I64 = NDArray[np.int64]
U16 = NDArray[np.uint16]
Bool = NDArray[np.bool_]

Progress = Callable[[str, float], None]
"""Called with what is being done, for people, and the share that is done, 0 to 1; from the caller's own thread."""

IfExists = Literal["error", "overwrite"]
"""What becomes of an output that is there already."""
IfExistsResume = Literal["error", "overwrite", "resume"]
"""The same, where an unfinished output can also be continued."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One camera image of a stream.

    Attributes
    ----------
    index : int
        0-based frame number within the run.
    pixels : ndarray, shape (height, width), uint16
        ADU as the camera gave them.
    received_s : float
        `time.monotonic` when the frame reached this process, seconds.
    """

    index: int
    pixels: NDArray[np.uint16]
    received_s: float


@dataclass(frozen=True, slots=True)
class StagePosition:
    """Where the stages stand, in micrometres, as the stages report it."""

    x_um: float
    y_um: float
    z_um: float

    def __str__(self) -> str:
        x_um, y_um = (round(place, 2) + 0.0 for place in (self.x_um, self.y_um))  # no minus before a zero
        return f"x {x_um:.2f}, y {y_um:.2f}, z {self.z_um:.3f} um"
