"""One live 3D run: molecules are localised while the camera is still running."""

from __future__ import annotations

import logging
import re
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from easyzloc_mm._log import run_log
from easyzloc_mm.acquire.focus.hold import FocusHold
from easyzloc_mm.acquire.suspension import Watch
from easyzloc_mm.errors import EasyZlocWarning
from easyzloc_mm.io.camera_map import check_camera_map
from easyzloc_mm.io.runs.localizations import holds_localizations, update_run
from easyzloc_mm.io.runs.status import RunStatus, read_status, write_status
from easyzloc_mm.io.verify.runs import verify_run
from easyzloc_mm.io.writing.kinds import Kind
from easyzloc_mm.io.writing.output import check_output
from easyzloc_mm.microscope.protocol import Microscope
from easyzloc_mm.profile.focus import Hold
from easyzloc_mm.profile.schema import Backend, Profile
from easyzloc_mm.typing import IfExists

if TYPE_CHECKING:
    import pandas as pd

    from easyzloc_mm.localization.live.status import LiveStatus
    from easyzloc_mm.localization.run_report import RunReport
    from easyzloc_mm.localization.sample.watch import SampleWatch
    from easyzloc_mm.localization.workers.protocol import WorkerPool
    from easyzloc_mm.model.card import ModelCard

logger = logging.getLogger(__name__)

DIGITS = re.compile(r"\d+")
STOPPED = "it was stopped before its last frame"
"""Why a run that somebody stopped ended."""
LASTING = 0.2
"""An alarm that was on for a smaller part of a run is left to its log."""


def run_live(
    microscope: Microscope,
    profile: Profile,
    card: ModelCard,
    out: Path,
    *,
    frames: int,
    keep_raw: bool = True,
    if_exists: IfExists = "error",
    progress: Callable[[str, float], None] | None = None,
    on_status: Callable[[LiveStatus], None] | None = None,
    stop: threading.Event | None = None,
    end_early: Callable[[LiveStatus], str | None] | None = None,
    workers: WorkerPool | None = None,
    refresh_after: int | None = None,
    wait_for_verdict: bool = True,
) -> RunReport:
    """Go to the sample, stream from the camera and localise in 3D while it runs.

    Parameters
    ----------
    microscope : Microscope
        Connected.
    profile : Profile
        `imaging` gives position, exposure and light; `localize` the detection.
    card : ModelCard
        Calibration of this instrument.
    out : Path
        ``RUN.zarr``, written in place: whatever ends the run, what was committed stays readable.
    frames : int
        Camera frames.
    keep_raw : bool
        Store the frames too.
    if_exists : {'error', 'overwrite'}
        Replace an existing run.
    progress : callable, optional
        Given (message, fraction).
    on_status : callable, optional
        Given a `LiveStatus` about twice a second.
    stop : threading.Event, optional
        Ends the run early and cleanly.
    end_early : callable, optional
        Given the same `LiveStatus`; where it returns a reason the run ends, complete with the frames that it has.
    workers : WorkerPool, optional
        Localising processes (`localization.live.stream.live_pool`) that serve several runs.
    refresh_after : int, optional
        Where the beads' PSF is not the sample's: make a model for the sample of so many molecules without a flag, and
        go on with it.
    wait_for_verdict : bool
        At the end, wait some seconds for what the molecules say of the beads' PSF, where that is still under way.

    Raises
    ------
    InputError
        The sample's place leaves the limits, the camera map does not fit, the output cannot be written, or
        `refresh_after` is asked for without raw frames; nothing has moved.
    HardwareError
        The camera or a stage failed; the frames that were received are localised and kept.
    """
    from easyzloc_mm.localization.live.run import LiveOptions
    from easyzloc_mm.localization.live.stream import localize_stream
    from easyzloc_mm.localization.sample.watch import end_watch, watch_of

    out = check_output(Path(out), Kind.RUN, if_exists=if_exists, inputs=[card.path], acquires=True)
    _check_plan(profile)
    sample = watch_of(out, card, profile, keep_raw=keep_raw, refresh_after=refresh_after, if_exists=if_exists)
    settings = {
        "model": {"path": card.path, "digest": card.digest},
        "options": {"out": out, "frames": frames, "keep_raw": keep_raw, "if_exists": if_exists},
        "profile": profile.model_dump(mode="json"),
    }
    with run_log("live run", settings) as log:
        begin_s = time.monotonic()
        facts = go_to_sample(microscope, profile)
        moving_s = time.monotonic() - begin_s
        if progress:
            java = profile.connection.backend is Backend.JAVA  # which has more than one way
            way = f"; frames come over {facts['frames_come_over']}" if java else ""
            progress(f"the localising processes start{way}", 0.0)
        alarms = AlarmLog()
        watch = Watch(microscope, profile, out)
        hold = FocusHold(microscope, profile) if profile.focus.hold is Hold.MOLECULES else None
        ending = _Ending(stop or threading.Event(), end_early)
        options = LiveOptions(
            frames=frames,
            keep_raw=keep_raw,
            if_exists=if_exists,
            progress=progress,
            on_status=_status_callback(out, ending, alarms, watch, on_status),
            stop=ending.stop,
            workers=workers,
            on_rows=_each_of(hold, sample),
            mark_rows=hold.mark if hold is not None else None,
            alarms=lambda: (*watch.alarms(), *sample.alarms()),
            successor=sample.successor,
        )
        stream = watch.frames_after_bleaching(frames, ending.stop)
        source = stream if hold is None else hold.held(stream)
        ended_by, finished = None, False
        try:
            report = localize_stream(source, card, out, profile, options, log, {"microscope": facts})
            ended_by, finished = watch.ended_by or ending.reason, True
            if ended_by is None and report.frames + report.frames_lost < frames:
                ended_by = STOPPED
        finally:
            _store_what_happened(out, hold, watch, ended_by)
            end_watch(sample, out, wait=finished and wait_for_verdict)
        report = report.model_copy(
            update={
                "focus_moves": hold.corrections if hold is not None else 0,
                "pauses": len(watch.pauses),
                "paused_s": sum(pause.seconds for pause in watch.pauses),
                "moving_s": moving_s,
                "light_ms": watch.light_ms,
                "ended_by": ended_by,
                "whole": _looked_over(out),
            }
        )
        report = report.judged(out, alarms.sentences())
        logger.debug("live run: %s", report.model_dump_json(exclude_none=True))
    return report


class _Ending:
    """Ends a run cleanly before its last frame, where whoever sees its status has a reason."""

    def __init__(self, stop: threading.Event, end_early: Callable[[LiveStatus], str | None] | None) -> None:
        self.stop, self._end_early = stop, end_early
        self.reason: str | None = None

    def see(self, status: LiveStatus) -> None:
        """Ask whether this status is a reason."""
        if self._end_early is None or self.reason is not None or not status.camera_running:
            return
        self.reason = self._end_early(status)
        if self.reason is not None:
            logger.info("the run ends early: %s", self.reason)
            self.stop.set()


def _check_plan(profile: Profile) -> None:
    """Raise `InputError` where the sample's place leaves the limits or the camera map does not fit."""
    plan = profile.imaging
    if plan.start_position_um:
        profile.limits.check(x_um=plan.start_position_um[0], y_um=plan.start_position_um[1])
    profile.limits.check(z_um=plan.focus_um)
    check_camera_map(profile.camera)


def go_to_sample(microscope: Microscope, profile: Profile) -> dict[str, object]:
    """Move to the position of `imaging`, let the focus lock hold, set exposure and light; return what it all is."""
    plan, lock = profile.imaging, microscope.focus_lock
    if lock is not None:
        lock.off()
    if plan.start_position_um:
        microscope.move_xy(*plan.start_position_um)
    if plan.focus_um is not None:
        microscope.move_z(plan.focus_um)
    if lock is not None:
        lock.hold()
    exposure_ms = microscope.set_exposure(plan.exposure_ms)
    microscope.set_illumination(plan.illumination)
    facts = microscope.describe()
    logger.info("exposure %g ms, illumination %s, stages at %s", exposure_ms, plan.illumination, microscope.position())
    logger.debug("microscope: %s", facts)
    return facts


class AlarmLog:
    """Alarms of a run: each kind goes to the log when it is first raised, and is told at the end if it lasted."""

    def __init__(self) -> None:
        self._looks = 0
        self._raised: Counter[str] = Counter()

    def see(self, status: LiveStatus) -> None:
        """Note the alarms of a moment."""
        self._looks += 1
        for alarm in status.alarms:
            kind = DIGITS.sub("", alarm)
            if kind not in self._raised:
                logger.warning("%s (%s)", alarm, status.line())
            self._raised[kind] += 1

    def sentences(self) -> tuple[str, ...]:
        """Return the alarms that were on for `LASTING` of the run, the longest first; the report has the counts."""
        shares = ((kind, looks / self._looks) for kind, looks in self._raised.most_common() if kind[0] != " ")
        return tuple(f"{kind} (for {share:.0%} of the run)" for kind, share in shares if share >= LASTING)


def _status_callback(
    out: Path, ending: _Ending, alarms: AlarmLog, watch: Watch, on_status: Callable[[LiveStatus], None] | None
) -> Callable[[LiveStatus], None]:
    """Return what a run calls with its state: stores it, ends the run if that is a reason, hands it to the caller."""

    def report_status(status: LiveStatus) -> None:
        with suppress(OSError):  # a full disk is the writers' to report
            light = {"light_ms": watch.light_ms, "light_budget_ms": watch.light_budget_ms}
            write_status(out, RunStatus.model_validate(status.as_dict() | light))
        ending.see(status)
        alarms.see(status)
        if on_status is not None:
            on_status(status)

    return report_status


def _each_of(hold: FocusHold | None, sample: SampleWatch) -> Callable[[pd.DataFrame], None]:
    """Return what is shown the rows of each block."""

    def see(rows: pd.DataFrame) -> None:
        if hold is not None:
            hold.see(rows)
        sample.see(rows)

    return see


def _looked_over(out: Path) -> bool:
    """Whether all of a run that was just written is there; said in the log, in its status, and if not, to the user."""
    whole = verify_run(out, quick=True).tell(logger)
    with suppress(OSError):  # a status that cannot be written changes nothing of the run
        write_status(out, (read_status(out) or RunStatus()).changed(whole=whole))
    return whole


def _store_what_happened(out: Path, hold: FocusHold | None, watch: Watch, ended_by: str | None) -> None:
    """Write what was done to the focus, pauses, light, and why the run ended early, beside its rows."""
    facts: dict[str, object] = {"light_ms": watch.light_ms, "pauses": tuple(watch.pauses)}
    if hold is not None:
        facts["focus_moves"] = tuple(hold.moves)
    if ended_by is not None:
        facts |= {"complete": True, "ended_by": ended_by}
    try:
        if holds_localizations(out):
            update_run(out, **facts)
    except OSError as error:  # a full disk must not hide what ended the run
        logger.warning("what happened to the run could not be written: %s; it was: %s", error, facts)
        if watch.pauses or (hold is not None and hold.moves):
            warnings.warn(
                f"the run's pauses and focus moves could not be written: {error}", EasyZlocWarning, stacklevel=3
            )
