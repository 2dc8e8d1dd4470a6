"""What a model's evaluation found: figures over held-out beads, as they are stored in the model card."""

from __future__ import annotations

from typing import Literal

from easyzloc_mm._models import FrozenModel
from easyzloc_mm.analysis.scoring.figures import Score


class Accuracy(FrozenModel):
    """Errors of unflagged emitters; None where there is none.

    Attributes
    ----------
    rmse_z_nm : float
        Root mean square error.
    robust_z_nm : float
        1.4826 times the median absolute error: the standard deviation, if errors were Gaussian.
    limit_z_nm : float
        Root mean square of the emitters' CRLB.
    coverage_68, coverage_95 : float
        Shares of the errors within 1 and within 1.96 stated uncertainties; 0.683 and 0.95 when these are right.
    """

    rmse_z_nm: float | None
    robust_z_nm: float | None
    limit_z_nm: float | None
    coverage_68: float | None
    coverage_95: float | None


class BinAccuracy(Accuracy):
    """Errors of a part of the emitters.

    Attributes
    ----------
    molecules : int
        Unflagged emitters, over which the figures are.
    flagged : float
        Share of all emitters of this part that carry a flag.
    bias_nm : float
        Mean error.
    """

    molecules: int
    flagged: float
    bias_nm: float | None


class DepthBin(BinAccuracy):
    """Errors of emitters between two depths."""

    z_from_nm: float
    z_to_nm: float


class PhotonBin(BinAccuracy):
    """Errors of emitters between two brightnesses."""

    photons_from: float
    photons_to: float


class FieldTile(BinAccuracy):
    """Errors of emitters in a tile of the field of view."""

    column: int
    row: int


class EvaluationResult(Accuracy):
    """Accuracy on held-out beads, thinned to the brightness of single molecules and as recorded.

    Attributes
    ----------
    flagged : float
        Share of the emitters that carry a flag.
    mistakes_flagged, good_flagged : float
        The same among the outliers, whose error exceeds 4 stated uncertainties, and among the others.
    rmse_with_flagged_z_nm : float
        Of all emitters, flagged or not.
    rmse_offset_removed_z_nm, bead_rmse_offset_removed_z_nm : float
        After subtraction of one median per bead, whose own focus is known to a few nm only.
    bead_rmse_z_nm : float
        Of the beads as recorded.
    beads : int
        How many beads were evaluated on.
    held_out : bool
        Whether they are the test beads of the training data; otherwise another data set, used whole.
    bins, by_photons, by_field : tuple
        The same figures by depth, by photons and by 3x3 tiles of the field (empty where places are unknown).
    in_frames : Score, optional
        Recall and errors of the same beads, placed in frames and found there by the whole pipeline; None where only
        the network was judged.
    """

    schema_version: Literal[1] = 1
    flagged: float
    mistakes_flagged: float | None
    good_flagged: float | None
    rmse_with_flagged_z_nm: float | None
    rmse_offset_removed_z_nm: float | None
    bead_rmse_z_nm: float | None
    bead_rmse_offset_removed_z_nm: float | None
    beads: int
    held_out: bool
    bins: tuple[DepthBin, ...]
    by_photons: tuple[PhotonBin, ...]
    by_field: tuple[FieldTile, ...]
    in_frames: Score | None = None

    @property
    def summary(self) -> str:
        """The result in one sentence, for people."""
        rmse, limit = ("-" if value is None else f"{value:.0f}" for value in (self.rmse_z_nm, self.limit_z_nm))
        sentence = (
            f"z of a typical molecule is good to {rmse} nm (RMSE; information limit {limit} nm); {self.flagged:.0%} "
            "carry a flag."
        )
        if self.in_frames is None or self.in_frames.recall is None:
            return sentence
        return f"{sentence} {self.in_frames.recall:.0%} of them are found in a frame."
