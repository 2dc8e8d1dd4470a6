"""What a sample's own molecules say of the beads' PSF: stored with their run, and with a model mended by it."""

from __future__ import annotations

import math

import numpy as np

from easyzloc_mm._models import Finite, FrozenModel, NonNegative
from easyzloc_mm.typing import F64, AnyFloat

DEEP_TERM, DEEP_RAD = "secondary spherical", 0.05
"""More of it than cover slips and collars make: that of depth in another medium (`bench mismatch --deep`)."""


class SampleAberrations(FrozenModel):
    """Aberrations of a sample beside those of the bead slide, measured on molecules.

    Attributes
    ----------
    run : str
        Name of the run that the molecules are of.
    model_digest : str
        Of the model that the run was judged by.
    molecules : int
        That counted.
    terms : tuple of str
        Names of the aberrations, all over the field the same.
    theta_rad, sd_rad : tuple of float
        Their size, rad rms, and its standard deviation: by the molecules, and by what errors of a measured PSF feign.
    chi2 : float
        Of no change, with as many degrees of freedom as there are terms.
    p_value : float
        Probability of such molecules, were the sample's PSF that of the beads.
    z_error_nm : float
        Root mean square of what these aberrations do to z where the beads' PSF is used, a common offset taken off: not
        in `lpz`. Molecules that are then taken for others at another depth come on top.
    correlation : float
        Of the beads' images and those that the optics of the profile give: 1, where optics explain the beads.
    differs : bool
        Whether the sample's PSF is not the beads', at the rate of false alarms of `refresh`.
    depth_nm, depth_sd_nm : float
        Of the molecules above the glass, in the sample's medium, and its standard deviation: where their images show
        that they are not at the glass, 0 otherwise. Negative where the stage falls into the sample. Where it is given,
        the aberrations are those beside what that depth makes.
    """

    run: str
    model_digest: str
    molecules: int
    terms: tuple[str, ...]
    theta_rad: tuple[Finite, ...]
    sd_rad: tuple[Finite, ...]
    chi2: NonNegative
    p_value: NonNegative
    z_error_nm: NonNegative
    correlation: Finite
    differs: bool
    depth_nm: Finite = 0.0
    depth_sd_nm: NonNegative = 0.0

    @property
    def rms_rad(self) -> float:
        """Return the size of all terms together, rad rms."""
        return math.hypot(*self.theta_rad)

    def in_words(self) -> str:
        """Return, for people, whether the sample's PSF is the beads', and what of it is not."""
        if not self.differs:
            return (
                f"{self.molecules} molecules agree with the beads' PSF: aberrations of {self.rms_rad:.2f} rad rms, "
                f"p = {self.p_value:.2g}"
            )
        if self.depth_nm:
            return (
                f"the sample's PSF is not the beads': {self.molecules} molecules lie {abs(self.depth_nm) / 1e3:.2f} +- "
                f"{self.depth_sd_nm / 1e3:.2f} um above the glass, with {self.rms_rad:.2f} rad rms of aberrations "
                f"besides, which moves z by {self.z_error_nm:.0f} nm rms"
            )
        largest = self._largest
        return (
            f"the sample's PSF is not the beads': {self.rms_rad:.2f} rad rms of aberrations by {self.molecules} "
            f"molecules, most of it {self.terms[largest]} ({self.theta_rad[largest]:+.2f} +- "
            f"{self.sd_rad[largest]:.2f} rad), which moves z by {self.z_error_nm:.0f} nm rms{self._depth_in_words}"
        )

    @property
    def _depth_in_words(self) -> str:
        """What has to be known of molecules that seem to lie deep, where no depth explains them."""
        found = dict(zip(self.terms, self.theta_rad, strict=True)).get(DEEP_TERM, 0.0)
        if abs(found) < DEEP_RAD:
            return ""
        return (
            f"; {DEEP_TERM} aberration ({found:+.2f} rad) comes with depth in a medium of another index: give "
            "`depth_um` where the molecules lie deep"
        )

    def as_alarm(self) -> str:
        """Return what calls for attention while the camera runs, one phrase, of a sample that differs."""
        if self.depth_nm:
            return (
                f"sample unlike the beads: {abs(self.depth_nm) / 1e3:.1f} um of depth move z by "
                f"{self.z_error_nm:.0f} nm rms"
            )
        term, theta_rad = self.terms[self._largest], self.theta_rad[self._largest]
        return f"sample unlike the beads: {term} {theta_rad:+.2f} rad moves z by {self.z_error_nm:.0f} nm rms"

    @property
    def _largest(self) -> int:
        return max(range(len(self.terms)), key=lambda index: abs(self.theta_rad[index]))


class Widening(FrozenModel):
    """What uncertainties of a run lack where the sample's PSF is not the beads', by depth under the beads' PSF.

    Attributes
    ----------
    z_nm : tuple of float
        Depths from the focus.
    added_nm : tuple of float
        Standard deviations there that are added to lpz, in quadrature.
    molecules : int
        Simulated with the sample's PSF and localised with the beads', from which they come.
    covered : float
        Share of those whose z was within one lpz before anything was added.
    added_x_px, added_y_px : tuple of float
        Likewise, that are added to lpx and lpy; empty where x and y are not by the beads' PSF, and in earlier versions.
    """

    z_nm: tuple[Finite, ...]
    added_nm: tuple[NonNegative, ...]
    molecules: int
    covered: NonNegative
    added_x_px: tuple[NonNegative, ...] = ()
    added_y_px: tuple[NonNegative, ...] = ()

    def widened(self, lpz_nm: F64, z_nm: AnyFloat) -> F64:
        """Return standard deviations of z as they are.

        Parameters
        ----------
        lpz_nm : ndarray, shape (n,)
            As the beads' PSF has them.
        z_nm : ndarray, shape (n,)
            Depth from the focus at their place in the field.
        """
        return np.asarray(np.hypot(lpz_nm, np.interp(z_nm, self.z_nm, self.added_nm)))

    def widened_xy(self, lpxy_px: F64, z_nm: AnyFloat) -> F64:
        """Return standard deviations of x and y as they are.

        Parameters
        ----------
        lpxy_px : ndarray, shape (n, 2)
        z_nm : ndarray, shape (n,)
        """
        if not self.added_x_px:
            return lpxy_px
        added = [np.interp(z_nm, self.z_nm, by_depth) for by_depth in (self.added_x_px, self.added_y_px)]
        return np.asarray(np.hypot(lpxy_px, np.stack(added, axis=1)))

    def in_words(self) -> str:
        """Return, for people, what was added."""
        lateral = ""
        if self.added_x_px:
            lateral = f"; lpx and lpy by {_rms(self.added_x_px):.2f} and {_rms(self.added_y_px):.2f} px rms"
        return (
            f"lpz is widened to what it is in this sample, by {_rms(self.added_nm):.0f} nm rms, since "
            f"{self.covered:.0%} of z would lie within it, not 68 %{lateral}"
        )


def _rms(values: tuple[float, ...]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
