"""How far a run came: frames that are localised, and frames that were taken, also of one that was cut off."""

from __future__ import annotations

from pathlib import Path

from easyzloc_mm.io.reading import DAMAGED_STORE, reading
from easyzloc_mm.io.runs.frames import StoredFrames, holds_frames
from easyzloc_mm.io.runs.localizations import GROUP, read_metadata
from easyzloc_mm.io.zarr.chunks import read_node


def committed_frames(run: Path) -> int:
    """Return how many frames are localised whose rows are all committed, also while the run is being written.

    Raises
    ------
    InputError
        There is no table, or it is damaged.
    """
    node = run / GROUP
    with reading(node, "a Zarr store", cure=DAMAGED_STORE):
        return int(read_node(node)["attributes"]["frames_committed"])


def frames_taken(run: Path) -> int:
    """Return how many frames the camera is known to have taken for a run.

    Raises
    ------
    InputError
        The run cannot be read.
    """
    stored = StoredFrames(run).shape[0] if holds_frames(run) else 0
    return max(read_metadata(run).frames, committed_frames(run), stored)
