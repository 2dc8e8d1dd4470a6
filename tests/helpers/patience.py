"""Waiting for conditions: how long that takes is the machine's affair, and no test's."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 400.0
"""After that something hangs: ten times what the slowest step needs on two cores that others use too."""


def wait_until(condition: Callable[[], object], what: str, *, pause_s: float = 0.02) -> None:
    """Return as soon as `condition` holds; fail with `what` if it never does."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not after {PATIENCE_S:.0f} s"
        time.sleep(pause_s)
