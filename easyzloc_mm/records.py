"""Small records that pass between the rooms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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
