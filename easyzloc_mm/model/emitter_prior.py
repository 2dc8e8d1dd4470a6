"""The emitters that a model is trained for: their brightness, background, depth and the errors of their crops."""

from __future__ import annotations

import numpy as np

from easyzloc_mm._models import FrozenModel, NonNegative, Positive
from easyzloc_mm.psf.mle import SpotPrior
from easyzloc_mm.typing import F64, AnyFloat

TYPICAL_PHOTONS, TYPICAL_BACKGROUND = (1000.0, 3000.0), (20.0, 100.0)
"""Emitters that models are evaluated on: photons, and background photons per pixel."""
MIN_PLACE_SD_PX, MIN_LOG_PHOTONS_SD = 0.3, 0.5


class EmitterPrior(FrozenModel):
    """Emitters that a model is trained for.

    Attributes
    ----------
    photons, background : (float, float)
        Range of photons per emitter and of background photons per pixel, drawn log-uniformly.
    crop_error_px : (float, float)
        Standard deviation of the fitted position from the true one: of ordinary fits, and of bad ones.
    bad_fit_share : float
        Share of bad fits.
    neighbour_share : float
        Share of images with a second emitter between `neighbour_px` pixels away.
    z_limit_nm : float
        Depths are drawn uniformly from -z_limit_nm to z_limit_nm.
    """

    photons: tuple[Positive, Positive] = (300.0, 20000.0)
    background: tuple[Positive, Positive] = (5.0, 150.0)
    crop_error_px: tuple[NonNegative, NonNegative] = (0.15, 0.5)
    bad_fit_share: NonNegative = 0.4
    neighbour_share: NonNegative = 0.1
    neighbour_px: tuple[Positive, Positive] = (5.0, 12.0)
    z_limit_nm: Positive = 1250.0

    def effective(self, excess_noise: float) -> EmitterPrior:
        """Return what a camera with excess noise sees of them: ranges in effective photons (`CameraResponse`)."""

        def seen(photons: tuple[float, float]) -> tuple[float, float]:
            return photons[0] / excess_noise, photons[1] / excess_noise

        return self.model_copy(update={"photons": seen(self.photons), "background": seen(self.background)})

    def prior(self, x: AnyFloat, y: AnyFloat, background: F64 | None = None) -> SpotPrior:
        """Return the prior of spots fitted at sensor positions x, y (pixels), for the likelihood fit.

        Parameters
        ----------
        x, y : ndarray, shape (n,)
        background : ndarray, shape (n, 2), optional
            What is known of the background around each, photons per pixel, and its standard deviation.
        """
        low, high = np.log(np.array(self.photons))
        at_x, at_y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        return SpotPrior(
            x_px=at_x - np.rint(at_x),
            y_px=at_y - np.rint(at_y),
            place_sd_px=max(*self.crop_error_px, MIN_PLACE_SD_PX),
            log_photons=(low + high) / 2,
            log_photons_sd=max((high - low) / np.sqrt(12), MIN_LOG_PHOTONS_SD),
            background=None if background is None else background[:, 0],
            background_sd=None if background is None else background[:, 1],
        )

    def typical(self, z_limit_nm: float, excess_noise: float = 1.0) -> EmitterPrior:
        """Return the well-localised single emitters of this prior, of typical brightness where it is broad.

        Parameters
        ----------
        z_limit_nm : float
        excess_noise : float
            Of the camera, where this prior is in effective photons.
        """

        def part(whole: tuple[float, float], usual: tuple[float, float]) -> tuple[float, float]:
            low, high = max(whole[0], usual[0] / excess_noise), min(whole[1], usual[1] / excess_noise)
            return (low, high) if low < high else whole

        return self.model_copy(
            update={
                "photons": part(self.photons, TYPICAL_PHOTONS),
                "background": part(self.background, TYPICAL_BACKGROUND),
                "bad_fit_share": 0.0,
                "neighbour_share": 0.0,
                "z_limit_nm": z_limit_nm,
            }
        )
