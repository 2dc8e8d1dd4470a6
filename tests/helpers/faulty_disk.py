"""A disk on which the writes of stores fail, from some moment on or for a while."""

from __future__ import annotations

import itertools
import os
import threading
from typing import Any

import pytest

from tests.helpers.power_cut import hook

STEPS = ("write_draft", "_replace", "sync_file", "sync_folder")


class FaultyDisk:
    """Counts the steps of writing stores (`easyzloc_mm.io.writing.atomic`), and lets some of them fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._lock = threading.Lock()
        self.repair()
        for name in STEPS:
            self._watch(monkeypatch, name)

    def repair(self) -> None:
        """Count from 0 again, and let nothing fail."""
        self._count = itertools.count()
        self.steps = self.failed = 0
        self._first, self._last, self._number = 0, 0, 0

    def fail(self, first: int, number: int, *, times: int = 1 << 30) -> None:
        """Fail with error `number` from the step `first` on, `times` times."""
        self.repair()
        self._first, self._last, self._number = first, first + times, number

    def _watch(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        def step(*arguments: Any) -> Any:
            with self._lock:
                self.steps = next(self._count) + 1
                fails = self._first < self.steps <= self._last
                self.failed += fails
            if fails:
                raise OSError(self._number, os.strerror(self._number))
            return real(*arguments)

        real = hook(monkeypatch, name, step)
