"""What a field that was cut off has already: its frames are localised, and kept as parts of it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from easyzloc_mm.acquire.scans.ledger import Ledger
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.runs.frames import commit_killed_frames, holds_frames
from easyzloc_mm.io.runs.localizations import holds_localizations, read_metadata
from easyzloc_mm.io.verify.runs import verify_run
from easyzloc_mm.io.writing.output import free_name
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.typing import Progress

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class KeptParts:
    """What earlier calls took of a field.

    Attributes
    ----------
    names : tuple of str
        Stores beside the field's run.
    frames, frames_lost, localizations : int
        Of all of them.
    light_ms : float
        Time for which they lit the sample; by their frames, where they did not come to write it down.
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
        """Return the field's profile with what is left of its frames and of its light."""
        imaging: dict[str, object] = {"frames": frames}
        budget_ms = profile.imaging.light_budget_ms
        if budget_ms is not None:
            imaging["light_budget_ms"] = budget_ms - self.light_ms
        return profile.model_copy(update={"imaging": profile.imaging.model_copy(update=imaging)})


def kept_parts(run: Path, ledger: Ledger, name: str, card: ModelCard, progress: Progress) -> KeptParts:
    """Localise what a run that was cut off had stored, put it beside, and sum up all parts of the field.

    A run without frames, or one that is damaged, is put beside as ``NAME.partial-K.zarr`` and counts for nothing.
    """
    parts = ledger.parts(name)
    if run.exists():
        if _localise_rest(run, card, progress):
            part = free_name(run, "part")
            # Written down first: a part that is listed and not there yet is the run itself.
            parts = (*parts, part.name)
            ledger.note(name, ledger.status(name), run, parts=parts)
            run.rename(part)
        else:
            run.rename(free_name(run, "partial"))
    kept = KeptParts()
    for part_name in dict.fromkeys(parts):
        if (run.parent / part_name).is_dir():
            kept = _with(kept, run.parent / part_name)
    return kept


def _localise_rest(run: Path, card: ModelCard, progress: Progress) -> bool:
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
        localize_movie(run, card, run, response=metadata.camera_response, if_exists="resume", progress=progress)
    except InputError as error:
        logger.warning("%s cannot be continued, and is put beside: %s", run.name, error)
        return False
    return True


def _with(kept: KeptParts, part: Path) -> KeptParts:
    metadata = read_metadata(part)
    frames = metadata.frames or metadata.frames_stored
    exposure_ms = ((metadata.profile or {}).get("imaging") or {}).get("exposure_ms", 0.0)
    lit_ms = metadata.light_ms if metadata.light_ms is not None else frames * float(exposure_ms)
    return replace(
        kept,
        names=(*kept.names, part.name),
        frames=kept.frames + frames,
        frames_lost=kept.frames_lost + metadata.frames_lost,
        localizations=kept.localizations + verify_run(part, quick=True).counts.get("rows", 0),
        light_ms=kept.light_ms + lit_ms,
    )
