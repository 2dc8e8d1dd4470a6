"""Planes that are means of frames, and their camera units; units guessed from the beads where nobody gave them."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable

import numpy as np

from easyzloc_mm.camera.noise import noise_sentence
from easyzloc_mm.camera.response import NO_EXCESS, CameraResponse
from easyzloc_mm.errors import EasyZlocWarning
from easyzloc_mm.io.beads.dataset import BeadDataset
from easyzloc_mm.numerics.statistics import robust_sd
from easyzloc_mm.typing import U16

ASSUMED_READ_NOISE_E = 1.6
"""Of scientific CMOS cameras."""
ASSUMED_GAIN = 0.5
GAINS = (0.02, 10.0)
LEVELS = 12
ROUNDING = 1 / 12
"""Variance that rounding to whole counts adds, ADU^2."""
NOISE_BEADS, FEWEST_BEADS = 60, 5
FAINT_SHARE = 0.3
"""Of a ROI's pixels, the darkest: what changes with focus there is little."""
SHOT_SHARE = 0.3
"""Of the noise there; with less, the read noise hides the gain."""
NOTICED = 1.15
"""Noise that is higher, or lower, by this factor (of its variance) is not what the units say."""


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


def noise_ratio(beads: BeadDataset) -> float | None:
    """Return the variance of the beads' background over what the camera's units say; None where it cannot be told.

    It is that of the second differences along z, less what all pixels of a plane have in common: a lamp flickers.
    """
    ratios = []
    for bead in np.flatnonzero(beads.accepted)[:NOISE_BEADS]:
        camera = of_averaged(beads.response, beads.frames_per_plane(int(bead))).effective()
        planes = beads.rois[bead, np.isfinite(beads.z_nm[bead])].astype(np.float32)
        photons = (planes - np.float32(camera.baseline_adu)) * np.float32(camera.electrons_per_adu)
        if len(photons) < 3:
            continue
        level = (photons[:-2] + photons[1:-1] + photons[2:]) / 3
        bend = photons[:-2] - 2 * photons[1:-1] + photons[2:]
        bend -= np.median(bend, axis=(1, 2), keepdims=True)
        # By the whole stack: planes that are dark by chance are less noisy, too.
        whole = photons.mean(axis=0)
        faint = whole <= np.quantile(whole, FAINT_SHARE)
        rest = camera.read_noise_e**2 + ROUNDING * camera.electrons_per_adu**2
        shot = max(float(level[:, faint].mean()), 0.0)
        if shot >= SHOT_SHARE * (shot + rest):
            ratios.append(float(np.mean(bend[:, faint] ** 2)) / (6 * (shot + rest)))
    return float(np.median(ratios)) if len(ratios) >= FEWEST_BEADS else None


def warn_of_noise(beads: BeadDataset) -> None:
    """Warn where known units do not explain the noise of the beads' background."""
    ratio, response = noise_ratio(beads), beads.response
    if ratio is None or response.estimated or 1 / NOTICED <= ratio <= NOTICED:
        return
    consequence = "photons of beads are wrong, and of every movie that is localised with these units"
    warnings.warn(noise_sentence(ratio, response, "around the beads", consequence), EasyZlocWarning, stacklevel=3)


def estimate_response(
    rois: U16,
    *,
    baseline_adu: float | None = None,
    electrons_per_adu: float | None = None,
    excess_noise: float = NO_EXCESS,
) -> CameraResponse:
    """Photon transfer on what there is: noise between neighbouring planes against their mean.

    The second difference along z removes what changes slowly with focus. The darker half of the pixels, where the
    spots do not, gives a line: its slope is the gain (times the excess noise), and where it reaches the read noise lies
    the baseline. That is a guess, not a measurement, and is marked so unless both values were given.

    Parameters
    ----------
    rois : ndarray, shape (n, P, R, R), uint16
        Bead stacks, ADU.
    baseline_adu, electrons_per_adu : float, optional
        Known values; only the others are estimated.
    excess_noise : float
        2 for planes taken with EM gain, whose read noise is then next to none.
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
    read_noise_e = ASSUMED_READ_NOISE_E if excess_noise == NO_EXCESS else 0.0
    gain = electrons_per_adu
    if gain is None:
        slope = np.polyfit(level, variance, 1)[0] if len(level) > 2 and np.ptp(level) > 0 else 0.0
        gain = float(np.clip(excess_noise / slope, *GAINS)) if slope > 0 else ASSUMED_GAIN
    baseline = baseline_adu
    if baseline is None:
        # variance = excess * (level - baseline) / gain + (read noise / gain)^2, solved where the camera is darkest
        dark, noise = (level[0], variance[0]) if level else (float(mean.min(initial=0)), 0.0)
        shot = max(noise - (read_noise_e / gain) ** 2, 0.0) / excess_noise
        baseline = float(np.clip(dark - gain * shot, 0.0, dark))
    return CameraResponse(
        baseline_adu=baseline,
        electrons_per_adu=gain,
        read_noise_e=read_noise_e,
        excess_noise=excess_noise,
        estimated=baseline_adu is None or electrons_per_adu is None,
    )
