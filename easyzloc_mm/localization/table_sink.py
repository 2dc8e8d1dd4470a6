"""Localised blocks into the table, in order, with the counts and latencies of the run."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from easyzloc_mm.io.runs.localizations import COLUMNS_2D, COLUMNS_Z, LocalizationWriter
from easyzloc_mm.localization.noise import NoiseMeter
from easyzloc_mm.localization.workers.messages import Block, Localized

Observer = Callable[[pd.DataFrame, int, int], None]


class TableSink:
    """Writes blocks in the order of their numbers, however the workers finish them.

    Parameters
    ----------
    table : LocalizationWriter
    observer : callable, optional
        Given each block's rows, its last frame, and its number of frames.
    """

    def __init__(self, table: LocalizationWriter, observer: Observer | None = None) -> None:
        self._table, self._observer = table, observer
        self._early: dict[int, tuple[Block, Localized, list[float]]] = {}
        self._next = 0
        self._uncommitted: deque[tuple[int, list[float], int]] = deque()
        self.noise = NoiseMeter()
        self.rejected = 0
        self.frames = 0
        self.blank = self.blank_committed = 0
        self.latencies: list[float] = []

    @property
    def rows(self) -> int:
        """Localisations so far."""
        return self._table.rows

    def take(self, block: Block, localized: Localized, received_s: Mapping[int, float] | None = None) -> None:
        """Take a block's localisations, and write every block whose turn it is.

        Parameters
        ----------
        block : Block
        localized : Localized
        received_s : mapping of int to float, optional
            When its frames were received, by frame number: `time.monotonic`, seconds.
        """
        received = [] if received_s is None else [received_s[int(number)] for number in block.frames]
        self._early[block.number] = block, localized, received
        while self._next in self._early:
            block, localized, received = self._early.pop(self._next)
            self._next += 1
            frames = block.frames
            rows = localized.rows[[*COLUMNS_2D, *COLUMNS_Z]]
            done = int(frames[-1]) + 1
            self._uncommitted.append((done, received, localized.blank))
            self._table.append(rows, frames_done=done)
            self.noise.see(localized.noise)
            self.rejected += localized.rejected
            self.blank += localized.blank
            self.frames += len(frames)
            if self._observer:
                self._observer(rows, int(frames[-1]), len(frames))
            self._note_commit()

    def flush_if_due(self) -> None:
        """Commit what was taken, if the last commit was a while ago."""
        self._table.flush_if_due()
        self._note_commit()

    def flush(self) -> None:
        """Commit what was taken."""
        self._table.flush()
        self._note_commit()

    def _note_commit(self) -> None:
        now = time.monotonic()
        while self._uncommitted and self._uncommitted[0][0] <= self._table.frames_committed:
            _, received, blank = self._uncommitted.popleft()
            self.latencies += [now - received_s for received_s in received]
            self.blank_committed += blank

    def p95_latency_s(self) -> float:
        """Return the time from a frame's arrival to its rows being committed, 95th percentile, seconds."""
        return float(np.quantile(self.latencies, 0.95)) if self.latencies else 0.0
