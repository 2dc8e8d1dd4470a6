"""Depth in a sample whose index is not that of the immersion: where the focus goes when the stage moves.

Oil into water, the focus moves less than the stage, and not by one factor: rays at the edge of the pupil are refracted
more than those in its middle, light beyond the critical angle comes from molecules near the glass only, and which rays
decide changes with depth. [1]_ derive how the factor depends on depth, and measure it; their closed formula is
`formula_factor`. Here the focus is found with the vectorial pupil (`sharpest_stage_nm`): far from the glass both agree,
and near to it, where the formula takes one constant, the light beyond the critical angle counts.

References
----------
.. [1] S. V. Loginov et al., "Depth-dependent scaling of axial distances in light microscopy", Optica 11, 553 (2024),
   doi:10.1364/OPTICA.520595.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import PchipInterpolator
from scipy.optimize import minimize_scalar

from easyzloc_mm._models import Finite, FrozenModel, NonNegative, Positive
from easyzloc_mm.optics.pupil import image_fields, intensity, make_pupil
from easyzloc_mm.profile.schema import Optics
from easyzloc_mm.typing import F64

SAMPLES = 96
"""Of the pupil, per axis: the image repeats after 96 wavelengths / (2 NA), some 20 um. The focus of 0.1 to 4 um depth
is within 0.3 % of that by 384 (NA 1.46, oil into water)."""
HALF_NM, STEP_NM = 600.0, 60.0
"""Of the image that is looked at, and its sampling."""
COARSE_NM = 60.0
"""Steps by which the sharpest image is looked for."""
KNOTS, FIRST_NM = 24, 100.0
"""Depths at which the focus is computed: by steps of `FIRST_NM` at first, then longer ones."""
BEYOND_NM = 2000.0
"""Molecules may lie so far above the focus."""


class IntoSample(StrEnum):
    """Which way the stage moves to take the focus from the glass into the sample."""

    RISING = "rising"
    FALLING = "falling"


class DepthScale(FrozenModel):
    """Depth of the focus in the sample as a function of the stage, for one focus: small enough to go with a table.

    Attributes
    ----------
    na, immersion_index, sample_index, emission_nm : float
        Of the optics that it is for.
    focus_nm : float
        How far the stage stood from where the glass is in focus, towards the sample.
    into_sample : IntoSample
    stage_nm, depth_nm : tuple of float
        Depth of the focus at positions of the stage, from the glass; in between by monotone cubics.
    """

    na: Positive
    immersion_index: Positive
    sample_index: Positive
    emission_nm: Positive
    focus_nm: NonNegative
    into_sample: IntoSample
    stage_nm: tuple[Finite, ...]
    depth_nm: tuple[Finite, ...]

    @classmethod
    def of(cls, optics: Optics, focus_nm: float, into_sample: IntoSample = IntoSample.RISING) -> DepthScale:
        """Compute the scale of an objective.

        Parameters
        ----------
        optics : Optics
        focus_nm : float
            As in the attributes.
        into_sample : IntoSample
        """
        deepest = (focus_nm + BEYOND_NM) * max(1.0, optics.sample_index / optics.immersion_index)
        growth = np.linspace(0, 1, KNOTS) ** 1.5
        depth = np.unique(np.concatenate([np.minimum(FIRST_NM * np.arange(4), deepest), deepest * growth]))
        stage = np.array([sharpest_stage_nm(optics, float(at)) for at in depth])
        return cls(
            na=optics.na,
            immersion_index=optics.immersion_index,
            sample_index=optics.sample_index,
            emission_nm=optics.emission_nm,
            focus_nm=focus_nm,
            into_sample=into_sample,
            stage_nm=tuple((stage - stage[0]).tolist()),
            depth_nm=tuple(depth.tolist()),
        )

    @cached_property
    def _depth(self) -> PchipInterpolator:
        return PchipInterpolator(self.stage_nm, self.depth_nm)

    @property
    def _sign(self) -> float:
        return 1.0 if self.into_sample is IntoSample.RISING else -1.0

    def height_nm(self, z_nm: ArrayLike) -> F64:
        """Return z in depth of the sample from z in travel of the stage; 0 stays the focus.

        What noise puts below the glass or beyond the deepest knot goes on straight.
        """
        at = self.focus_nm + self._sign * np.asarray(z_nm, float)
        inside = np.clip(at, self.stage_nm[0], self.stage_nm[-1])
        depth = self._depth(inside) + (at - inside) * self._depth(inside, 1)
        return np.asarray(self._sign * (depth - self._depth(self.focus_nm)))

    def slope(self, z_nm: ArrayLike) -> F64:
        """Return by what an uncertainty of z is to be multiplied."""
        at = self.focus_nm + self._sign * np.asarray(z_nm, float)
        return np.asarray(self._depth(np.clip(at, self.stage_nm[0], self.stage_nm[-1]), 1))

    @property
    def focus_depth_nm(self) -> float:
        """Return the depth of the focus below the glass."""
        return float(self._depth(self.focus_nm))

    def in_words(self) -> str:
        """Return, for people, what the scale does."""
        return (
            f"the stage stood {self.focus_nm:.0f} nm beyond the glass, the focus lay at {self.focus_depth_nm:.0f} nm; "
            f"around it z is {float(self.slope(0.0)):.3f} times the travel of the stage (NA {self.na:g}, "
            f"{self.immersion_index:g} into {self.sample_index:g}, {self.emission_nm:g} nm)"
        )


def sharpest_stage_nm(optics: Optics, depth_nm: float) -> float:
    """Return where the stage stands, from where the glass's own refraction is none, when a molecule is sharpest.

    Sharpest is the image whose squares have the largest sum.

    Parameters
    ----------
    optics : Optics
    depth_nm : float
        Of the molecule above the glass.
    """
    pupil = make_pupil(optics, SAMPLES)
    wave = 2 * np.pi / optics.emission_nm
    transverse = np.minimum(np.hypot(*np.meshgrid(pupil.k, pupil.k)), wave * optics.na)
    # Beyond the critical angle the axial wave number is imaginary: that light fades with the molecule's depth.
    in_sample = np.sqrt((wave * optics.sample_index) ** 2 - transverse.astype(complex) ** 2) * depth_nm
    at = np.arange(-HALF_NM, HALF_NM + 1, STEP_NM)

    def blunt(stage_nm: float) -> float:
        factors = np.exp(1j * (in_sample - pupil.kz * stage_nm)).astype(np.complex64)
        return -float(np.sum(intensity(image_fields(factors, at, at, pupil), pupil) ** 2))

    nominal = depth_nm * optics.immersion_index / optics.sample_index
    low, high = sorted((0.8 * nominal, 1.6 * nominal))
    tried = np.arange(low - 5 * COARSE_NM, high + 5 * COARSE_NM, COARSE_NM)
    best = float(tried[int(np.argmin([blunt(float(stage)) for stage in tried]))])
    bounds = (best - 1.5 * COARSE_NM, best + 1.5 * COARSE_NM)
    return float(minimize_scalar(blunt, bounds=bounds, method="bounded", options={"xatol": 0.5}).x)


def formula_factor(optics: Optics, stage_nm: ArrayLike) -> F64:
    """Return depth of the focus over travel of the stage from the glass, by the formula of Loginov et al. [1]_.

    Deep in the sample it approaches the ratio of the indices; near the glass the rays at the pupil's edge decide.

    Parameters
    ----------
    optics : Optics
    stage_nm : array_like
        Travel of the stage from where the glass is in focus, into the sample.
    """
    immersion, sample, na = optics.immersion_index, optics.sample_index, optics.na
    travel = np.asarray(stage_nm, float)
    if immersion == sample:
        return np.ones_like(travel)
    outside = sample - np.sqrt(complex(sample**2 - na**2))
    at_edge = float(np.real((immersion - np.sqrt(immersion**2 - na**2)) / outside))
    # A quarter of a wave between the axial ray and the one that decides, over the path of the travel.
    sign = 1.0 if sample > immersion else -1.0
    quarter = sign * optics.emission_nm / 4 / (immersion * np.maximum(travel, 1e-3))
    mixed = np.sqrt(complex(sample**2 - immersion**2)) * np.sqrt((quarter * (2 + quarter)).astype(complex))
    deep = np.real(sample * (1 + quarter) + mixed) / immersion
    return np.asarray(np.minimum(deep, at_edge) if sample > immersion else np.maximum(deep, at_edge))
