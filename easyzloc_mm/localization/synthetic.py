"""Synthetic frames of Gaussian spots, for measuring speed: their shape holds no depth."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from easyzloc_mm.typing import U16

READ_NOISE = 2.0


def gaussian_frames(
    shape_yx: tuple[int, int],
    frames: int,
    spots: int,
    light: float,
    background: float,
    sigma_px: float,
    *,
    baseline_adu: float,
    electrons_per_adu: float = 1.0,
) -> U16:
    """Return frames with Gaussian spots at random pixels; the same for the same arguments.

    Parameters
    ----------
    shape_yx : tuple of int
        Height and width, pixels.
    frames, spots : int
        Number of frames, and of spots in each.
    light, background : float
        Photons of a spot, and per pixel.
    sigma_px : float
        Standard deviation of the spots, pixels.
    baseline_adu, electrons_per_adu : float
        Of the camera; the quantum efficiency is 1.
    """
    rng = np.random.default_rng(0)
    made = np.empty((frames, *shape_yx), np.uint16)
    for frame in made:
        image = np.zeros(shape_yx, np.float32)
        place = rng.integers(0, shape_yx, (spots, 2))
        np.add.at(image, (place[:, 0], place[:, 1]), light)
        expected = gaussian_filter(image, sigma_px) + background
        counts = rng.poisson(expected) / electrons_per_adu + baseline_adu + rng.normal(0, READ_NOISE, shape_yx)
        frame[:] = np.clip(counts, 0, 65535)
    return made
