"""A scan in figures: what became of every field, and what all of them took."""

from __future__ import annotations

from typing import Literal

from easyzloc_mm._models import FrozenModel
from easyzloc_mm.acquire.plans.rules import FieldMeasures
from easyzloc_mm.acquire.plans.wells import plate_places
from easyzloc_mm.acquire.scans.ledger import BeadVisit, FieldState, FieldStatus, LedgerContent


class FieldSummary(FrozenModel):
    """One field of a scan."""

    name: str
    well: str
    """Row and column on the plate."""
    picture: str
    """Its picture, below the plate."""
    position_um: tuple[float, float]
    verdict: str
    """``good``, ``poor``, or the status of a field that is not done."""
    reasons: tuple[str, ...]
    """Why it is not good."""
    ended_by: str | None
    """Why its run came to an end before its last frame."""
    measures: FieldMeasures | None
    runs: tuple[str, ...]
    """Its stores in the scan's folder."""
    retries: int
    frames: int
    frames_lost: int
    localizations: int
    light_s: float | None
    seconds: float | None
    overhead_s: float | None


class ScanSummary(FrozenModel):
    """A scan, field by field and in all; times are sums over the fields that are over.

    Attributes
    ----------
    schema_version : int
    name : str
        Of the plan.
    rules : tuple of str
        What the plan asks of a field.
    fields : tuple of FieldSummary
        In the order of visits.
    verdicts : dict of str to int
        How many fields have each verdict.
    frames, frames_lost, localizations : int
    light_s : float
        Time for which the fields were lit, beads not counted.
    light_s_per_field : float
        The longest of them.
    seconds : float
        Wall time.
    overhead_s : float
        Of that, what was neither moving, nor waiting in a pause, nor light.
    overhead : float or None
        Its share; None where no field is over.
    interruptions : int
        How often a call of the scan ended, or was killed, and another went on.
    interrupted_s : float
        Time from the last sign of life to the next field, of all of them; in none of the times above.
    visits : tuple of BeadVisit
    """

    schema_version: Literal[1] = 1
    name: str
    rules: tuple[str, ...]
    fields: tuple[FieldSummary, ...]
    verdicts: dict[str, int]
    frames: int
    frames_lost: int
    localizations: int
    light_s: float
    light_s_per_field: float
    seconds: float
    overhead_s: float
    overhead: float | None
    interruptions: int
    interrupted_s: float
    visits: tuple[BeadVisit, ...]


def summarize_scan(content: LedgerContent) -> ScanSummary:
    """Return a scan in figures, from its ledger."""
    places = content.plan.places()
    on_plate = plate_places([place.name for place in places])
    fields = []
    for place in places:
        state = content.fields.get(place.name) or FieldState(status=FieldStatus.PENDING, time_s=0.0)
        why = [state.error] if state.error and state.error not in state.reasons else []
        fields.append(
            FieldSummary(
                name=place.name,
                well=on_plate[place.name].well,
                picture=on_plate[place.name].path,
                position_um=place.position_um,
                verdict=state.verdict,
                reasons=(*why, *state.reasons),
                ended_by=state.ended_by,
                measures=state.measures,
                runs=(*state.parts, *((state.run,) if state.run else ())),
                retries=state.retries,
                frames=state.frames or 0,
                frames_lost=state.frames_lost or 0,
                localizations=state.localizations or 0,
                light_s=None if state.light_ms is None else state.light_ms / 1000,
                seconds=state.seconds,
                overhead_s=state.overhead_s,
            )
        )
    light_s = [field.light_s or 0.0 for field in fields]
    seconds = sum(field.seconds or 0.0 for field in fields)
    overhead_s = sum(field.overhead_s or 0.0 for field in fields)
    verdicts = [field.verdict for field in fields]
    return ScanSummary(
        name=content.plan.name,
        rules=tuple(rule.in_words() for rule in content.plan.all_rules),
        fields=tuple(fields),
        verdicts={verdict: verdicts.count(verdict) for verdict in dict.fromkeys(verdicts)},
        frames=sum(field.frames for field in fields),
        frames_lost=sum(field.frames_lost for field in fields),
        localizations=sum(field.localizations for field in fields),
        light_s=sum(light_s),
        light_s_per_field=max(light_s, default=0.0),
        seconds=seconds,
        overhead_s=overhead_s,
        overhead=overhead_s / seconds if seconds else None,
        interruptions=len(content.interruptions),
        interrupted_s=sum(one.seconds for one in content.interruptions),
        visits=content.visits,
    )
