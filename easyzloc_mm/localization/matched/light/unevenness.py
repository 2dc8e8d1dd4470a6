"""How unevenly a frame is lit between its molecules: which of the bank's filters suit it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from easyzloc_mm.numerics.kernel import FAST, kernel
from easyzloc_mm.psf.detection_bank import AROUND_PX, LEVEL_KNOWN, LEVEL_UNKNOWN, DetectionBank
from easyzloc_mm.typing import F32, F64

PLACES = 1500
"""That are looked at, about."""
FEWEST = 60
"""With fewer, light is taken for even."""
BRIGHT = np.float32(4.5)
"""In units of the noise: what is brighter is a molecule, or very uneven light."""
LEAST_DARK = 0.2
"""Share of places without anything bright, below which all places count."""
SHARP = np.float32(5.0 * np.sqrt(72.0))
"""Eight times a pixel less those around it, in units of the noise: what exceeds five of them is no light."""
CROWDED = 0.4
"""Share of bright places with something sharp, above which they are bright with molecules."""
QUANTILES = 0.16, 0.84
BETWEEN = 1.989
"""How far apart they are, of a normal distribution of unit variance."""
CAUTION = 1.5
"""Light is taken for so many times as uneven as it looks: it is more so in one part of a frame than in another."""
SURE = 3.0
"""Standard errors by which the variance of what even frames show may exceed that of the noise."""


class Light(NamedTuple):
    """How unevenly a frame is lit.

    Attributes
    ----------
    level : int
        Number of the bank's filters that suit it.
    unevenness : float
        Standard deviation of the light between molecules, in units of the noise of a binned pixel; 0: even.
    """

    level: int = LEVEL_UNKNOWN
    unevenness: float = 0.0


EVEN, KNOWN = Light(), Light(LEVEL_KNOWN)
"""Light of any level, and of one that the tiles agree on (`background.agreed`)."""


def light_of(image: F32, bank: DetectionBank) -> Light:
    """Return how a frame is lit, as it is where no molecule is bright.

    Parameters
    ----------
    image : ndarray, shape (Y, X), float32
        Deviations of binned pixels from the background, in units of the noise; with its margin.
    bank : DetectionBank
    """
    rows, columns = (size - AROUND_PX + 1 - 2 * (AROUND_PX // 2) for size in image.shape)
    if rows <= 0 or columns <= 0:
        return EVEN
    step = max(1, int(np.sqrt(rows * columns / PLACES)))
    seen, bright, sharp = probed(image, bank.probes, step)
    dark = ~bright
    if dark.mean() < LEAST_DARK:
        if sharp[bright].mean() > CROWDED:
            return EVEN
        dark[:] = True
    if dark.sum() < FEWEST:
        return EVEN
    low, high = np.quantile(seen[dark], QUANTILES, axis=0)
    separate = np.minimum(rows * columns / np.square(bank.probe_px), len(seen)) * dark.mean()
    excess = ((high - low) / BETWEEN) ** 2 - 1 - SURE * np.sqrt(2 / separate)
    uneven = float(np.sqrt(max(float(np.max(excess / bank.probe_gain)), 0.0)))
    level = EVEN.level + int(np.searchsorted(bank.unevenness[EVEN.level :], CAUTION * uneven))
    return Light(min(level, len(bank.unevenness) - 1), uneven)


def light_sd(unevenness: F64, background: F64, read_variance: float) -> F64:
    """Return the standard deviation of uneven light, photons per pixel.

    Parameters
    ----------
    unevenness : ndarray, shape (n,)
        As of `Light`.
    background : ndarray, shape (n,)
        Photons per pixel.
    read_variance : float
        Of a pixel, effective electrons squared.
    """
    # A binned pixel has four times the light of a pixel, and twice its noise.
    return np.asarray(unevenness / 2 * np.sqrt(np.maximum(background + read_variance, 0.0)))


@kernel(fastmath=FAST)
def probed(image, probes, step):  # type: ignore[no-untyped-def]
    """Return what probes show every so many pixels, where they lie in the frame; and what is bright, and sharp."""
    edge = probes.shape[1]
    first = edge // 2
    down = (image.shape[0] - 2 * first - edge) // step + 1
    across = (image.shape[1] - 2 * first - edge) // step + 1
    out, bright = np.empty((down * across, len(probes)), np.float32), np.zeros(down * across, np.bool_)
    sharp = np.zeros(down * across, np.bool_)
    for i in range(down):
        for j in range(across):
            top, left = first + i * step, first + j * step
            at = i * across + j
            for p in range(len(probes)):
                total = np.float32(0)
                for a in range(edge):
                    line, taps = image[top + a, left : left + edge], probes[p, a]
                    for b in range(edge):
                        total += min(line[b], BRIGHT) * taps[b]
                out[at, p] = total
            bright[at] = image[top : top + edge, left : left + edge].max() > BRIGHT
            if bright[at]:
                sharp[at] = _sharp(image, top, left, edge)
    return out, bright, sharp


@kernel()
def _sharp(image, top, left, edge):  # type: ignore[no-untyped-def]
    for y in range(top, top + edge):
        for x in range(left, left + edge):
            if image[y, x] > BRIGHT:
                around = image[y - 1, x - 1] + image[y - 1, x] + image[y - 1, x + 1] + image[y, x - 1]
                around += image[y, x + 1] + image[y + 1, x - 1] + image[y + 1, x] + image[y + 1, x + 1]
                if 8 * image[y, x] - around > SHARP:
                    return True
    return False
