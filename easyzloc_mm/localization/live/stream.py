"""The live loop: frames are stored as they come and localised beside it, by other processes.

Four parties, none of which waits for the next: the camera's thread, the thread that stores (`intake`), the localising
processes (`workers`), and the caller's thread, which hands out blocks, writes the table and reports the status
(`run`). Stored frames are localised from disk, so raw data never waits for the network: localisation may lag, and
then catches up after the camera has stopped.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from easyzloc_mm._log import FILE as LOG
from easyzloc_mm._log import RunLog
from easyzloc_mm.errors import EasyZlocWarning, HardwareError, InputError
from easyzloc_mm.io.runs.frames import FrameWriter
from easyzloc_mm.io.runs.localizations import COLUMNS_2D, COLUMNS_Z, LocalizationWriter
from easyzloc_mm.io.writing.atomic import disk_fault
from easyzloc_mm.io.writing.kinds import Kind
from easyzloc_mm.io.writing.output import replaced_stream
from easyzloc_mm.localization.config import LocalizerConfig, live_workers, resolved
from easyzloc_mm.localization.live.intake import Intake
from easyzloc_mm.localization.live.run import LiveOptions, LiveRun
from easyzloc_mm.localization.pipeline import run_metadata
from easyzloc_mm.localization.run_report import RunReport
from easyzloc_mm.localization.workers.local import Workers
from easyzloc_mm.localization.workers.protocol import WorkerPool
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.typing import Frame


def live_pool(profile: Profile, card: ModelCard) -> Workers:
    """Localising processes for live runs with this profile and model; they start when first needed."""
    how = resolved(profile.localize, card, live=True)
    settings = LocalizerConfig(card.path, profile.camera.response, how, camera_map=profile.camera.map)
    return Workers(settings, live_workers())


def localize_stream(
    source: Iterator[Frame],
    card: ModelCard,
    out: Path,
    profile: Profile,
    options: LiveOptions,
    log: RunLog,
    provenance: Mapping[str, Any],
) -> RunReport:
    """Localise frames while they come, into ``RUN.zarr``.

    Whatever ends the run - the last frame, an error, Ctrl-C - what has come is stored and the store is closed.

    Parameters
    ----------
    source : iterator of Frame
        Frame numbers rise; a gap counts as lost frames. It is used in a thread of its own, and ends early when
        `options.stop` is set.
    card : ModelCard
    out : Path
        ``RUN.zarr``, written in place.
    profile : Profile
        Camera response, pixel size and `localize`.
    options : LiveOptions
    log : RunLog
        Of this run; written into the store from its first moment on.
    provenance : mapping
        More metadata of the run (`RunMetadata`).

    Raises
    ------
    InputError
        The output exists, or a running background is asked for without raw frames.
    HardwareError
        The camera failed or the disk is full; what was acquired is kept.
    LocalizerError
        Localisation failed; what was acquired is kept.
    """
    if profile.localize.background_frames is not None and not options.keep_raw:
        raise InputError("localize.background_frames needs the raw frames: set `keep_raw`")
    pool = options.workers or live_pool(profile, card)
    try:
        # Compiled and warm before the first frame, and before an older run is cleared away.
        pool.start()
        with replaced_stream(Path(out), Kind.RUN, if_exists=options.if_exists, inputs=[card.path]) as place:
            facts = {"profile": profile.model_dump(mode="json"), **provenance}
            try:
                run = _live_run(source, card, place, profile, options, pool, log, facts)
            except OSError as error:
                raise HardwareError(f"{disk_fault(error, place)} (nothing was acquired)") from error
            return run.run()
    finally:
        if options.workers is None:
            pool.close()
        else:
            pool.drop()


def _live_run(
    source: Iterator[Frame],
    card: ModelCard,
    out: Path,
    profile: Profile,
    options: LiveOptions,
    pool: WorkerPool,
    log: RunLog,
    facts: Mapping[str, Any],
) -> LiveRun:
    """Create the store, and what writes to it."""
    shape = (profile.camera.height_px, profile.camera.width_px)
    pixel_nm = profile.optics.pixel_size_nm
    if options.keep_raw:
        _warn_of_a_small_disk(out, 2 * options.frames * shape[0] * shape[1])
    sync = profile.localize.sync
    metadata = run_metadata(card, pool.settings, shape, pixel_nm, **facts)
    table = LocalizationWriter.create(out, metadata, columns=(*COLUMNS_2D, *COLUMNS_Z), sync=sync)
    log.write_to(out / LOG)
    raw = None
    if options.keep_raw:
        raw = FrameWriter(
            out,
            shape,
            pixel_size_nm=pixel_nm,
            interval_ms=profile.imaging.exposure_ms,
            expected=options.frames,
            sync=sync,
        )
    return LiveRun(Intake(source, raw, options.stop), table, raw, profile.localize, options, pool)


def _warn_of_a_small_disk(out: Path, needed: int) -> None:
    """Warn where the disk of `out` has less than `needed` bytes free."""
    free = shutil.disk_usage(out.absolute().parent).free
    if free < needed:
        warnings.warn(
            f"the disk of {out} has {free / 1e9:.1f} GB free, and the raw frames may take {needed / 1e9:.1f}: the run "
            "stops when it is full",
            EasyZlocWarning,
            stacklevel=2,
        )
