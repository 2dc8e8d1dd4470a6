"""A run as a script handles it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from easyzloc_mm.acquire.live import LiveReport
    from easyzloc_mm.localization.assign_z import AssignReport
    from easyzloc_mm.localization.pipeline import LocalizeReport


@dataclass(frozen=True)
class Run:
    """Localisations on disk, ``RUN.zarr``, and how they came about.

    Attributes
    ----------
    path : Path
        The store.
    report : LiveReport, LocalizeReport or AssignReport, optional
        Frames, losses and rates, where this process made the run.
    """

    path: Path
    report: LiveReport | LocalizeReport | AssignReport | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for printing."""
        return {"out": self.path, **(self.report.as_dict() if self.report else {})}
