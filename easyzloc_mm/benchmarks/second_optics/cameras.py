"""Cameras to put behind the second lens: CMOS, sCMOS whose pixels differ, and EMCCD."""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache

import numpy as np

from easyzloc_mm.camera.response import EM_EXCESS, CameraResponse, PixelResponse

BASELINE_SD_ADU, GAIN_SD, READ_NOISE_LOG_SD = 2.0, 0.04, 0.35
"""How pixels of a scientific CMOS camera differ: baseline, gain (relative), and read noise (log-normal)."""


class CameraKind(StrEnum):
    """A kind of camera."""

    CMOS = "cmos"
    SCMOS = "scmos"
    EMCCD = "emccd"


RESPONSES = {
    CameraKind.CMOS: CameraResponse(baseline_adu=100.0, electrons_per_adu=0.5, read_noise_e=1.6),
    CameraKind.SCMOS: CameraResponse(baseline_adu=100.0, electrons_per_adu=0.5, read_noise_e=1.6),
    CameraKind.EMCCD: CameraResponse(
        baseline_adu=200.0, electrons_per_adu=0.15, read_noise_e=0.5, excess_noise=EM_EXCESS
    ),
}
"""EMCCD: 15 electrons per count and 50 e of read noise behind a register of gain 100."""


@lru_cache(maxsize=2)
def unlike_pixels(response: CameraResponse, shape_yx: tuple[int, int], seed: int) -> PixelResponse:
    """Return pixels that differ as those of a scientific CMOS camera do, around a response of the whole chip."""
    rng = np.random.default_rng(seed)
    return PixelResponse(
        baseline_adu=(response.baseline_adu + BASELINE_SD_ADU * rng.standard_normal(shape_yx)).astype(np.float32),
        read_noise_e=(response.read_noise_e * np.exp(READ_NOISE_LOG_SD * rng.standard_normal(shape_yx))).astype(
            np.float32
        ),
        electrons_per_adu=(response.electrons_per_adu * (1 + GAIN_SD * rng.standard_normal(shape_yx))).astype(
            np.float32
        ),
    )
