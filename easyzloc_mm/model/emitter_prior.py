"""The molecules that a model shall know."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.psf.mle import SpotPrior

TYPICAL_PHOTONS, TYPICAL_BACKGROUND = (1000.0, 3000.0), (20.0, 100.0)
"""Molecules by which models are judged: photons, and background photons per pixel."""
MIN_PLACE_SD_PX, MIN_LOG_PHOTONS_SD = 0.3, 0.5


@dataclass(frozen=True)
class EmitterPrior:
    """The molecules that a model shall know.

    Attributes
    ----------
    photons, background : (float, float)
        Range of photons per molecule and of background photons per pixel, drawn log-uniformly.
    crop_error_px : (float, float)
        Standard deviation of the fitted place against the true one: of ordinary fits, and of bad ones.
    bad_fit_share : float
        Share of bad fits.
    neighbour_share : float
        Share of images with a second molecule between `neighbour_px` pixels away.
    z_limit_nm : float
        Depths are drawn uniformly from -z_limit_nm to z_limit_nm.
    """

    photons: tuple[float, float] = (300.0, 20000.0)
    background: tuple[float, float] = (5.0, 150.0)
    crop_error_px: tuple[float, float] = (0.15, 0.5)
    bad_fit_share: float = 0.4
    neighbour_share: float = 0.1
    neighbour_px: tuple[float, float] = (5.0, 12.0)
    z_limit_nm: float = 1250.0

    def prior(self, x: NDArray[np.floating], y: NDArray[np.floating]) -> SpotPrior:
        """Tell what is known of spots fitted at sensor positions x, y, before their pixels are looked at."""
        low, high = np.log(np.array(self.photons))
        x, y = np.asarray(x, float), np.asarray(y, float)
        return SpotPrior(
            x_px=x - np.rint(x),
            y_px=y - np.rint(y),
            place_sd_px=max(*self.crop_error_px, MIN_PLACE_SD_PX),
            log_photons=(low + high) / 2,
            log_photons_sd=max((high - low) / np.sqrt(12), MIN_LOG_PHOTONS_SD),
        )

    def typical(self, z_limit_nm: float) -> EmitterPrior:
        """Take the well-recorded lone molecules of this domain, down to the default's where it is broad."""

        def part(whole: tuple[float, float], usual: tuple[float, float]) -> tuple[float, float]:
            low, high = max(whole[0], usual[0]), min(whole[1], usual[1])
            return (low, high) if low < high else whole

        return replace(
            self,
            photons=part(self.photons, TYPICAL_PHOTONS),
            background=part(self.background, TYPICAL_BACKGROUND),
            bad_fit_share=0.0,
            neighbour_share=0.0,
            z_limit_nm=z_limit_nm,
        )
