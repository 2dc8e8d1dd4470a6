"""What calls for attention while a command works, carried in front of a progress message so that it is never cut."""

from __future__ import annotations

import re
from collections.abc import Sequence

_MARKED = re.compile(r"(?P<before>.*?)! (?P<alarms>.+) ! (?P<rest>.*)", re.DOTALL)


def with_alarms(message: str, alarms: Sequence[str]) -> str:
    """Return a progress message with the alarms, in capitals, in front: ``! TOO DIM ! 120 frames``."""
    # No square brackets: a display may take them for its own markup.
    return "".join(f"! {alarm.upper()} " for alarm in alarms) + (f"! {message}" if alarms else message)


def split_alarms(message: str) -> tuple[str, tuple[str, ...]]:
    """Return a progress message without its alarms, and the alarms as they stand in it."""
    found = _MARKED.fullmatch(message)
    if found is None:
        return message, ()
    return found["before"] + found["rest"], tuple(found["alarms"].split(" ! "))
