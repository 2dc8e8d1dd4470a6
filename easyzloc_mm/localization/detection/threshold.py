"""The threshold of Picasso's detection, found from the frames themselves."""

from __future__ import annotations

import functools

import numpy as np

from easyzloc_mm.localization.detection.detect import detect
from easyzloc_mm.numerics.statistics import MAD_TO_SD, robust_sd
from easyzloc_mm.typing import U16

NOISE_MADS = 6.0
FRAMES = 20
"""Frames, spread over those given, from which the noise is measured."""
TILE_PX = 16
DARKEST = 0.3
"""Quantile of the tiles' noise that is the frames' own, however many molecules there are."""
MORE_THAN_NOISE = 2.0
"""Maxima above so many times what the pixels' noise explains are molecules."""


def automatic_threshold(frames: U16, box: int) -> float:
    """Return the net gradient (ADU) that noise hardly ever reaches.

    Every frame has thousands of maxima that are only noise and a few that are molecules. The noise maxima's median and
    robust deviation give the range of noise; molecules, being few, do not shift them. Where they are not few, the noise
    of the pixels in the darkest tiles bounds the threshold.

    Parameters
    ----------
    frames : ndarray, shape (T, Y, X), uint16
    box : int
        Odd edge of the detection box.
    """
    chosen = frames[np.unique(np.linspace(0, len(frames) - 1, FRAMES).astype(int))]
    threshold = _of_maxima(chosen, box)
    bound = MORE_THAN_NOISE * _pixel_noise(chosen) * _per_pixel_noise(box)
    return max(1.0, min(threshold, bound) if bound > 0 else threshold)


def _of_maxima(frames: U16, box: int) -> float:
    gradient = np.concatenate([detect(frame, 0.0, box)[2] for frame in frames]).astype(float)
    if not len(gradient):
        return 1.0
    middle = float(np.median(gradient))
    return middle + NOISE_MADS * robust_sd(gradient, about=middle)


def _pixel_noise(frames: U16) -> float:
    """Return the standard deviation of a pixel's noise in the darkest tiles, ADU."""
    rows, columns = (size // TILE_PX * TILE_PX for size in frames.shape[1:])
    if not rows or not columns:
        return 0.0
    # Of neighbours but one, which read-out rounds apart; light that varies over a tile hardly enters.
    step = frames[:, :rows, 2:].astype(np.int32) - frames[:, :rows, :-2]
    step = step[:, :, : (columns - 2) // TILE_PX * TILE_PX]
    if not step.size:
        return 0.0
    tiles = np.abs(step).reshape(len(frames), rows // TILE_PX, TILE_PX, -1, TILE_PX)
    noise = np.median(tiles, axis=(2, 4)) * MAD_TO_SD / np.sqrt(2)
    return float(np.quantile(noise, DARKEST))


@functools.cache
def _per_pixel_noise(box: int) -> float:
    """Return the threshold of frames that are noise alone, per standard deviation of a pixel."""
    noise = 50.0
    frame = np.rint(np.random.default_rng(0).normal(1000.0, noise, (1, 256, 256))).astype(np.uint16)
    return _of_maxima(frame, box) / noise
