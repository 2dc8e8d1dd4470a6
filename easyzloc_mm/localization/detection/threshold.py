"""The detection threshold, found from the frames themselves."""

from __future__ import annotations

import numpy as np

from easyzloc_mm.localization.detection.detect import detect
from easyzloc_mm.numerics.statistics import robust_sd
from easyzloc_mm.typing import U16

NOISE_MADS = 6.0
FRAMES = 20
"""Frames, spread over those given, from which the noise is measured."""


def automatic_threshold(frames: U16, box: int) -> float:
    """Return the net gradient (ADU) that noise hardly ever reaches.

    Every frame has thousands of maxima that are only noise and a few that are molecules. The noise maxima's median and
    robust deviation give the range of noise; molecules, being few, do not shift them.

    Parameters
    ----------
    frames : ndarray, shape (T, Y, X), uint16
    box : int
        Odd edge of the detection box.
    """
    chosen = frames[np.unique(np.linspace(0, len(frames) - 1, FRAMES).astype(int))]
    gradient = np.concatenate([detect(frame, 0.0, box)[2] for frame in chosen]).astype(float)
    if not len(gradient):
        return 1.0
    middle = float(np.median(gradient))
    return max(1.0, middle + NOISE_MADS * robust_sd(gradient, about=middle))
