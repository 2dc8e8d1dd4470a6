"""One live 3D run: molecules are localised while the camera is still running."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from easyzloc_mm.errors import HardwareError
from easyzloc_mm.microscope.protocol import Microscope
from easyzloc_mm.profile import Profile
from easyzloc_mm.records import Frame
from easyzloc_mm.store.output import check_output
from easyzloc_mm.store.records import write_records

if TYPE_CHECKING:
    from easyzloc_mm.network import ModelBundle


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
        From a frame's arrival in this process to its localisations, 95th percentile.
    """

    out: Path
    frames: int
    frames_lost: int
    frames_per_s: float
    localizations: int
    p95_latency_s: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for printing."""
        return asdict(self)


def run_live(
    microscope: Microscope,
    profile: Profile,
    bundle: ModelBundle,
    out: Path,
    *,
    frames: int,
    keep_raw: bool = True,
    overwrite: bool = False,
    progress: Callable[[str, float], None] | None = None,
    stop: threading.Event | None = None,
) -> LiveReport:
    """Go to the sample, stream from the camera and localise in 3D while it runs.

    Parameters
    ----------
    microscope : Microscope
        Connected.
    profile : Profile
        `imaging` says where, how long and how bright; `localize` how spots are found.
    bundle : ModelBundle
        Calibration of this instrument.
    out : Path
        ``RUN.zarr``, written in place: whatever ends the run, what was committed stays readable.
    frames : int
        Camera frames.
    keep_raw : bool
        Store the frames too.
    overwrite : bool
        Replace an existing run.
    progress : callable, optional
        Given (message, fraction).
    stop : threading.Event, optional
        Ends the run early and cleanly.

    Raises
    ------
    InputError
        The sample's place leaves the limits or the output cannot be written; nothing has moved.
    HardwareError
        The camera or a stage failed; the frames that were got are localised and kept.
    """
    from easyzloc_mm.localize import localize_stream

    out = check_output(Path(out), overwrite=overwrite)
    plan = profile.imaging
    if plan.start_position_um:
        profile.limits.check(x_um=plan.start_position_um[0], y_um=plan.start_position_um[1])
    profile.limits.check(z_um=plan.focus_um)
    if plan.start_position_um:
        microscope.move_xy(*plan.start_position_um)
    if plan.focus_um is not None:
        microscope.move_z(plan.focus_um)
    microscope.set_exposure(plan.exposure_ms)
    microscope.set_illumination(plan.illumination)
    source = _Source(microscope.stream(frames, stop))
    try:
        run = localize_stream(
            source.frames(),
            bundle,
            out,
            profile=profile,
            frames=frames,
            keep_raw=keep_raw,
            overwrite=overwrite,
            provenance={"microscope": microscope.describe()},
            progress=progress,
        )
    finally:
        if out.exists():
            write_records(out, microscope.records())
    if source.fault is not None:
        raise HardwareError(
            f"{source.fault} ({run.frames} frames and {run.localizations} localisations are kept in {out})"
        ) from source.fault
    return LiveReport(
        out=out,
        frames=run.frames,
        frames_lost=run.frames_lost,
        frames_per_s=run.frames_per_s,
        localizations=run.localizations,
        p95_latency_s=run.p95_latency_s,
    )


class _Source:
    """The camera's stream; its failure waits until everything that came before is localised and stored."""

    def __init__(self, frames: Iterator[Frame]) -> None:
        self._frames = frames
        self.fault: HardwareError | None = None

    def frames(self) -> Iterator[Frame]:
        try:
            yield from self._frames
        except HardwareError as error:
            self.fault = error
