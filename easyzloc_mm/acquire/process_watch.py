"""What a run takes from the computer while it lasts: memory, threads, open files."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

FIELDS = ("time_s", "program_mb", "workers_mb", "threads", "files")


class ProcessWatch:
    """Samples this process and its children in a thread of its own, from ``with`` to its end.

    Parameters
    ----------
    interval_s : float
        Between samples.
    """

    def __init__(self, interval_s: float = 0.5) -> None:
        self._interval_s = interval_s
        self._rows: list[tuple[float, ...]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="process watch")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def samples(self) -> dict[str, NDArray[np.float64]]:
        """Return every sample: seconds, memory of this program and of its children (MB), threads, open files."""
        rows = np.array(self._rows, float).reshape(-1, len(FIELDS))
        return dict(zip(FIELDS, rows.T, strict=True))

    def _watch(self) -> None:
        import psutil

        this, begin = psutil.Process(), time.monotonic()
        while True:
            workers = 0
            for process in this.children(recursive=True):
                try:
                    workers += process.memory_info().rss
                except psutil.Error:  # it has just ended
                    continue
            files = this.num_fds() if hasattr(this, "num_fds") else this.num_handles()
            memory = this.memory_info().rss
            self._rows.append(
                (time.monotonic() - begin, memory / 2**20, workers / 2**20, threading.active_count(), files)
            )
            if self._stop.wait(self._interval_s):
                return
