"""What the molecules of a field say of it, and whether that is what the plan asks for."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from easyzloc_mm.acquire.plans.rules import FieldMeasures, FieldRule, Then, When, broken
from easyzloc_mm.analysis.drift.displacement import displacement
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.runs.localizations import holds_localizations, read_localizations
from easyzloc_mm.io.runs.reach import committed_frames, frames_taken

if TYPE_CHECKING:
    from easyzloc_mm.localization.live.status import LiveStatus

logger = logging.getLogger(__name__)

FEWEST = 50
"""Of fewer molecules no median is given."""
FIFTHS = 5
"""Drift is from the first part of the frames to the last, of so many."""
COLUMNS = ("frame", "x", "y", "photons", "z", "lpz", "z_flag")


def measure_field(stores: Sequence[Path], first_frames: int | None = None) -> FieldMeasures | None:
    """Return what the molecules of a field say; None where none of its stores can be read.

    Parameters
    ----------
    stores : sequence of Path
        Runs, in the order in which they were taken.
    first_frames : int, optional
        Only so many frames of each; all if not given.
    """
    tables: list[pd.DataFrame] = []
    frames = lost = 0
    area_um2 = pixel_nm = np.nan
    for store in stores:
        if not holds_localizations(store):
            continue
        table, metadata = read_localizations(store, columns=COLUMNS)
        taken = frames_taken(store)
        if first_frames is not None:
            taken, table = min(taken, first_frames), table[table["frame"] < first_frames]
        table["frame"] = table["frame"].astype(np.int64) + frames
        tables.append(table)
        frames, lost = frames + taken, lost + metadata.frames_lost
        area_um2, pixel_nm = metadata.area_um2, metadata.pixel_size_nm
    if not frames:
        return None
    table = pd.concat(tables, ignore_index=True)
    per_frame = len(table) / frames
    return FieldMeasures(
        spots_per_frame=per_frame,
        density_per_um2=per_frame / area_um2,
        frames_lost=lost,
        xy_drift_nm=None if first_frames is not None else _moved_sideways(table, frames, pixel_nm),
        **_medians(table, frames),
    )


def _medians(table: pd.DataFrame, frames: int) -> dict[str, float]:
    if len(table) < FEWEST:
        return {}
    found = {"photons": float(table["photons"].median())}
    if "z" not in table:
        return found
    found["flagged"] = float((table["z_flag"] != 0).mean())
    known = table[table["z_flag"] == 0]
    if len(known) < FEWEST:
        return found
    found |= {"lpz_nm": float(known["lpz"].median()), "focus_nm": float(known["z"].median())}
    first, last = _ends(known, frames)
    if min(len(first), len(last)) >= FEWEST:
        found["z_drift_nm"] = float(last["z"].median() - first["z"].median())
    return found


def _ends(table: pd.DataFrame, frames: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the molecules of the first part of the frames, and of the last."""
    return table[table["frame"] < frames / FIFTHS], table[table["frame"] >= frames * (1 - 1 / FIFTHS)]


def _moved_sideways(table: pd.DataFrame, frames: int, pixel_nm: float) -> float | None:
    first, last = (
        (pixel_nm * end[["x", "y"]].to_numpy(float), end["frame"].to_numpy(np.int64)) for end in _ends(table, frames)
    )
    moved_nm = displacement(*first, *last)
    return None if moved_nm is None else math.hypot(*moved_nm)


class FirstLook:
    """Looks at a field once its first frames are localised, and ends its run where a rule of the plan says so.

    Parameters
    ----------
    rules : sequence of FieldRule
        Those that are looked at at the start; a rule that would take the field again is only noted once that was done
        `retries` times.
    frames : int
        How many are looked at.
    run : Path
        ``NAME.zarr``.
    may_retry : callable
        Says whether light is left to take the field again.
    retries : int
        How often it was.
    """

    def __init__(
        self, rules: Sequence[FieldRule], frames: int, run: Path, *, may_retry: Callable[[], bool], retries: int
    ) -> None:
        self._rules = [rule for rule in rules if rule.at is When.START]
        self._frames, self._run, self._may_retry, self._retries = frames, run, may_retry, retries
        self._looked = False
        self.broken: dict[FieldRule, str] = {}
        """Rules that the first frames break, and why."""
        self.then = Then.NOTE
        """What becomes of the field for it."""

    def see(self, status: LiveStatus) -> str | None:
        """Look, when enough frames are localised; return why the run is to end."""
        if self._looked or not self._rules or status.localized < self._frames:
            return None
        try:
            if committed_frames(self._run) < self._frames:
                return None
            measures = measure_field([self._run], self._frames)
        except InputError as error:  # just being replaced; the next status looks again
            logger.debug("the first frames of %s cannot be read yet: %s", self._run.name, error)
            return None
        self._looked = True
        if measures is not None:
            self.broken = broken(self._rules, When.START, measures)
        grave = [rule for rule in self.broken if rule.then is Then.SKIP]
        again = [rule for rule in self.broken if rule.then is Then.RETRY and self._retries < rule.retries]
        ending = grave or (again if again and self._may_retry() else [])
        if not ending:
            return None
        self.then = ending[0].then
        return self.broken[ending[0]]
