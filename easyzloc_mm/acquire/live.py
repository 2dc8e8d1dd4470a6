"""One live 3D run: molecules are localised while the camera is still running."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from easyzloc_mm.acquire.focus_hold import FocusHold
from easyzloc_mm.errors import EasyZlocWarning
from easyzloc_mm.io.camera_map import check_camera_map
from easyzloc_mm.io.kinds import Kind
from easyzloc_mm.io.output import check_output
from easyzloc_mm.io.runs.localizations import update_run
from easyzloc_mm.io.runs.status import write_status
from easyzloc_mm.microscope.protocol import Microscope
from easyzloc_mm.profile.schema import Backend, Profile
from easyzloc_mm.typing import IfExists

if TYPE_CHECKING:
    from easyzloc_mm.localization.live.status import LiveStatus
    from easyzloc_mm.localization.workers.protocol import WorkerPool
    from easyzloc_mm.model.card import ModelCard


@dataclass(frozen=True)
class LiveReport:
    """What a live run did.

    Attributes
    ----------
    out : Path
        The run, ``RUN.zarr``.
    frames, frames_lost : int
        Frames received, and frames that were asked for but did not come.
    frames_per_s : float
        Over the whole run, until the last localisation was written.
    localizations : int
        Rows in the table.
    p95_latency_s : float
        From a frame's arrival in MMCore's buffer to its localisations being committed, 95th percentile.
    most_waiting : int
        Frames that waited for localisation when most did.
    catch_up_s : float
        How long localisation went on after the camera had stopped.
    workers_replaced : int
        Localising processes that died and were replaced.
    focus_moves : int
        Times that z was moved back to hold the focus.
    """

    out: Path
    frames: int
    frames_lost: int
    frames_per_s: float
    localizations: int
    p95_latency_s: float
    most_waiting: int = 0
    catch_up_s: float = 0.0
    workers_replaced: int = 0
    focus_moves: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for printing."""
        return asdict(self)


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
    workers: WorkerPool | None = None,
) -> LiveReport:
    """Go to the sample, stream from the camera and localise in 3D while it runs.

    Parameters
    ----------
    microscope : Microscope
        Connected.
    profile : Profile
        `imaging` says where, how long and how bright; `localize` how spots are found.
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
    workers : WorkerPool, optional
        Localising processes (`localize.live_pool`) that are to serve several runs.

    Raises
    ------
    InputError
        The sample's place leaves the limits, the camera map does not fit, or the output cannot be written; nothing has
        moved.
    HardwareError
        The camera or a stage failed; the frames that were got are localised and kept.
    """
    from easyzloc_mm.localization.live.stream import localize_stream

    out = check_output(Path(out), Kind.RUN, if_exists=if_exists, inputs=[card.path], acquires=True)
    plan = profile.imaging
    if plan.start_position_um:
        profile.limits.check(x_um=plan.start_position_um[0], y_um=plan.start_position_um[1])
    profile.limits.check(z_um=plan.focus_um)
    check_camera_map(profile.camera)
    if plan.start_position_um:
        microscope.move_xy(*plan.start_position_um)
    if plan.focus_um is not None:
        microscope.move_z(plan.focus_um)
    microscope.set_exposure(plan.exposure_ms)
    microscope.set_illumination(plan.illumination)
    facts = microscope.describe()
    if progress and profile.connection.backend is Backend.JAVA:  # which has more than one way
        progress(f"frames come over {facts['frames_come_over']}", 0.0)
    stop = stop or threading.Event()
    hold = FocusHold(microscope, profile) if plan.hold_focus_nm else None

    def told(status: LiveStatus) -> None:
        with suppress(OSError):  # a full disk is the writers' to report
            write_status(out, status.as_dict())
        if hold is not None:
            hold.see(status)
        if on_status is not None:
            on_status(status)

    stream = microscope.stream(frames, stop)
    try:
        run = localize_stream(
            stream if hold is None else hold.held(stream),
            card,
            out,
            profile=profile,
            frames=frames,
            keep_raw=keep_raw,
            if_exists=if_exists,
            provenance={"microscope": facts},
            progress=progress,
            on_status=told,
            stop=stop,
            workers=workers,
        )
    finally:
        try:
            if hold is not None and hold.moves and out.exists():
                update_run(out, focus_moves=hold.moves)
        except OSError as error:  # a full disk must not hide what ended the run
            warnings.warn(f"the run's focus moves could not be written: {error}", EasyZlocWarning, stacklevel=2)
    return LiveReport(
        out=out,
        frames=run.frames,
        frames_lost=run.frames_lost,
        frames_per_s=run.frames_per_s,
        localizations=run.localizations,
        p95_latency_s=run.p95_latency_s,
        most_waiting=run.most_waiting,
        catch_up_s=run.catch_up_s,
        workers_replaced=run.workers_replaced,
        focus_moves=len(hold.moves) if hold is not None else 0,
    )
