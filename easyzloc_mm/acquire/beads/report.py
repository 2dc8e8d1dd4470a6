"""What an acquisition of bead stacks has brought."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class AcquisitionReport:
    """What was photographed.

    Attributes
    ----------
    out : Path
        The bead stacks.
    fovs, planes : int
        Fields of view, and planes in all of them.
    seconds : float
        From the first move to the last plane.
    z_error_nm : float
        Largest distance between where the z stage was sent and where it reported to be.
    saturated_planes : int
        Planes with pixels at the camera's maximum; beads in them are not usable there.
    good_beads : int
        Lone, unsaturated beads counted in the images in focus.
    coverage : float
        Part of the field's 5x5 cells that hold three or more of them, all fields together.
    skipped : int
        Fields that were looked at but not worth a stack.
    resumed : int
        Fields that an earlier, interrupted run had taken.
    whole : bool
        What the quick form of `verify` found at the end.
    """

    out: Path
    fovs: int
    planes: int
    seconds: float
    z_error_nm: float
    saturated_planes: int
    good_beads: int
    coverage: float
    skipped: int
    resumed: int
    whole: bool

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for printing."""
        return asdict(self)
