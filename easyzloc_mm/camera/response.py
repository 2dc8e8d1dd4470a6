"""What turns a camera's counts into photo-electrons: for the whole chip, or for every pixel."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, SerializerFunctionWrapHandler, ValidationError, model_serializer

from easyzloc_mm._models import FrozenModel, NonNegative, Positive, first_fault
from easyzloc_mm.errors import InputError

Floats = NDArray[np.float32]
MAPS = ("baseline_adu", "read_noise_e", "electrons_per_adu")


NO_EXCESS, EM_EXCESS = 1.0, 2.0
"""Excess noise of a camera without, and of one with an electron-multiplying register at high gain (Robbins and Hadwen,
IEEE Transactions on Electron Devices 50, 1227 (2003), https://doi.org/10.1109/TED.2003.813462)."""
ExcessNoise = Annotated[float, Field(ge=1, le=4, allow_inf_nan=False)]


class CameraResponse(FrozenModel):
    """What turns a camera's counts into photo-electrons: photons = (ADU - baseline_adu) * electrons_per_adu.

    Their variance is excess_noise * photons + read_noise_e^2.
    """

    baseline_adu: NonNegative
    electrons_per_adu: Positive
    read_noise_e: NonNegative
    excess_noise: ExcessNoise = NO_EXCESS
    """Variance of the shot noise in photo-electrons, over their number: what the EM gain's randomness makes of 1."""
    estimated: bool = False
    """True when no one measured these values and they were guessed from the images."""

    @model_serializer(mode="wrap")
    def _stored(self, values: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is not there: files of cameras without EM gain stay those of earlier versions."""
        stored: dict[str, Any] = values(self)
        if self.excess_noise == NO_EXCESS:
            stored.pop("excess_noise", None)  # absent where it was not asked for
        return stored

    def replaced(self, **units: float | None) -> CameraResponse:
        """Return it with the units that are given; None leaves one as it is.

        Raises
        ------
        InputError
            A unit cannot be.
        """
        given = {name: value for name, value in units.items() if value is not None}
        try:
            return CameraResponse.model_validate({**dict(self), **given})
        except ValidationError as error:
            name, fault = first_fault(error)
            raise InputError(f"`{name}`: {fault}; take it from the profile") from None

    def effective(self, noise_ratio: float = 1.0) -> CameraResponse:
        """Return the camera without excess noise whose images are as noisy.

        Its photons are those of this one over `excess_noise`: their variance is again their number, so that all that
        is made for Poisson noise - detection, network, likelihood, information limit - holds for them [1]_ [2]_.

        Parameters
        ----------
        noise_ratio : float
            Measured variance over that of this response; 1 where they agree.

        References
        ----------
        .. [1] Mortensen et al., Optimized localization analysis for single-molecule tracking and super-resolution
           microscopy, Nature Methods 7, 377 (2010), https://doi.org/10.1038/nmeth.1447
        .. [2] Chao, Ward and Ober, Fisher information theory for parameter estimation in single molecule microscopy,
           Journal of the Optical Society of America A 33, B36 (2016), https://doi.org/10.1364/JOSAA.33.000B36
        """
        excess = self.excess_noise * noise_ratio
        return CameraResponse(
            baseline_adu=self.baseline_adu,
            electrons_per_adu=self.electrons_per_adu / excess,
            read_noise_e=self.read_noise_e / excess,
            estimated=self.estimated,
        )


@dataclass(frozen=True)
class PixelResponse:
    """What turns counts into photo-electrons, pixel by pixel: (ADU - baseline_adu) * electrons_per_adu.

    Attributes
    ----------
    baseline_adu, read_noise_e, electrons_per_adu : ndarray, shape (height, width), float32
    """

    baseline_adu: Floats
    read_noise_e: Floats
    electrons_per_adu: Floats

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, pixels."""
        height, width = self.baseline_adu.shape
        return height, width

    def part(self, origin_px: tuple[int, int], shape_yx: tuple[int, int]) -> PixelResponse:
        """Pixels of a camera ROI, whose first pixel is the sensor's column and row `origin_px`.

        Raises
        ------
        InputError
            The ROI reaches beyond the map.
        """
        left, top = origin_px
        bottom, right = top + shape_yx[0], left + shape_yx[1]
        if min(left, top) < 0 or bottom > self.shape[0] or right > self.shape[1]:
            raise InputError(
                f"the camera map has {self.shape[1]} x {self.shape[0]} px, but the frames cover columns {left} to "
                f"{right - 1} and rows {top} to {bottom - 1} of the sensor: measure the map with the same camera ROI "
                "(`camera-calibrate`), or give the ROI's first pixel as `origin_px`"
            )
        return PixelResponse(**{name: getattr(self, name)[top:bottom, left:right].copy() for name in MAPS})

    def effective(self, excess_noise: float) -> PixelResponse:
        """Return the pixels of a camera without excess noise whose images are as noisy (`CameraResponse.effective`)."""
        excess = np.float32(excess_noise)
        return PixelResponse(self.baseline_adu, self.read_noise_e / excess, self.electrons_per_adu / excess)

    def digest(self) -> str:
        """SHA-256 of the maps: what a run stores, to be gone on with under the same ones."""
        content = hashlib.sha256(str(self.shape).encode())
        for name in MAPS:
            content.update(np.ascontiguousarray(getattr(self, name), "<f4").tobytes())
        return content.hexdigest()
