"""Made-up frames of Gaussian spots: enough to measure speed, where no depth is asked for."""

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
    """Make frames with as many spots each at places of their own, the same every time.

    Parameters
    ----------
    shape_yx : tuple of int
        Pixels.
    frames, spots : int
        How many, and how many in each.
    light, background : float
        Photons of a spot, and per pixel.
    sigma_px : float
        Width of the spots.
    baseline_adu, electrons_per_adu : float
        Of the camera; every photon of light gives an electron.
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
