"""A run as a script handles it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from easyzloc_mm.locs.run import Run as StoredRun

if TYPE_CHECKING:
    from easyzloc_mm.localization.run_report import RunReport


@dataclass(frozen=True)
class Run(StoredRun):
    """A ``RUN.zarr`` with its table, raw frames and provenance; it may still be growing.

    Attributes
    ----------
    path : Path
        The store.
    report : RunReport, optional
        Frames, losses and rates, where this process made the run.

    Examples
    --------
    >>> run = ez.Run.open("run.zarr")
    >>> run.complete, len(run.locs()) > 0
    (True, True)
    """

    report: RunReport | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for printing."""
        if self.report is None:
            return {"out": self.path}
        return {"out": self.path, **self.report.as_dict(), "focal_surface": self.metadata.surface_in_words()}
