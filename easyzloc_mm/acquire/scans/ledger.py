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
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.reading import reading
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
    """Left for lack of molecules, by the plan's rule."""
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
    error: str | None = None
    """Why it failed, or was skipped."""
    light_ms: float | None = None
    """Time for which the run lit the sample."""
    frames: int | None = None
    """Of the run and all parts, as the counts below."""
    frames_lost: int | None = None
    localizations: int | None = None


class LedgerContent(StoredModel):
    """What the ledger of a scan holds."""

    KIND: ClassVar[str] = "scan"
    SCHEMA_VERSION: ClassVar[int] = 3

    plan: ScanPlan
    model: str
    """Digest of the model bundle."""
    fields: dict[str, FieldState] = Field(default_factory=dict)


def read_ledger(folder: Path) -> LedgerContent:
    """Read the ledger of a scan.

    Raises
    ------
    InputError
        It cannot be read.
    """
    path = folder / LEDGER
    with reading(path, "a scan's ledger", cure="repair it, or `if_exists='overwrite'` to start anew"):
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
        self._write()

    def status(self, name: str) -> FieldStatus:
        """Return how far a field is."""
        state = self._content.fields.get(name)
        return FieldStatus.PENDING if state is None else state.status

    def parts(self, name: str) -> tuple[str, ...]:
        """Return the stores of what earlier calls took of a field."""
        state = self._content.fields.get(name)
        return () if state is None else state.parts

    def note(
        self,
        name: str,
        status: FieldStatus,
        run: Path | None,
        *,
        parts: tuple[str, ...] = (),
        error: str | None = None,
        light_ms: float | None = None,
        **counts: int,
    ) -> None:
        """Write down the new state of a field: the error that ended its run, or `frames` and other counts."""
        logger.info("field %s: %s", name, status)
        state = FieldState(
            status=status,
            time_s=time.time(),
            run=None if run is None else run.name,
            parts=parts,
            error=error,
            light_ms=light_ms,
            **counts,
        )
        self._content = self._content.changed(fields={**self._content.fields, name: state})
        self._write()

    def _write(self) -> None:
        content = self._content.stored()
        fields = {
            name: state.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
            for name, state in self._content.fields.items()
        }
        put_file(self._path, json.dumps({**content, "fields": fields}, indent=1).encode(), durable=True)
