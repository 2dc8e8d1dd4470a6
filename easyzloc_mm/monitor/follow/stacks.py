"""Follow a calibration: bead stacks plane by plane, how sharp each plane is, and what its log says after them."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from easyzloc_mm._log import FILE as LOG
from easyzloc_mm.beads.detection.detail import spot_contrast
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.metadata import BeadStackMetadata
from easyzloc_mm.io.beads.stack import BeadStack
from easyzloc_mm.io.beads.stacks import open_bead_stacks, read_stack_metadata
from easyzloc_mm.monitor.follow.run import ShownFrame, shown_image
from easyzloc_mm.typing import F64

MOST_PLANES = 40
"""So many planes are measured at a look: a store that is there already is caught up with step by step."""
LOG_LINES = 4
LOG_BYTES = 1 << 16
OF_A_LIBRARY = re.compile(r"\((?!EasyZloc)\w+Warning, .*\)$")
"""A warning that is for programmers."""
HEAD = re.compile(r"^(\S+ \S+?)\.\d+ (INFO|WARNING|ERROR)\s+\[[^]]*\] [\w.]+: (.*)$")


@dataclass(frozen=True)
class FocusCurve:
    """How sharp the planes of a field are.

    Attributes
    ----------
    fov : int
    z_um : ndarray, shape (n,)
        Where the stage stood.
    contrast : ndarray, shape (n,)
        Of spot-sized details (`beads.detection.detail.spot_contrast`); the largest of the field is 1.
    """

    fov: int
    z_um: F64
    contrast: F64


class StacksFollower:
    """Bead stacks as far as they have been written.

    Parameters
    ----------
    stacks : Path
        ``NAME.ome.zarr``; it may appear later.
    calibration : Path, optional
        Folder of the calibration that they belong to.
    """

    def __init__(self, stacks: Path, calibration: Path | None = None) -> None:
        self.stacks, self.calibration = stacks, calibration
        self.metadata: BeadStackMetadata | None = None
        self.counts: dict[int, int] = {}
        """Planes of each field of view that has any."""
        self._planes: dict[int, list[tuple[float, float]]] = {}
        self._newest: tuple[BeadStack, int] | None = None
        self.brightest = 0.0
        """Share of the camera's range that the newest plane reaches."""

    @property
    def name(self) -> str:
        """What a person calls it."""
        return (self.calibration or self.stacks).name

    def poll(self) -> bool:
        """Read planes that are new; True if there were any."""
        try:
            self.metadata = read_stack_metadata(self.stacks)
            stacks = open_bead_stacks(self.stacks)
        except InputError:  # not a plane yet
            return False
        counts = {stack.fov: len(stack.planes) for stack in stacks}
        grew, self.counts = counts != self.counts, counts
        if grew:
            self._newest = stacks[-1], counts[stacks[-1].fov] - 1
            full, image = stacks[-1].full_scale_adu, stacks[-1].pixels[self._newest[1]]
            self.brightest = float(image.max()) / full if full else 0.0
        return self._measure(stacks) or grew

    def _measure(self, stacks: list[BeadStack]) -> bool:
        """Measure planes that were not yet; True if there were any."""
        measured = 0
        for stack in stacks:
            seen = self._planes.setdefault(stack.fov, [])
            for plane in range(len(seen), len(stack.planes)):
                if measured == MOST_PLANES:
                    return True
                z_um = float(stack.planes["measured_z_um"].iloc[plane])
                seen.append((z_um, spot_contrast(stack.pixels[plane])))
                measured += 1
        return measured > 0

    @property
    def planes(self) -> int:
        """Planes that are there."""
        return sum(self.counts.values())

    def planned(self) -> tuple[int, int]:
        """Return fields of view, and planes of each, by the plan; 0 where nothing is planned."""
        if self.metadata is None:
            return 0, 0
        beads = self.metadata.profile.get("beads", {})
        return int(beads.get("fovs", 0)), int(self.metadata.planned_planes or 0)

    def beads(self) -> tuple[int, int]:
        """Return good beads that were counted so far, and places that were skipped."""
        places = self.metadata.progress.get("visited", []) if self.metadata is not None else []
        return sum(len(place["spots"]) for place in places), sum(place["fov"] is None for place in places)

    def curves(self) -> list[FocusCurve]:
        """Return the focus curve of each field."""
        made = []
        for fov, planes in self._planes.items():
            if planes:
                z_um, contrast = np.array(planes, float).T
                made.append(FocusCurve(fov, z_um, contrast / max(contrast.max(), 1e-12)))
        return made

    def newest(self) -> ShownFrame | None:
        """Return the newest plane, and the beads that were counted in its field."""
        if self._newest is None:
            return None
        stack, plane = self._newest
        image, size = shown_image(stack.pixels[plane])
        places = self.metadata.progress.get("visited", []) if self.metadata is not None else []
        spots = np.array([spot for place in places if place["fov"] == stack.fov for spot in place["spots"]], float)
        x, y = spots.reshape(-1, 2).T
        return ShownFrame(plane, image, size, x, y)

    @property
    def _log(self) -> Path:
        return (self.calibration or self.stacks) / LOG

    def since_news_s(self) -> float | None:
        """Return how long ago the log's last line was written, s; None where there is none."""
        return max(0.0, time.time() - self._log.stat().st_mtime) if self._log.is_file() else None

    def log_lines(self) -> list[str]:
        """Return the last lines of the log, oldest first."""
        path = self._log
        if not path.is_file():
            return []
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - LOG_BYTES))
            text = file.read().decode("utf-8", "replace")
        found = [match for match in map(HEAD.match, text.splitlines()) if match and not OF_A_LIBRARY.search(match[3])]
        return [f"{match[1].split()[1]} {match[3]}" for match in found[-LOG_LINES:]]
