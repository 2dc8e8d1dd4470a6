"""What was found in a stored result, and how it is collected."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from easyzloc_mm._models import FrozenModel
from easyzloc_mm.errors import EasyZlocWarning
from easyzloc_mm.io.writing.kinds import Kind

MOST_NAMED = 20
"""All damage is counted, but only so much is named."""


class VerifyReport(FrozenModel):
    """Whether a stored result is whole: nothing damaged, nothing missing, nothing left undone."""

    schema_version: Literal[1] = 1
    path: Path
    kind: Kind
    quick: bool
    """Counts, metadata and which files are there; otherwise every file was read and decoded too."""
    whole: bool
    damage: tuple[str, ...] = ()
    """What is damaged or missing, one phrase each; the first `MOST_NAMED`."""
    damaged: int = 0
    """How much is."""
    incomplete: tuple[str, ...] = ()
    """What was never finished, one phrase each."""
    counts: dict[str, int] = Field(default_factory=dict)
    """What was looked at: files, bytes, frames, rows, planes, beads."""

    def sentence(self) -> str:
        """Return what was found, in one sentence."""
        name = f"{self.path} ({self.kind})"
        if self.damaged:
            more = f" and {self.damaged - 1} more" if self.damaged > 1 else ""
            return f"{name} is damaged: {self.damage[0]}{more}; copy it anew, or go on with what is readable"
        if self.incomplete:
            return f"{name} is not complete, but undamaged: {'; '.join(self.incomplete)}"
        looked = ", ".join(_counted(what, count) for what, count in self.counts.items())
        return f"{name} is whole: {looked}{' (quick look)' if self.quick else ''}"

    def tell(self, logger: logging.Logger) -> bool:
        """Say in the log what was found, warn of damage, and return whether the result is whole."""
        logger.info("%s", self.sentence())
        if self.damaged:
            warnings.warn(self.sentence(), EasyZlocWarning, stacklevel=3)
        return self.whole

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return self.model_dump()


class Findings:
    """Collects what is found at `path` and below.

    Parameters
    ----------
    path : Path
    quick : bool
        Leave out what takes as long as reading everything.
    """

    def __init__(self, path: Path, quick: bool) -> None:
        self.path, self.quick = path, quick
        self.counts: Counter[str] = Counter()
        self._damage: list[str] = []
        self._damaged = 0
        self._incomplete: list[str] = []

    @property
    def damaged(self) -> int:
        """How much is damaged or missing."""
        return self._damaged

    def damage(self, where: Path | str, what: str) -> None:
        """Note something that is damaged or missing."""
        self._damaged += 1
        if len(self._damage) < MOST_NAMED:
            name = where.relative_to(self.path).as_posix() if isinstance(where, Path) else where
            self._damage.append(f"{name} {what}")

    def incomplete(self, what: str) -> None:
        """Note something that was never finished."""
        self._incomplete.append(what)

    def include(self, report: VerifyReport) -> None:
        """Note what was found in a part."""
        name = report.path.name
        self._damage += [f"{name}: {what}" for what in report.damage[: MOST_NAMED - len(self._damage)]]
        self._damaged += report.damaged
        self._incomplete += [f"{name}: {what}" for what in report.incomplete]
        self.counts.update(report.counts)

    def report(self, kind: Kind) -> VerifyReport:
        """Sum up."""
        return VerifyReport(
            path=self.path,
            kind=kind,
            quick=self.quick,
            whole=not self._damaged and not self._incomplete,
            damage=tuple(self._damage),
            damaged=self._damaged,
            incomplete=tuple(self._incomplete),
            counts=dict(self.counts),
        )


def _counted(what: str, count: int) -> str:
    if what == "bytes":
        return f"{count / 1e6:,.1f} MB"
    return f"{count:,} {what.replace('_', ' ')}"
