"""Budget of a training: wall clock, or a number of steps."""

from __future__ import annotations

import time

from easyzloc_mm.errors import InputError


class Budget:
    """What a training may spend, and what it has spent.

    Parameters
    ----------
    minutes : float
        Wall clock, counted from `start`.
    limit : int, optional
        Steps of the optimiser in place of `minutes`: as many on a slow machine as on a fast one.

    Raises
    ------
    InputError
        The budget is not above 0.
    """

    def __init__(self, minutes: float, limit: int | None = None) -> None:
        if minutes <= 0 or (limit is not None and limit < 1):
            raise InputError("a training needs more than 0 `minutes`, or at least 1 of `steps`")
        self._seconds, self._limit = 60 * minutes, limit
        self.start()

    def start(self, spent: float = 0.0) -> None:
        """Start to count, with the share `spent` used before."""
        self.steps, self._before = 0, spent
        self._begin = time.monotonic()

    def step(self) -> None:
        """Count a step."""
        self.steps += 1

    @property
    def spent(self) -> float:
        """Share of the budget that is spent, 1 or more at the end."""
        if self._limit is not None:
            return self._before + self.steps / self._limit
        return self._before + (time.monotonic() - self._begin) / self._seconds
