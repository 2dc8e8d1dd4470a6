"""The ledger of a scan, ``scan.json``: which fields are done, so that a scan that was cut off can continue."""

from __future__ import annotations

import json
import logging
import time
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from easyzloc_mm._models import FrozenModel
from easyzloc_mm.acquire.plans.plan import ScanPlan
from easyzloc_mm.acquire.plans.rules import FieldMeasures
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.reading import reading
from easyzloc_mm.io.runs.status import status_time_s
from easyzloc_mm.io.stored import StoredModel
from easyzloc_mm.io.writing.atomic import put_file
from easyzloc_mm.io.writing.kinds import LEDGER

logger = logging.getLogger(__name__)


class FieldStatus(StrEnum):
    """How far a field of a scan is."""

    PENDING = "pending"
    RUNNING = "running"
    """Also: the program was killed meanwhile."""
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    SKIPPED = "skipped"
    """Left, by a rule of the plan, or because its light was used up."""
    DONE = "done"

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be done."""
        return self in (FieldStatus.DONE, FieldStatus.SKIPPED)


class FieldState(FrozenModel):
    """What became of a field."""

    status: FieldStatus
    time_s: float
    """When that was, seconds since 1970."""
    run: str | None = None
    """Name of the run's store in the scan's folder; None where the parts are the whole field."""
    parts: tuple[str, ...] = ()
    """Stores of what earlier calls took of the field, which was cut off then."""
    rejected: tuple[str, ...] = ()
    """Stores of attempts that broke a rule of the plan: the field was taken again."""
    retries: int = 0
    """How often it was taken again for that."""
    error: str | None = None
    """Why it failed, or was skipped."""
    ended_by: str | None = None
    """Why its run came to an end before its last frame."""
    reasons: tuple[str, ...] = ()
    """Which rules of the plan the field breaks, in words."""
    measures: FieldMeasures | None = None
    """What its molecules say of it."""
    light_ms: float | None = None
    """Time for which the field was lit: the run, its parts, and every attempt."""
    seconds: float | None = None
    """Wall time of the call that ended it."""
    overhead_s: float | None = None
    """Of that, what was neither moving, nor waiting in a pause, nor light on the sample."""
    frames: int | None = None
    """Of the run and all parts, as the counts below."""
    frames_lost: int | None = None
    localizations: int | None = None

    @property
    def verdict(self) -> str:
        """Return ``good``, ``poor`` (it breaks a rule), or the status of a field that is not done."""
        if self.status is not FieldStatus.DONE:
            return str(self.status)
        return "poor" if self.reasons else "good"


class BeadVisit(FrozenModel):
    """What beads beside the sample said of z."""

    time_s: float
    """When, seconds since 1970."""
    after_fields: int
    """Fields that were over then."""
    beads: int
    """Beads that were found in enough planes."""
    error_nm: float | None = None
    """Root mean square over the planes of what z of the beads (median over them) differs from the stage's; None where
    there were too few beads."""
    scale: float | None = None
    """Measured travel of z over the stage's."""
    focus_nm: float | None = None
    """Where the stage is when they are in focus, counted from the plan's `focus_um`."""
    focus_moved_nm: float | None = None
    """How far the beads' focus has moved since the first visit."""
    light_ms: float = 0.0
    """Time for which the beads were lit."""
    trouble: str | None = None
    """Why the visit does not satisfy the plan."""


class Interruption(FrozenModel):
    """Time in which a scan stood still because a call of it had ended, or its process was killed."""

    since_s: float
    """Last sign of life of the call before, seconds since 1970."""
    seconds: float
    """From then until the next call begins with a field."""


class LedgerContent(StoredModel):
    """What the ledger of a scan holds."""

    KIND: ClassVar[str] = "scan"
    SCHEMA_VERSION: ClassVar[int] = 5

    plan: ScanPlan
    model: str
    """Digest of the model bundle."""
    fields: dict[str, FieldState] = Field(default_factory=dict)
    visits: tuple[BeadVisit, ...] = ()
    """To the beads beside the sample."""
    interruptions: tuple[Interruption, ...] = ()
    """Between calls, the starting of the next one included."""


def read_ledger(folder: Path) -> LedgerContent:
    """Read the ledger of a scan.

    Raises
    ------
    InputError
        It cannot be read.
    """
    path = folder / LEDGER
    with reading(path, "a scan's ledger", cure="repair it, or start the scan anew with `if_exists='overwrite'`"):
        stored = json.loads(path.read_text(encoding="utf-8"))
    stored = stored if isinstance(stored, dict) else {}
    # Version 1 called its schema version so.
    return LedgerContent.from_stored({key: stored[key] for key in stored if key != "schema"}, path)


class Ledger:
    """State of every field of a scan, on disk after every change.

    Parameters
    ----------
    folder : Path
        Of the scan.
    plan : ScanPlan
    model : str
        Digest of the model bundle.

    Raises
    ------
    InputError
        The folder has the ledger of another plan or model, or it cannot be read.
    """

    def __init__(self, folder: Path, plan: ScanPlan, model: str) -> None:
        self._path = folder / LEDGER
        self._content = read_ledger(folder) if self._path.exists() else LedgerContent(plan=plan, model=model)
        for key, found, wanted in (("plan", self._content.plan, plan), ("model", self._content.model, model)):
            if found != wanted:
                raise InputError(
                    f"{self._path} belongs to another {key}: choose another `out`, or "
                    "`if_exists='overwrite'` to start anew"
                )
        self._alive_s = _last_sign_of_life_s(folder, self._content)
        self._write()

    @property
    def content(self) -> LedgerContent:
        """What it holds now."""
        return self._content

    @property
    def over(self) -> int:
        """Fields with which nothing more is to be done."""
        return sum(state.status.is_over for state in self._content.fields.values())

    def state(self, name: str) -> FieldState:
        """Return what became of a field so far."""
        pending = FieldState(status=FieldStatus.PENDING, time_s=0.0)
        return self._content.fields.get(name, pending)

    def note(self, name: str, status: FieldStatus, run: Path | None, **facts: object) -> None:
        """Write down the new state of a field; `facts` are further fields of `FieldState`."""
        logger.info("field %s: %s", name, status)
        known = {"status": status, "time_s": time.time(), "run": None if run is None else run.name}
        state = FieldState.model_validate({**known, **facts})
        self._content = self._content.changed(fields={**self._content.fields, name: state})
        self._write()

    def note_interruption(self) -> None:
        """Write down for how long the scan stood still, where this call goes on with one; to be called once."""
        if self._alive_s is None:
            return
        since = Interruption(since_s=self._alive_s, seconds=max(0.0, time.time() - self._alive_s))
        self._content = self._content.changed(interruptions=(*self._content.interruptions, since))
        self._write()

    def note_visit(self, visit: BeadVisit) -> None:
        """Write down a visit to the beads beside the sample."""
        self._content = self._content.changed(visits=(*self._content.visits, visit))
        self._write()

    def _write(self) -> None:
        content = self._content.stored()
        fields = {
            name: state.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
            for name, state in self._content.fields.items()
        }
        put_file(self._path, json.dumps({**content, "fields": fields}, indent=1).encode(), durable=True)


def _last_sign_of_life_s(folder: Path, content: LedgerContent) -> float | None:
    """Return when the calls before last wrote something, seconds since 1970; None where there were none."""
    known = [state.time_s for state in content.fields.values()] + [visit.time_s for visit in content.visits]
    runs = [state.run for state in content.fields.values() if state.run and state.status is FieldStatus.RUNNING]
    written = (status_time_s(folder / run) for run in runs)
    return max([*known, *(time_s for time_s in written if time_s is not None)], default=None)
