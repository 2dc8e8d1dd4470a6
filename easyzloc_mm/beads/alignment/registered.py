"""What goes into the alignment of beads, and what comes out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from easyzloc_mm.beads.alignment.sharpness import spacing_of
from easyzloc_mm.typing import F32, F64


@dataclass(frozen=True)
class RegisteredStack:
    """One bead, centred on the middle pixel.

    Attributes
    ----------
    patches : ndarray, shape (P, size * size), float32
        Photons above background.
    stage_nm : ndarray, shape (P,)
        Stage position of the planes, rising.
    x, y : float
        Place in the field, -1..1.
    background : float
        Photons per pixel that were subtracted, read-out variance included: the noise where there is no signal.
    noise_kept : float
        Part of a pixel's variance that registration left (`registration.noise_kept`).
    """

    patches: F32
    stage_nm: F64
    x: float
    y: float
    background: float
    noise_kept: float = 1.0

    @property
    def size_px(self) -> int:
        """Edge of the images."""
        return math.isqrt(self.patches.shape[1])


@dataclass(frozen=True)
class Alignment:
    """Foci of n beads, and how each differs from the model of its place; NaN where the focus is outside the stack.

    Attributes
    ----------
    focus_nm : ndarray, shape (n,)
        Stage position of each bead's focus.
    residual : ndarray, shape (n,)
        Difference from the model that noise does not explain, relative to the signal.
    sharpness_shift_nm : ndarray, shape (n,)
        Focus against that of sharpness alone.
    bleaching_per_um : ndarray, shape (n,)
        Change of brightness with rising z against the model's, per um, relative.
    lateral_scatter_px : ndarray, shape (n,)
        Root mean square lateral scatter through the stack beyond the motion of the other beads, pixels.
    off_centre_px : ndarray, shape (n, 2)
        Where each bead's middle is, x and y from the middle of its patches, by the others of its place.
    degree : int
        Of the polynomial that describes the PSF over the field.
    """

    focus_nm: F64
    residual: F64
    sharpness_shift_nm: F64
    bleaching_per_um: F64
    lateral_scatter_px: F64
    off_centre_px: F64
    degree: int


def planes_averaged(stack: RegisteredStack, spacing: float) -> float:
    """Return how many planes' worth of noise reduction the triangular mean over `spacing` brings."""
    step = spacing_of(stack.stage_nm)
    if step >= spacing:
        return 1.5  # between two planes, two thirds of the variance on average
    offsets = step * np.arange(-int(spacing // step), int(spacing // step) + 1)
    weight = np.maximum(0.0, 1 - np.abs(offsets) / spacing)
    return float(weight.sum() ** 2 / np.sum(weight**2))
