"""Progress of work that has several parts."""

from __future__ import annotations

from easyzloc_mm.typing import Progress


def silent(_message: str, _fraction: float) -> None:
    """Progress for callers that asked for none."""


def part_of(progress: Progress, first: float, last: float) -> Progress:
    """Return the progress of a part of the work, which takes it from `first` to `last`."""
    return lambda message, fraction: progress(message, first + (last - first) * fraction)
