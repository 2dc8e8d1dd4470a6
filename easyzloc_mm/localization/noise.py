"""Is the camera what its units say? A verdict on the noise around the molecules of a run, and what is done about it."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterable

import numpy as np

from easyzloc_mm.camera.noise import noise_sentence
from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.errors import EasyZlocWarning
from easyzloc_mm.io.runs.metadata import NoiseCheck

FEWEST_MOLECULES = 50
"""With fewer there is no verdict."""
KEPT_MOLECULES = 4000
NOTICED = 1.1
"""Noise that is higher, or lower, by this factor (of its variance) is not what the units say."""
WORST = 4.0
"""Uncertainties are scaled for noise up to so many times, or this part of, what the units say."""


class NoiseMeter:
    """Collects what molecules show of the noise (`matched.noise`), in units of what the camera's units say."""

    def __init__(self) -> None:
        self._ratios: deque[float] = deque(maxlen=KEPT_MOLECULES)

    def see(self, ratios: Iterable[float]) -> None:
        """Take the ratios of some molecules in."""
        self._ratios.extend(ratios)

    @property
    def molecules(self) -> int:
        """Of those that were seen, the last so many count."""
        return len(self._ratios)

    @property
    def check(self) -> NoiseCheck | None:
        """What the last molecules say; None while they are too few."""
        if len(self._ratios) < FEWEST_MOLECULES:
            return None
        ratio = float(np.median(self._ratios))
        unlike = not 1 / NOTICED <= ratio <= NOTICED
        applied = float(np.clip(ratio, 1 / WORST, WORST)) if unlike else 1.0
        return NoiseCheck(ratio=ratio, applied=applied, molecules=len(self._ratios))


def noise_figures(check: NoiseCheck | None) -> dict[str, float]:
    """Return the verdict as a run's report has it."""
    return {} if check is None else {"noise_ratio": check.ratio, "noise_applied": check.applied}


def warn_of_noise(check: NoiseCheck | None, response: CameraResponse, images: str) -> None:
    """Warn where a run's images are not as noisy as the camera's units say; `images` says whose they are."""
    if check is not None and check.applied != 1.0:
        consequence = "uncertainties and flags are made for that noise, photon numbers stay as they are"
        if check.applied != check.ratio:
            consequence = f"uncertainties and flags are for {check.applied:.2g} times, and not to be trusted"
        warnings.warn(noise_sentence(check.ratio, response, images, consequence), EasyZlocWarning, stacklevel=4)
