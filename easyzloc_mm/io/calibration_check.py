"""What today's beads say of an earlier calibration, as `calibrate --check` stores it: ``check.json``."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar

from easyzloc_mm._models import Finite, FrozenModel, NonNegative
from easyzloc_mm.io.stored import StoredModel

CHECK_FOLDER, CHECK_FILE = "check", "check.json"


class Verdict(StrEnum):
    """What to do with a calibration today; the value is what a person reads."""

    VALID = "valid"
    """Image with it."""
    REFRESH = "refresh is enough"
    """Aberrations have changed by no more than `refresh` mends."""
    CALIBRATE = "calibrate again"
    """Something has changed that aberrations do not explain, or too much."""
    OPTICS = "turn the collar / clean the lens"
    """The instrument needs a hand first: a calibration would only record its fault."""


class MeasuredChange(FrozenModel):
    """One figure of today against that of the calibration.

    Attributes
    ----------
    name : str
    unit : str
        Empty for ratios.
    value : float, optional
        None where it could not be measured.
    sd : float, optional
        Standard error of `value`.
    limit : float, optional
        Beyond which `verdict` applies; None for what decides nothing.
    verdict : Verdict
        That this figure alone would give.
    remark : str
        Why it could not be measured, or what to do.
    """

    name: str
    unit: str
    value: Finite | None
    sd: NonNegative | None = None
    limit: Finite | None = None
    verdict: Verdict = Verdict.VALID
    remark: str = ""

    def in_words(self) -> str:
        """Return the figure with its standard error and limit."""
        if self.value is None:
            return self.remark
        spread = "" if self.sd is None else f" +- {self.sd:.2g}"
        limit = "" if self.limit is None else f", limit {self.limit:g}"
        return f"{self.value:.3g}{spread} {self.unit}".rstrip() + limit


class CalibrationCheck(StoredModel):
    """Verdict on a calibration, and the changes that it rests on.

    Attributes
    ----------
    verdict : Verdict
    because : str
        In a sentence.
    model, model_digest : str
        Which calibration.
    made : str
        When, ISO 8601.
    sources : tuple of str
        Names of the bead stacks.
    beads : int
        Different beads that were measured.
    changes : tuple of MeasuredChange
    """

    KIND: ClassVar[str] = "calibration check"
    SCHEMA_VERSION: ClassVar[int] = 1

    verdict: Verdict
    because: str
    model: str = ""
    model_digest: str = ""
    made: str = ""
    sources: tuple[str, ...] = ()
    beads: int
    changes: tuple[MeasuredChange, ...]

    def change(self, name: str) -> MeasuredChange:
        """Return the figure of that name."""
        return next(change for change in self.changes if change.name == name)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for printing; the changes by name."""
        named = {change.name.replace(" ", "_"): change.model_dump(exclude={"name"}) for change in self.changes}
        return {**self.model_dump(exclude={"changes", "extra"}), "changes": named}

    def rows(self) -> dict[str, object]:
        """Return what people read, each change on a line."""
        changes = {change.name: change.in_words() for change in self.changes}
        return {"because": self.because, "beads": self.beads, **changes}
