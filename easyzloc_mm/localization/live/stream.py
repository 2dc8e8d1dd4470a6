"""The live loop: frames are stored as they come and localised beside it, by other processes.

Four parties, none of which waits for the next: the camera's thread, the thread that stores (`intake`), the localising
processes (`workers`), and the caller's thread, which hands out blocks, writes the table and says how it goes
(`live_run`). Stored frames are localised from disk, so raw data never waits for the network: localisation may lag, and
then catches up after the camera has stopped.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.kinds import Kind
from easyzloc_mm.io.output import replaced_stream
from easyzloc_mm.localization.config import LocalizerConfig, live_workers
from easyzloc_mm.localization.live.run import LiveRun, OnStatus, Told
from easyzloc_mm.localization.pipeline import LocalizeReport
from easyzloc_mm.localization.workers.local import Workers
from easyzloc_mm.localization.workers.protocol import WorkerPool
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.typing import Frame, IfExists, Progress


def live_pool(profile: Profile, card: ModelCard) -> Workers:
    """Localising processes for live runs with this profile and model; they start when first needed."""
    settings = LocalizerConfig(card.path, profile.camera.response, profile.localize, camera_map=profile.camera.map)
    return Workers(settings, live_workers())


def localize_stream(
    source: Iterator[Frame],
    card: ModelCard,
    out: Path,
    *,
    profile: Profile,
    frames: int,
    keep_raw: bool = True,
    if_exists: IfExists = "error",
    provenance: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    on_status: OnStatus | None = None,
    stop: threading.Event | None = None,
    workers: WorkerPool | None = None,
) -> LocalizeReport:
    """Localise frames while they come, into ``RUN.zarr``.

    Whatever ends the run - the last frame, an error, Ctrl-C - what has come is stored and the store is closed.

    Parameters
    ----------
    source : iterator of Frame
        Frame numbers rise; a gap counts as lost frames. It is used in a thread of its own.
    card : ModelCard
    out : Path
        ``RUN.zarr``, written in place.
    profile : Profile
        Camera units, pixel size and `localize`.
    frames : int
        How many frames are expected.
    keep_raw : bool
        Store the frames too.
    provenance : mapping, optional
        More metadata of the run (`RunMetadata`).
    progress : callable, optional
        Given a line for the terminal and the fraction done.
    on_status : callable, optional
        Given a `LiveStatus` about twice a second.
    stop : threading.Event, optional
        What ends `source` early and cleanly; set on Ctrl-C.
    workers : WorkerPool, optional
        From `live_pool`, to be used for several runs.

    Raises
    ------
    InputError
        The output exists, or a running background is asked for without raw frames.
    HardwareError
        The camera failed or the disk is full; what was acquired is kept.
    LocalizerError
        Localisation failed; what was acquired is kept.
    """
    if profile.localize.background_frames is not None and not keep_raw:
        raise InputError("localize.background_frames needs the raw frames: set `keep_raw`")
    own = workers is None
    pool = workers or live_pool(profile, card)
    try:
        # Compiled and warm before the first frame, and before an older run is cleared away.
        pool.start()
        with replaced_stream(Path(out), Kind.RUN, if_exists=if_exists, inputs=[card.path]) as place:
            run = LiveRun(
                source, card, place, profile, frames, keep_raw, provenance or {}, Told(progress, on_status),
                stop or threading.Event(), pool,
            )  # fmt: skip
            return run.go()
    finally:
        if own:
            pool.close()
        else:
            pool.drop()
