"""Planes that are means of frames, and their camera units; units guessed from the beads where nobody gave them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np

from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.numerics.statistics import robust_sd
from easyzloc_mm.typing import U16

ASSUMED_READ_NOISE_E = 1.6
"""Of scientific CMOS cameras."""
ASSUMED_GAIN = 0.5
GAINS = (0.02, 10.0)
LEVELS = 12
ROUNDING = 1 / 12
"""Variance that rounding to whole counts adds, ADU^2."""


def mean_of_frames(frames: Iterable[U16], full_scale_adu: int) -> U16:
    """Average the frames of one plane, rounded to whole counts.

    A pixel that reached the camera's upper end in any of them stands at the upper end: its mean would hide that.
    """
    total = np.zeros(1, np.uint32)
    clipped = np.zeros(1, bool)
    count = 0
    for frame in frames:
        total, clipped = total + frame, clipped | (frame >= full_scale_adu)
        count += 1
    mean = np.rint(total / count).astype(np.uint16)  # halves to even: always up would add to the baseline
    mean[clipped] = full_scale_adu
    return mean


def of_averaged(response: CameraResponse, frames: int) -> CameraResponse:
    """Units of planes that are means of several frames: photons are those of all frames together.

    Their shot noise is then that of the photons again, and what the camera adds is the read noise of every frame, and
    the rounding of the mean to whole counts.

    Parameters
    ----------
    response : CameraResponse
        Of single frames.
    frames : int
        Averaged per plane.
    """
    if frames == 1:
        return response
    gain = frames * response.electrons_per_adu
    read_noise_e = float(np.sqrt(frames * response.read_noise_e**2 + ROUNDING * gain**2))
    return response.model_copy(update={"electrons_per_adu": gain, "read_noise_e": read_noise_e})


def estimate_response(
    rois: U16, *, baseline_adu: float | None = None, electrons_per_adu: float | None = None
) -> CameraResponse:
    """Photon transfer on what there is: noise between neighbouring planes against their mean.

    The second difference along z removes what changes slowly with focus. The darker half of the pixels, where the
    spots do not, gives a line: its slope is the gain, and where it reaches the read noise lies the baseline. That is a
    guess, not a measurement, and is marked so unless both values were given.

    Parameters
    ----------
    rois : ndarray, shape (n, P, R, R), uint16
        Bead stacks, ADU.
    baseline_adu, electrons_per_adu : float, optional
        Known values; only the others are estimated.
    """
    values = rois.astype(np.float32)
    mean = (values[:, :-2] + values[:, 1:-1] + values[:, 2:]).ravel() / 3
    curve = (values[:, :-2] - 2 * values[:, 1:-1] + values[:, 2:]).ravel()
    edges = np.quantile(mean, np.linspace(0.0, 0.8, LEVELS + 1))
    level, variance = [], []
    for low, high in itertools.pairwise(edges):
        inside = (mean >= low) & (mean < high)
        if inside.sum() >= 50:
            level.append(float(mean[inside].mean()))
            variance.append(robust_sd(curve[inside], about=0.0) ** 2 / 6)
    gain = electrons_per_adu
    if gain is None:
        slope = np.polyfit(level, variance, 1)[0] if len(level) > 2 and np.ptp(level) > 0 else 0.0
        gain = float(np.clip(1 / slope, *GAINS)) if slope > 0 else ASSUMED_GAIN
    baseline = baseline_adu
    if baseline is None:
        # variance = (level - baseline) / gain + (read noise / gain)^2, solved where the camera is darkest
        dark, noise = (level[0], variance[0]) if level else (float(mean.min(initial=0)), 0.0)
        shot = max(noise - (ASSUMED_READ_NOISE_E / gain) ** 2, 0.0)
        baseline = float(np.clip(dark - gain * shot, 0.0, dark))
    return CameraResponse(
        baseline_adu=baseline,
        electrons_per_adu=gain,
        read_noise_e=ASSUMED_READ_NOISE_E,
        estimated=baseline_adu is None or electrons_per_adu is None,
    )
