"""What a model's evaluation found: figures over held-out beads, as they are stored in the model card."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal, NamedTuple

from pydantic import model_validator

from easyzloc_mm._models import FrozenModel
from easyzloc_mm.analysis.scoring.figures import Score
from easyzloc_mm.model.emitter_prior import TYPICAL_BACKGROUND, TYPICAL_PHOTONS

TITLE = "Which accuracy of z is which"
HEADINGS = ("accuracy of z", "RMSE (nm)", "limit (nm)", "of which molecules")
QUOTE = (
    "Quote the single molecules for the instrument, and for a localisation its own lpz; different rows are of other "
    "molecules, and do not contradict each other."
)
THINNED = (
    f"thinned to {TYPICAL_PHOTONS[0]:.0f} to {TYPICAL_PHOTONS[1]:.0f} photons on {TYPICAL_BACKGROUND[0]:.0f} to "
    f"{TYPICAL_BACKGROUND[1]:.0f} background photons per pixel, alone, without a flag"
)
SINGLE = ("single molecules", f"held-out beads {THINNED}")
FOUND = (
    "molecules found in frames",
    "the same, placed in frames and found by the whole pipeline, without a flag",
)
FLAGGED_TOO = ("flagged ones included", "the single molecules, also those that carry a flag")
BRIGHT = ("beads as recorded", "the held-out beads with all their light: what labels and stage allow, for no molecule")
MISTAKE_LIMITS = 4.0
"""Information limits of error, beyond which z is a mistake, and no noise."""
SAMPLE = (
    "molecules of the sample",
    "what was localised in the demonstration's run, within 700 nm of focus, without a flag, before drift correction",
)


class AccuracyRow(NamedTuple):
    """One accuracy of z, and of which molecules it is.

    Attributes
    ----------
    name : str
    rmse_nm, limit_nm : float or None
        Root mean square error, and information limit of the same molecules.
    molecules : str
        Which they are.
    """

    name: str
    rmse_nm: float | None
    limit_nm: float | None
    molecules: str

    def cells(self) -> tuple[str, str, str, str]:
        """Return the row as text, under `HEADINGS`."""
        rmse, limit = ("-" if value is None else f"{value:.0f}" for value in (self.rmse_nm, self.limit_nm))
        return self.name, rmse, limit, self.molecules


class HeldOut(StrEnum):
    """What the figures of an evaluation were measured on, against what the model was trained on."""

    BY_BEAD = "by bead"
    """Beads that the network had never seen: test beads, each fold of a cross-validation, or another data set."""
    BY_PLANES = "by planes"
    """The same bead, in every second plane that the network had not seen."""
    NONE = "none"
    """The beads that it was trained on."""


class Accuracy(FrozenModel):
    """Errors of unflagged emitters; None where there is none.

    Attributes
    ----------
    rmse_z_nm : float
        Root mean square error.
    robust_z_nm : float
        1.4826 times the median absolute error: the standard deviation, if errors were Gaussian.
    limit_z_nm : float
        Median of the emitters' CRLB, where the beads' PSF defines it; None where it does for fewer than half of them.
    limit_range_z_nm : (float, float)
        Its 10th and 90th percentile.
    coverage_68, coverage_95 : float
        Shares of the errors within 1 and within 1.96 stated uncertainties; 0.683 and 0.95 when these are right.
    """

    rmse_z_nm: float | None
    robust_z_nm: float | None
    limit_z_nm: float | None
    limit_range_z_nm: tuple[float, float] | None = None
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
        The same among the mistaken ones, whose error exceeds `MISTAKE_LIMITS` information limits, and among the others.
    rmse_with_flagged_z_nm : float
        Of all emitters, flagged or not.
    rmse_offset_removed_z_nm, bead_rmse_offset_removed_z_nm : float
        After subtraction of one median per bead, whose own focus is known to a few nm only.
    bead_rmse_z_nm : float
        Of the beads as recorded.
    beads : int
        How many beads were evaluated on, recordings of one bead counted apart.
    distinct_beads : int, optional
        How many different ones.
    held_out : HeldOut
        Whether the network had seen them.
    folds : int
        Networks of a cross-validation, each trained for a part of the time, that the figures are from; 0 where they are
        of the model itself.
    bins, by_photons, by_field : tuple
        The same figures by depth, by photons and by 3x3 tiles of the field (empty where places are unknown).
    in_frames : Score, optional
        Recall and errors of the same beads, placed in frames and found by the whole pipeline; None where only
        the network was judged.
    """

    schema_version: Literal[2] = 2
    flagged: float
    mistakes_flagged: float | None
    good_flagged: float | None
    rmse_with_flagged_z_nm: float | None
    rmse_offset_removed_z_nm: float | None
    bead_rmse_z_nm: float | None
    bead_rmse_offset_removed_z_nm: float | None
    beads: int
    distinct_beads: int | None = None
    held_out: HeldOut
    folds: int = 0
    bins: tuple[DepthBin, ...]
    by_photons: tuple[PhotonBin, ...]
    by_field: tuple[FieldTile, ...]
    in_frames: Score | None = None

    def rows(self) -> tuple[AccuracyRow, ...]:
        """Return every accuracy that there is, each with its molecules; reports and commands show this table."""
        found, single, bright = self.in_frames, SINGLE[1], BRIGHT[1]
        if self.folds or self.held_out is HeldOut.NONE:
            single = f"{self.measured_on}; {THINNED}"
            bright = bright.replace("the held-out beads", "the same beads")
        return (
            AccuracyRow(SINGLE[0], self.rmse_z_nm, self.limit_z_nm, single),
            *(() if found is None else (AccuracyRow(FOUND[0], found.rmse_z_nm, found.limit_z_nm, FOUND[1]),)),
            AccuracyRow(FLAGGED_TOO[0], self.rmse_with_flagged_z_nm, None, FLAGGED_TOO[1]),
            AccuracyRow(BRIGHT[0], self.bead_rmse_z_nm, None, bright),
        )

    @model_validator(mode="before")
    @classmethod
    def _of_version_1(cls, stored: Any) -> Any:
        """Read what the first version wrote: other beads than those of the training, as a yes or no."""
        if isinstance(stored, dict) and isinstance(stored.get("held_out"), bool):
            return {**stored, "schema_version": 2, "held_out": HeldOut.BY_BEAD}
        return stored

    @property
    def measured_on(self) -> str:
        """What the figures were measured on, in words."""
        distinct = self.beads if self.distinct_beads is None else self.distinct_beads
        several = f"{distinct} bead" + "s" * (distinct != 1)
        if self.held_out is HeldOut.NONE:
            return f"the {several} that it was trained on, for want of others: expect more of molecules elsewhere"
        if self.held_out is HeldOut.BY_PLANES:
            return (
                f"every second plane of the same {several}, by networks trained on the planes between: errors over "
                "the field, and of other beads, are not in it"
            )
        if self.folds:
            return (
                f"{several} in turn, by {self.folds} networks trained on the others (cross-validation by bead); too "
                "few to know errors over the field"
            )
        return f"{several} that training never saw"

    @property
    def remark(self) -> str | None:
        """What to make of a limit that exceeds the error; None where it does not."""
        if self.limit_z_nm is None or self.rmse_z_nm is None or self.limit_z_nm <= self.rmse_z_nm:
            return None
        return (
            f"The information limit ({self.limit_z_nm:.0f} nm) lies above the error ({self.rmse_z_nm:.0f} nm): it is "
            "for z from the image alone, measured with noisy beads; the model also knows which depths occur."
        )

    @property
    def summary(self) -> str:
        """The result in a few sentences, for people."""
        rmse = "-" if self.rmse_z_nm is None else f"{self.rmse_z_nm:.0f}"
        limit = "not defined" if self.limit_z_nm is None else f"{self.limit_z_nm:.0f} nm"
        sentences = [
            f"z of single molecules is good to {rmse} nm (RMSE; information limit {limit}); {self.flagged:.0%} carry "
            f"a flag. Measured on {self.measured_on}."
        ]
        if self.in_frames is not None and self.in_frames.recall is not None:
            sentences.append(f"{self.in_frames.recall:.0%} of them are found in a frame.")
        if self.remark is not None:
            sentences.append(self.remark)
        return " ".join(sentences)
