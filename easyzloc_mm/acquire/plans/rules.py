"""What a field must be like, and what becomes of one that is not."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from easyzloc_mm._models import Finite, FrozenModel


class Measure(StrEnum):
    """What of a field a rule looks at."""

    SPOTS_PER_FRAME = "spots_per_frame"
    DENSITY = "density_per_um2"
    PHOTONS = "photons"
    LPZ_NM = "lpz_nm"
    FLAGGED = "flagged"
    FOCUS_NM = "focus_nm"
    Z_DRIFT_NM = "z_drift_nm"
    XY_DRIFT_NM = "xy_drift_nm"
    FRAMES_LOST = "frames_lost"


BELOW_UM = 2.0
"""Planes through beads are approached from so far below the first."""
AT_END_ONLY = (Measure.Z_DRIFT_NM, Measure.XY_DRIFT_NM, Measure.FRAMES_LOST)


class When(StrEnum):
    """When a rule is looked at."""

    START = "start"
    """In the first `look_frames` frames of the field."""
    END = "end"
    """In all of it."""


class Then(StrEnum):
    """What becomes of a field that breaks a rule, the gravest last."""

    NOTE = "note"
    """It is kept, and said to be poor."""
    RETRY = "retry"
    """It is taken again, as long as there is light left for it."""
    SKIP = "skip"
    """It is left."""


class FieldMeasures(FrozenModel):
    """What the molecules of a field say of it; None where there are too few."""

    spots_per_frame: float
    density_per_um2: float
    """Spots of a frame per square micrometre."""
    photons: float | None = None
    """Median."""
    lpz_nm: float | None = None
    """Median of the molecules without a flag."""
    flagged: float | None = None
    """Share of the molecules with a flag."""
    focus_nm: float | None = None
    """Median z of the molecules without a flag: where the focus was in the sample."""
    z_drift_nm: float | None = None
    """How far the median z moved from the first fifth of the frames to the last."""
    xy_drift_nm: float | None = None
    """How far the sample moved sideways meanwhile, up to 1000 nm; None also where no molecules come back to a place."""
    frames_lost: int = 0


class FieldRule(FrozenModel):
    """One thing that a field must be like.

    Examples
    --------
    >>> plan = ez.ScanPlan(
    ...     name="night",
    ...     positions_um=[(0.0, 0.0)],
    ...     rules=[{"measure": "photons", "at_least": 500, "at": "start", "then": "retry"}],
    ... )
    >>> plan.rules[0].in_words()
    'photons at least 500 at the start, else retry once'
    """

    measure: Measure
    at_least: Finite | None = None
    at_most: Finite | None = None
    """Of `focus_nm` and `z_drift_nm`: of their size, whatever the sign."""
    at: When = When.END
    then: Then = Then.NOTE
    retries: Annotated[int, Field(ge=1, le=10)] = 1
    """How often a field is taken again for it."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.at_least is None and self.at_most is None:
            raise ValueError("give at_least, at_most or both")
        if self.at is When.START and self.measure in AT_END_ONLY:
            raise ValueError(f"{self.measure} is known at the end only: leave out at = 'start'")
        if self.at is When.END and self.then is Then.SKIP:
            raise ValueError("a field is left at its start: give at = 'start', or then = 'note'")
        return self

    def in_words(self) -> str:
        """Return the rule as a phrase."""
        limits = [f"at least {self.at_least:g}"] if self.at_least is not None else []
        limits += [f"at most {self.at_most:g}"] if self.at_most is not None else []
        times = "once" if self.retries == 1 else f"{self.retries} times"
        otherwise = {Then.NOTE: "note", Then.SKIP: "skip", Then.RETRY: f"retry {times}"}[self.then]
        return f"{self.measure} {' and '.join(limits)} at the {self.at}, else {otherwise}"

    def broken_by(self, measures: FieldMeasures) -> str:
        """Return why a field breaks the rule, in words; empty where it does not."""
        value = getattr(measures, self.measure)
        if value is None:
            come_back = " come back to their places" if self.measure is Measure.XY_DRIFT_NM else ""
            return f"too few molecules{come_back} to tell {self.measure}"
        size = abs(value) if self.measure in (Measure.FOCUS_NM, Measure.Z_DRIFT_NM) else value
        if self.at_least is not None and size < self.at_least:
            return f"{self.measure} is {value:.3g}, less than {self.at_least:g}"
        if self.at_most is not None and size > self.at_most:
            return f"{self.measure} is {value:.3g}, more than {self.at_most:g}"
        return ""


def broken(rules: Sequence[FieldRule], at: When, measures: FieldMeasures) -> dict[FieldRule, str]:
    """Return which rules of that time a field breaks, and why."""
    found = {rule: rule.broken_by(measures) for rule in rules if rule.at is at}
    return {rule: why for rule, why in found.items() if why}


class BeadCheck(FrozenModel):
    """Beads beside the sample that are visited now and then, to see whether z is still what the stage says."""

    position_um: tuple[Finite, Finite]
    """Where they are, x and y of the stage."""
    focus_um: Finite
    """Stage z of their focus."""
    every_fields: Annotated[int, Field(ge=1)]
    """They are visited before the first field, after so many more, and at the end."""
    range_nm: Annotated[float, Field(gt=0, le=5000)] = 400.0
    """How far above and below the focus they are looked at."""
    planes: Annotated[int, Field(ge=3, le=101)] = 5
    frames_per_plane: Annotated[int, Field(ge=1, le=100)] = 3
    max_error_nm: Annotated[float, Field(gt=0)] | None = None
    """A scan ends where z is off by more, or the beads are not found; None: it is only told."""
    exposure_ms: Annotated[float, Field(gt=0)] | None = None
    """Of the profile's [beads] when absent, as the light."""
    illumination: str | None = None

    @property
    def z_span_um(self) -> tuple[float, float]:
        """Lowest and highest z that the stage goes to, um: it comes from below, since stages have backlash."""
        range_um = self.range_nm / 1000
        return self.focus_um - range_um - BELOW_UM, self.focus_um + range_um
