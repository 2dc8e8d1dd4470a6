"""What a field has already: frames of a run that was cut off are localised and kept, attempts are put beside."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from easyzloc_mm.acquire.scans.ledger import FieldStatus, Ledger
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.runs.frames import commit_killed_frames, holds_frames
from easyzloc_mm.io.runs.localizations import holds_localizations, read_metadata
from easyzloc_mm.io.runs.reach import frames_taken
from easyzloc_mm.io.runs.status import RunStatus, read_status
from easyzloc_mm.io.verify.runs import verify_run
from easyzloc_mm.io.writing.output import free_name
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.typing import Progress

if TYPE_CHECKING:
    from easyzloc_mm.localization.workers.protocol import WorkerPool

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class KeptParts:
    """What earlier calls and attempts took of a field.

    Attributes
    ----------
    names : tuple of str
        Stores beside the field's run that are parts of it.
    frames, frames_lost, localizations : int
        Of all of them.
    light_ms : float
        Time for which the field was lit by all that lies in the folder of it, also by what is no part: attempts that
        a rule rejected, runs that were taken anew.
    """

    names: tuple[str, ...] = ()
    frames: int = 0
    frames_lost: int = 0
    localizations: int = 0
    light_ms: float = 0.0

    def uses_up(self, budget_ms: float | None) -> bool:
        """Return whether nothing of a light budget is left."""
        return budget_ms is not None and self.light_ms >= budget_ms

    def rest_of(self, profile: Profile, frames: int) -> Profile:
        """Return the field's profile with what is left of its frames and its light; it is bleached only once."""
        imaging: dict[str, object] = {"frames": frames}
        budget_ms = profile.imaging.light_budget_ms
        if budget_ms is not None:
            imaging["light_budget_ms"] = budget_ms - self.light_ms
        if self.light_ms >= (profile.imaging.bleach_ms or 0.0):
            imaging["bleach_ms"] = None
        return profile.model_copy(update={"imaging": profile.imaging.model_copy(update=imaging)})


def kept_parts(
    run: Path, ledger: Ledger, name: str, card: ModelCard, workers: WorkerPool, progress: Progress
) -> KeptParts:
    """Localise what a run that was cut off had stored, put it beside, and sum up all parts of the field.

    The scan's own workers localise it, unless they have come to do so otherwise than when the run was begun. A run
    without frames, or one that is damaged, is put beside as ``NAME.partial-K.zarr`` and counts for nothing but its
    light.
    """
    state = ledger.state(name)
    parts = state.parts
    if run.exists():
        if _localise_rest(run, card, workers, progress):
            part = free_name(run, "part")
            # Written down first: a part that is listed and not there yet is the run itself.
            parts = (*parts, part.name)
            ledger.note(name, state.status, run, parts=parts, rejected=state.rejected, retries=state.retries)
            run.rename(part)
        else:
            run.rename(free_name(run, "partial"))
    kept = KeptParts(light_ms=sum(_light_ms(store) for store in sorted(run.parent.glob(f"{run.stem}.*-*.zarr"))))
    for part_name in dict.fromkeys(parts):
        if (run.parent / part_name).is_dir():
            kept = _with(kept, run.parent / part_name)
    return kept


def reject(run: Path, ledger: Ledger, name: str, kept: KeptParts) -> None:
    """Put an attempt beside that broke a rule, so that the field can be taken again."""
    state = ledger.state(name)
    aside = free_name(run, "rejected")
    # Written down first, as parts are: `finish_rejection` does the rest where the program is killed here.
    ledger.note(
        name,
        FieldStatus.RUNNING,
        run,
        rejected=(*state.rejected, *kept.names, aside.name),
        retries=state.retries + 1,
    )
    run.rename(aside)


def finish_rejection(run: Path, ledger: Ledger, name: str) -> None:
    """Put the attempt beside whose rejection was written down and not done."""
    rejected = ledger.state(name).rejected
    if rejected and run.exists() and not (run.parent / rejected[-1]).exists():
        run.rename(run.parent / rejected[-1])


def _localise_rest(run: Path, card: ModelCard, workers: WorkerPool, progress: Progress) -> bool:
    """Localise the frames of a run that are not yet; return whether it has any."""
    from easyzloc_mm.localization.offline.movie import localize_movie

    if not (holds_frames(run) and holds_localizations(run)):
        return False
    try:
        metadata = read_metadata(run)
        frames = commit_killed_frames(run)
        if frames == 0 or metadata.camera_response is None:
            return False
        logger.info("%s was cut off: its %d frames are localised", run.name, frames)
        localize_movie(
            run, card, run,
            response=metadata.camera_response, running=workers, if_exists="resume", progress=progress,
        )  # fmt: skip
    except InputError as error:
        logger.warning("%s cannot be continued, and is put beside: %s", run.name, error)
        return False
    return True


def _with(kept: KeptParts, part: Path) -> KeptParts:
    metadata = read_metadata(part)
    return replace(
        kept,
        names=(*kept.names, part.name),
        frames=kept.frames + (metadata.frames or metadata.frames_stored),
        frames_lost=kept.frames_lost + metadata.frames_lost,
        localizations=kept.localizations + verify_run(part, quick=True).counts.get("rows", 0),
    )


def _light_ms(store: Path) -> float:
    """Time for which a run lit the sample; by its frames, and all of its bleaching, where it did not write it down."""
    try:
        metadata = read_metadata(store)
        taken = frames_taken(store)
    except InputError as error:
        logger.warning("how long %s lit the sample is not known, and not counted: %s", store.name, error)
        return 0.0
    if metadata.light_ms is not None:
        return metadata.light_ms
    imaging = (metadata.profile or {}).get("imaging") or {}
    exposure_ms, bleach_ms = (float(imaging.get(key) or 0.0) for key in ("exposure_ms", "bleach_ms"))
    status = read_status(store) or RunStatus()
    if status.frames_per_s > 0:  # cameras are slower than their exposure
        exposure_ms = max(exposure_ms, 1000 / status.frames_per_s)
    return max(bleach_ms + exposure_ms * taken, status.light_ms or 0.0)
