"""One field of a scan: taken, judged, taken again where a rule says so, and written down."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from easyzloc_mm.acquire.live import run_live
from easyzloc_mm.acquire.plans.plan import Resume, ScanPlan
from easyzloc_mm.acquire.plans.rules import FieldMeasures, FieldRule, Then, When, broken
from easyzloc_mm.acquire.scans.ledger import FieldStatus, Ledger
from easyzloc_mm.acquire.scans.measures import FirstLook, measure_field
from easyzloc_mm.acquire.scans.parts import KeptParts, finish_rejection, kept_parts, reject
from easyzloc_mm.errors import HardwareError, LocalizerError
from easyzloc_mm.io.writing.output import free_name
from easyzloc_mm.microscope.protocol import Microscope
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.typing import Progress

if TYPE_CHECKING:
    from easyzloc_mm.localization.run_report import RunReport
    from easyzloc_mm.localization.workers.protocol import WorkerPool
    from easyzloc_mm.model.card import ModelCard

COUNTS = ("frames", "frames_lost", "localizations")


@dataclass
class FieldTotals:
    """What the fields that a call ended add up to."""

    frames: int = 0
    frames_lost: int = 0
    localizations: int = 0
    skipped: int = 0
    poor: int = 0
    retried: int = 0
    accounted_s: float = 0.0
    """Moving, waiting in a pause, light."""


@dataclass
class _Spent:
    """Seconds of a field that are no overhead."""

    begin_s: float = field(default_factory=time.monotonic)
    known_s: float = 0.0

    def add(self, report: RunReport | None) -> None:
        if report is not None:
            self.known_s += (report.moving_s or 0.0) + (report.paused_s or 0.0) + (report.light_ms or 0.0) / 1000

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.begin_s

    @property
    def overhead_s(self) -> float:
        return max(0.0, self.seconds - self.known_s)


class FieldTaker:
    """Takes the fields of a scan.

    Parameters
    ----------
    microscope : Microscope
        Connected.
    plan : ScanPlan
    card : ModelCard
    ledger : Ledger
    workers : WorkerPool
        Localising processes for all fields.
    keep_raw : bool
    around_run : callable
        Gives a context that is entered around each run; called with the run, ``NAME.zarr``.
    """

    def __init__(
        self,
        microscope: Microscope,
        plan: ScanPlan,
        card: ModelCard,
        ledger: Ledger,
        workers: WorkerPool,
        keep_raw: bool,
        around_run: Callable[[Path], AbstractContextManager[object]],
    ) -> None:
        self._microscope, self._plan, self._card = microscope, plan, card
        self._ledger, self._workers, self._keep_raw, self._around_run = ledger, workers, keep_raw, around_run
        self.totals = FieldTotals()

    def take(self, run: Path, profile: Profile, progress: Progress) -> None:
        """Take one field, or what is missing of it, and write down what became of it.

        Parameters
        ----------
        run : Path
            ``NAME.zarr`` in the scan's folder.
        profile : Profile
            Of this field.
        progress : callable
            Given (message, fraction).
        """
        name, spent = run.stem, _Spent()
        finish_rejection(run, self._ledger, name)
        if self._plan.resume is Resume.REPEAT and run.exists():
            run.rename(free_name(run, "partial"))
        while True:
            kept = kept_parts(run, self._ledger, name, self._card, self._workers, progress)
            light = _Light(self._microscope, profile, kept)
            look = FirstLook(
                self._plan.all_rules,
                min(self._plan.look_frames, profile.imaging.frames),
                run,
                may_retry=light.is_left,
                retries=self._ledger.state(name).retries,
            )
            report = self._rest(run, profile, kept, progress, look)
            spent.add(report)
            stores = [run.parent / part for part in kept.names] + ([run] if report else [])
            measures = measure_field(stores)
            reasons = dict(look.broken)
            if measures is not None and look.then is Then.NOTE:
                reasons |= broken(self._plan.all_rules, When.END, measures)
            if report is None or not self._again(name, look, reasons, light):
                break
            reject(run, self._ledger, name, kept)
            self.totals.retried += 1
        self._end(run, kept, report, look, tuple(reasons.values()), measures, light.field_ms(), spent)

    def _again(self, name: str, look: FirstLook, reasons: dict[FieldRule, str], light: _Light) -> bool:
        """Whether the field is taken again: a rule says so, not too often, and light is left for it."""
        retries = self._ledger.state(name).retries
        wanted = any(rule.then is Then.RETRY and retries < rule.retries for rule in reasons)
        return wanted and look.then is not Then.SKIP and light.is_left()

    def _rest(
        self, run: Path, profile: Profile, kept: KeptParts, progress: Progress, look: FirstLook
    ) -> RunReport | None:
        """Take what is missing of the field; None where nothing is, or no light is left for it."""
        ledger, name = self._ledger, run.stem
        so_far = {
            "parts": kept.names,
            "rejected": ledger.state(name).rejected,
            "retries": ledger.state(name).retries,
        }
        left = profile.imaging.frames - kept.frames
        ledger.note(name, FieldStatus.RUNNING, run, **so_far)
        if left <= 0 or kept.uses_up(profile.imaging.light_budget_ms):
            return None
        try:
            return self._run(run, kept.rest_of(profile, left), left, progress, look)
        except (HardwareError, LocalizerError) as error:
            ledger.note(name, FieldStatus.FAILED, run, error=str(error), **so_far)
            raise
        except BaseException:  # Ctrl-C above all
            ledger.note(name, FieldStatus.INTERRUPTED, run, **so_far)
            raise

    def _run(self, run: Path, profile: Profile, frames: int, progress: Progress, look: FirstLook) -> RunReport:
        begin_s = time.monotonic()
        wait_safely(self._microscope, self._plan.safe_z_um)
        waiting_s = time.monotonic() - begin_s
        with self._around_run(run):
            report = run_live(
                self._microscope,
                profile,
                self._card,
                run,
                frames=frames,
                keep_raw=self._keep_raw,
                progress=progress,
                workers=self._workers,
                end_early=look.see,
                wait_for_verdict=False,  # of a field of seconds: the next one counts for more
            )
        return report.model_copy(update={"moving_s": (report.moving_s or 0.0) + waiting_s})

    def _end(
        self,
        run: Path,
        kept: KeptParts,
        report: RunReport | None,
        look: FirstLook,
        reasons: tuple[str, ...],
        measures: FieldMeasures | None,
        light_ms: float,
        spent: _Spent,
    ) -> None:
        """Write down that nothing more is to be done with a field, and count it."""
        counts = {key: getattr(kept, key) + (getattr(report, key) if report else 0) for key in COUNTS}
        state, totals = self._ledger.state(run.stem), self.totals
        error = None
        if look.then is Then.SKIP:
            error = next(iter(reasons))
        elif report is None and not kept.names:
            error = "nothing was taken: earlier calls used up its light budget"
        self._ledger.note(
            run.stem,
            FieldStatus.DONE if error is None else FieldStatus.SKIPPED,
            run if report else None,
            parts=kept.names,
            rejected=state.rejected,
            retries=state.retries,
            error=error,
            ended_by=report.ended_by if report else None,
            reasons=reasons,
            measures=measures,
            light_ms=light_ms,
            seconds=spent.seconds,
            overhead_s=spent.overhead_s,
            **counts,
        )
        totals.skipped += error is not None
        totals.poor += error is None and bool(reasons)
        totals.accounted_s += spent.known_s
        for key, count in counts.items():
            setattr(totals, key, getattr(totals, key) + count)


class _Light:
    """The light that a field has had."""

    def __init__(self, microscope: Microscope, profile: Profile, kept: KeptParts) -> None:
        self._microscope, self._budget_ms = microscope, profile.imaging.light_budget_ms
        self._before_ms = microscope.lit_ms() - kept.light_ms

    def field_ms(self) -> float:
        return self._microscope.lit_ms() - self._before_ms

    def is_left(self) -> bool:
        return self._budget_ms is None or self.field_ms() < self._budget_ms


def wait_safely(microscope: Microscope, safe_z_um: float | None) -> None:
    """Take z to where it waits while x and y move, if the plan names such a place."""
    if safe_z_um is None:
        return
    if microscope.focus_lock is not None:
        microscope.focus_lock.off()
    microscope.move_z(safe_z_um)
