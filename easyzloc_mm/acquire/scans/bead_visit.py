"""Beads beside the sample, between the fields of a scan: whether z is still what the stage says."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from easyzloc_mm.acquire.plans.rules import BeadCheck
from easyzloc_mm.acquire.scans.field import wait_safely
from easyzloc_mm.acquire.scans.ledger import BeadVisit, Ledger
from easyzloc_mm.errors import EasyZlocWarning, HardwareError
from easyzloc_mm.localization.workers.messages import (
    Answer,
    Block,
    FindThreshold,
    LocalizeBlock,
    Localized,
    ThresholdFound,
)
from easyzloc_mm.model.predictor import OUT_OF_RANGE
from easyzloc_mm.typing import F64, U16

if TYPE_CHECKING:
    from easyzloc_mm.localization.workers.protocol import WorkerPool
    from easyzloc_mm.microscope.protocol import Microscope

logger = logging.getLogger(__name__)

SAME_BEAD_NM = 300.0
"""Spots of several planes that lie closer are of one bead: the image of a bead shifts sideways with depth."""
FEWEST_BEADS = 3
PLANES_SHARE = 0.6
"""A bead counts that is found in so many of the planes."""
PATIENCE_S = 0.2


class BeadVisitor:
    """Visits the beads of a plan.

    Parameters
    ----------
    microscope : Microscope
    check : BeadCheck
    ledger : Ledger
        Holds the visits.
    workers : WorkerPool
    safe_z_um : float, optional
        Where z waits while x and y move.
    """

    def __init__(
        self,
        microscope: Microscope,
        check: BeadCheck,
        ledger: Ledger,
        workers: WorkerPool,
        safe_z_um: float | None = None,
    ) -> None:
        self._microscope, self._check, self._ledger, self._workers = microscope, check, ledger, workers
        self._safe_z_um = safe_z_um
        self.seconds = 0.0
        """Time that the visits of this call took."""

    def visit_if_due(self, *, at_end: bool = False) -> None:
        """Visit the beads before the first field, after every so many, at the end, and again where they ended a scan.

        Raises
        ------
        HardwareError
            z is off by more than the plan allows, or the beads are not found: the scan is to end. The visit is written
            down.
        """
        visits, over = self._ledger.content.visits, self._ledger.over
        if visits and visits[-1].trouble is None:
            since = over - visits[-1].after_fields
            if since < (1 if at_end else self._check.every_fields):
                return
        begin_s = time.monotonic()
        visit = self._visit(over, visits[0] if visits else None)
        self.seconds += time.monotonic() - begin_s
        self._ledger.note_visit(visit)
        logger.info("beads after %d fields: %s", over, visit)
        if visit.trouble is not None:
            raise HardwareError(
                f"{visit.trouble}; the scan ends here, and what it took is kept: look at the beads, calibrate again, "
                "or raise `bead_check.max_error_nm`"
            )
        if visit.error_nm is None:
            warnings.warn(f"{self._too_few(visit.beads)}, and nothing is known of z", EasyZlocWarning, stacklevel=2)

    def _visit(self, over: int, first: BeadVisit | None) -> BeadVisit:
        microscope, check = self._microscope, self._check
        before_ms = microscope.lit_ms()
        frames, stage_nm = self._photographed()
        rows = self._localized(frames)
        pixel_nm = microscope.profile.optics.pixel_size_nm
        found = compare_depths(rows, stage_nm, check.frames_per_plane, pixel_nm)
        before_nm = found.focus_nm if first is None else first.focus_nm
        visit = BeadVisit(
            time_s=time.time(),
            after_fields=over,
            light_ms=microscope.lit_ms() - before_ms,
            focus_moved_nm=None if found.focus_nm is None or before_nm is None else found.focus_nm - before_nm,
            **found._asdict(),
        )
        return visit.model_copy(update={"trouble": self._trouble(visit)})

    def _trouble(self, visit: BeadVisit) -> str | None:
        most_nm = self._check.max_error_nm
        if most_nm is None:
            return None
        if visit.error_nm is None:
            return f"{self._too_few(visit.beads)}, and z cannot be checked"
        if visit.error_nm > most_nm:
            return f"z of the beads is off by {visit.error_nm:.0f} nm, more than {most_nm:g} nm"
        return None

    def _too_few(self, beads: int) -> str:
        x_um, y_um = self._check.position_um
        return f"at x, y = {x_um:.1f}, {y_um:.1f} um only {beads} beads are found"

    def _photographed(self) -> tuple[U16, F64]:
        """Return the images of all planes, and where the stage says that each plane was, nm from `focus_um`."""
        microscope, check = self._microscope, self._check
        beads = microscope.profile.beads
        wait_safely(microscope, self._safe_z_um)
        if microscope.focus_lock is not None:
            microscope.focus_lock.off()
        microscope.move_xy(*check.position_um)
        microscope.set_exposure(check.exposure_ms or beads.exposures_ms[0])
        microscope.set_illumination(check.illumination or next(iter(beads.illuminations), None))
        steps_nm = np.linspace(-check.range_nm, check.range_nm, check.planes)
        images, stage_nm = [], []
        microscope.move_z(check.z_span_um[0])
        with microscope.hold_shutter_open():
            for step_nm in steps_nm:
                microscope.move_z(check.focus_um + step_nm / 1000)
                time.sleep(beads.settle_ms / 1000)
                stage_nm.append(1000 * (microscope.position().z_um - check.focus_um))
                images += [microscope.expose() for _ in range(check.frames_per_plane)]
        return np.stack(images), np.array(stage_nm)

    def _localized(self, frames: U16) -> pd.DataFrame:
        self._workers.start()
        numbers = np.arange(len(frames), dtype=np.int64)
        try:
            rows: pd.DataFrame | None = None
            block: Block = FindThreshold(0, numbers, frames, len(frames))
            while rows is None:
                self._workers.submit(block)
                match self._answer():
                    case ThresholdFound(threshold):
                        block = LocalizeBlock(0, numbers, frames, len(frames), threshold)
                    case Localized(rows):
                        pass
            return rows
        finally:
            self._workers.drop()

    def _answer(self) -> Answer:
        while True:
            for outcome in self._workers.outcomes(PATIENCE_S):
                return outcome.answer


class DepthCheck(NamedTuple):
    """z of beads against the stage; None where there are too few beads.

    Attributes
    ----------
    beads : int
        Beads that were found in enough planes.
    error_nm : float or None
        Difference of the beads' z (median over them, each one's own height taken out) from the stage's, root mean
        square over the planes.
    scale : float or None
        Measured travel over the stage's.
    focus_nm : float or None
        Where the stage is when the beads are in focus.
    """

    beads: int
    error_nm: float | None = None
    scale: float | None = None
    focus_nm: float | None = None


def compare_depths(
    rows: pd.DataFrame, stage_nm: Sequence[float] | F64, frames_per_plane: int, pixel_nm: float
) -> DepthCheck:
    """Hold z of beads in several planes against the stage.

    Parameters
    ----------
    rows : DataFrame
        Localisations of all images, `frame` counted through the planes.
    stage_nm : sequence of float
        Where each plane was.
    frames_per_plane : int
    pixel_nm : float
        Camera pixel.
    """
    stage = np.asarray(stage_nm, float)
    depths = _by_bead(rows, len(stage), frames_per_plane, pixel_nm)
    enough = np.isfinite(depths).sum(axis=1) >= PLANES_SHARE * len(stage)
    depths = depths[enough]
    if len(depths) < FEWEST_BEADS:
        return DepthCheck(len(depths))
    off = depths - stage
    heights = np.nanmedian(off, axis=1)
    seen = np.isfinite(off).any(axis=0)
    by_plane = np.nanmedian(off[:, seen] - heights[:, None], axis=0)
    scale = 1.0 + float(np.polyfit(stage[seen], by_plane, 1)[0])
    return DepthCheck(len(depths), float(np.sqrt(np.mean(by_plane**2))), scale, -float(np.median(heights)))


def _by_bead(rows: pd.DataFrame, planes: int, frames_per_plane: int, pixel_nm: float) -> F64:
    """Depth of every bead in every plane, shape (beads, planes); NaN where it was not found, or its z is not known.

    A bead is where the first image of the plane with most spots has one. Of several spots near it in an image the
    brightest is the bead's.
    """
    from scipy.spatial import cKDTree

    table = rows[["frame", "x", "y", "z", "photons", "z_flag"]].sort_values("photons", ascending=False)
    table = table.assign(plane=table["frame"].astype(np.int64) // frames_per_plane)
    if not len(table):
        return np.empty((0, planes))
    fullest = int(np.argmax(np.bincount(table["plane"], minlength=planes)))
    near_px = SAME_BEAD_NM / pixel_nm
    beads: list[F64] = []
    for spot in table.loc[table["frame"] == frames_per_plane * fullest, ["x", "y"]].to_numpy(float):
        if all(np.hypot(*(spot - bead)) > 2 * near_px for bead in beads):
            beads.append(spot)
    if not beads:
        return np.empty((0, planes))
    away, nearest = cKDTree(np.array(beads)).query(table[["x", "y"]].to_numpy(float))
    table = table.assign(bead=nearest)[(away <= near_px) & (table["z_flag"].to_numpy() & OUT_OF_RANGE == 0)]
    brightest = table.drop_duplicates(["frame", "bead"])
    depths = brightest.groupby(["bead", "plane"])["z"].median().unstack("plane")
    return np.asarray(depths.reindex(index=range(len(beads)), columns=range(planes)).to_numpy(float))
