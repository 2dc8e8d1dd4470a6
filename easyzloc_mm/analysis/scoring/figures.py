"""What a comparison with the truth finds: small models of plain numbers."""

from __future__ import annotations

from typing import Self

from easyzloc_mm._models import FrozenModel, NonNegative, Positive
from easyzloc_mm.analysis.scoring.matching import AXIAL_NM, LATERAL_NM

ALPHA_LATERAL_PER_NM, ALPHA_AXIAL_PER_NM = 1.0, 0.5
"""Of the efficiency: how many per cent of the Jaccard index a nanometre is worth (SMLM Challenge 2016)."""


class ScoreRules(FrozenModel):
    """What counts as found, and which molecules and localisations count at all.

    Attributes
    ----------
    lateral_nm : float
        Largest lateral distance of a localisation from its molecule.
    axial_nm : float, optional
        Largest axial distance; None to match by place alone.
    border_nm : float
        Width of the image's border in which neither molecules nor false localisations count.
    faintest_photons : float
        Molecules that gave fewer photons in a frame are neither missed, nor are localisations of them false.
    remove_offset : bool
        Whether the median error per axis is taken out before distances are compared: where zero lies is a convention.
    """

    lateral_nm: Positive = LATERAL_NM
    axial_nm: Positive | None = AXIAL_NM
    border_nm: NonNegative = 0.0
    faintest_photons: NonNegative = 0.0
    remove_offset: bool = True


class Counts(FrozenModel):
    """How many were found, by the rules of the SMLM Challenge; None where there is nothing to count.

    Attributes
    ----------
    molecules, found, false : int
        Molecules of the truth, how many of them have a localisation, and localisations without a molecule.
    recall, precision, jaccard : float
        ``found / molecules``, ``found / (found + false)``, ``found / (molecules + false)``.
    rmse_lateral_nm, rmse_axial_nm : float
        Root mean square errors of what was found.
    e3d : float
        Efficiency, per cent: mean of the lateral and the axial one, each ``100 - sqrt((100 (1 - jaccard))^2 +
        (alpha rmse)^2)`` with alpha 1 and 0.5 per nm.
    """

    molecules: int
    found: int
    false: int
    recall: float | None
    precision: float | None
    jaccard: float | None
    rmse_lateral_nm: float | None
    rmse_axial_nm: float | None
    e3d: float | None

    @classmethod
    def of(
        cls, molecules: int, found: int, false: int, rmse_lateral_nm: float | None, rmse_axial_nm: float | None
    ) -> Self:
        """Return the shares that follow from the numbers."""
        jaccard = _share(found, molecules + false)
        e3d = None
        if jaccard is not None and rmse_lateral_nm is not None and rmse_axial_nm is not None:
            missing = 100 * (1 - jaccard)
            lateral, axial = ALPHA_LATERAL_PER_NM * rmse_lateral_nm, ALPHA_AXIAL_PER_NM * rmse_axial_nm
            e3d = 100 - ((missing**2 + lateral**2) ** 0.5 + (missing**2 + axial**2) ** 0.5) / 2
        return cls(
            molecules=molecules,
            found=found,
            false=false,
            recall=_share(found, molecules),
            precision=_share(found, found + false),
            jaccard=jaccard,
            rmse_lateral_nm=rmse_lateral_nm,
            rmse_axial_nm=rmse_axial_nm,
            e3d=e3d,
        )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


class DepthErrors(FrozenModel):
    """Errors of z of what was found and carries no flag; None where that is nothing, or the table does not say.

    Attributes
    ----------
    bias_nm : float
        Median error.
    robust_z_nm, rmse_z_nm : float
        1.4826 times the median absolute deviation of the errors, and their root mean square.
    limit_z_nm, rms_limit_z_nm : float
        Information limit of these same molecules, where the truth states it: the median, and the root mean square,
        below which `rmse_z_nm` cannot lie.
    coverage_68, coverage_95 : float
        Shares of the errors within 1 and 1.96 stated uncertainties.
    flagged : float
        Share of what was found that carries a flag.
    """

    bias_nm: float | None = None
    robust_z_nm: float | None = None
    rmse_z_nm: float | None = None
    limit_z_nm: float | None = None
    rms_limit_z_nm: float | None = None
    coverage_68: float | None = None
    coverage_95: float | None = None
    flagged: float | None = None


class DepthScore(Counts, DepthErrors):
    """Figures of the molecules between two true depths; false localisations by the z that they state.

    Attributes
    ----------
    slope : float
        Of a line through z over true depth, within 100 nm of the middle of the bin; 1 where z is true to scale.
    """

    z_from_nm: float
    z_to_nm: float
    slope: float | None


class PhotonScore(Counts, DepthErrors):
    """Figures of the molecules between two brightnesses; false localisations by the photons that they state."""

    photons_from: float
    photons_to: float


class DensityScore(Counts, DepthErrors):
    """Figures by crowding: molecules per square micrometre of the frame, within 1 um of the place."""

    per_um2_from: float
    per_um2_to: float


class Score(Counts, DepthErrors):
    """A localisation table against the truth.

    Attributes
    ----------
    rmse_x_nm, rmse_y_nm : float
        Of what was found and carries no flag.
    offset_x_nm, offset_y_nm, offset_z_nm : float
        Median errors; taken out of every figure, but for `rules` that say otherwise.
    unflagged : Counts
        The same count of the localisations that carry no flag alone; None where the table knows no flags.
    bins, by_photons, by_density : tuple
        By depth, brightness and crowding; empty where table or truth does not state them.
    rules : ScoreRules
    """

    rmse_x_nm: float | None
    rmse_y_nm: float | None
    offset_x_nm: float
    offset_y_nm: float
    offset_z_nm: float | None
    unflagged: Counts | None
    bins: tuple[DepthScore, ...]
    by_photons: tuple[PhotonScore, ...]
    by_density: tuple[DensityScore, ...]
    rules: ScoreRules
