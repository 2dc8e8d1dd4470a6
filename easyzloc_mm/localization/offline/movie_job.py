"""One movie on its way into one table: block by block through the workers."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from easyzloc_mm.camera.blank import nothing_shown
from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.images.movies import Movie, open_movie
from easyzloc_mm.io.runs.localizations import LocalizationWriter
from easyzloc_mm.localization.config import given_threshold, threshold_name
from easyzloc_mm.localization.detection.threshold import FRAMES
from easyzloc_mm.localization.noise import NoiseMeter, noise_figures
from easyzloc_mm.localization.run_report import RunReport
from easyzloc_mm.localization.table_sink import TableSink
from easyzloc_mm.localization.workers.messages import FindThreshold, LocalizeBlock, Localized, ThresholdFound
from easyzloc_mm.localization.workers.protocol import WorkerPool
from easyzloc_mm.typing import I64, Progress

BLOCK_FRAMES = 16
PATIENCE_S = 0.2
MORE_FRAMES = 10 * FRAMES
"""Looked at for their noise where fewer show too few molecules."""
LOOK_AGAIN_S = 0.5
"""Interval at which a movie that is being written is opened again."""


class MovieJob:
    """One movie on its way into one table.

    Parameters
    ----------
    path : Path
    movie : Movie
        Opened.
    table : LocalizationWriter
        New, or with the rows of the movie's first frames; `go` closes it.
    pool : WorkerPool
        Started.
    follow_s : float, optional
        The movie is still being written: wait for more until it has not grown for so long.
    progress : callable, optional
    """

    def __init__(
        self,
        path: Path,
        movie: Movie,
        table: LocalizationWriter,
        pool: WorkerPool,
        follow_s: float | None,
        progress: Progress | None,
    ) -> None:
        self._path, self._movie, self._table, self._pool = path, movie, table, pool
        self._follow_s, self._progress = follow_s, progress
        self._sink = TableSink(table)
        self._begin_frame = table.frames_committed
        self._rejected_before = table.metadata.fits_rejected if self._begin_frame else 0
        self._blank_before = self._count_blank_before()
        self._blank_noted = 0
        self._replaced_before = len(pool.replaced)
        self.noise = table.metadata.noise

    def _count_blank_before(self) -> int:
        """Return how many of the frames that an earlier call localised were not there."""
        if not self._begin_frame:
            return 0
        metadata = self._table.metadata
        noted = metadata.frames_lost - (self._movie.lost_after if metadata.complete else 0)
        return max(noted, sum(number < self._begin_frame for number in self._movie.missing))

    @property
    def _blank(self) -> int:
        return self._blank_before + self._sink.blank

    def warn(self) -> None:
        """Say what the movie lacks, once it is known."""
        if self._follow_s is not None:
            self._movie.warn()
        black = self._blank - len(self._movie.missing)
        if black > 0:
            warnings.warn(
                f"{black} of {self._movie.shape[0]} frames of {self._path} are black or damaged: they count as lost",
                EasyZlocWarning,
                stacklevel=3,
            )

    def go(self) -> RunReport:
        """Localise what is not in the table yet.

        Raises
        ------
        InputError
            The movie shows nothing.
        LocalizerError
            Localisation failed; what was localised is kept.
        """
        begin = time.monotonic()
        if self._follow_s is None:
            self._movie.warn()
        try:
            threshold = self._look()
            self._table.update(**{self._threshold_name: threshold}, noise=self.noise)
            noise_ratio = 1.0 if self.noise is None else self.noise.applied
            for number, frames in enumerate(self._blocks()):
                while self._pool.free <= 0:
                    self._collect()
                there = self._movie.shape[0]
                self._pool.submit(LocalizeBlock(number, frames, self._path, there, threshold, noise_ratio))
            while self._pool.busy:
                self._collect()
            self._note(complete=True)
        except BaseException:  # whatever ended it, the store records how far it came
            self._note(complete=False)
            raise
        finally:
            self._table.close()
        return RunReport(
            out=self._table.path,
            frames=self._movie.shape[0],
            frames_lost=self._blank + self._movie.lost_after,
            frames_per_s=self._sink.frames / max(time.monotonic() - begin, 1e-9),
            localizations=self._table.rows,
            fits_rejected=self._rejected_before + self._sink.rejected,
            p95_latency_s=0.0,
            most_waiting=0,
            catch_up_s=0.0,
            workers_replaced=len(self._pool.replaced) - self._replaced_before,
        ).model_copy(update={self._threshold_name: threshold, **noise_figures(self.noise)})

    @property
    def _threshold_name(self) -> str:
        return threshold_name(self._pool.settings.localize)

    def _look(self) -> float:
        """Look at frames spread over the whole movie, whose beginning is often brighter: the noise, and the threshold.

        What was set, or found before, stays.
        """
        known = given_threshold(self._pool.settings.localize) or getattr(self._table.metadata, self._threshold_name)
        if known is not None and self._begin_frame:
            return float(known)
        there = np.setdiff1d(np.arange(self._movie.shape[0]), list(self._movie.missing))
        meter = NoiseMeter()
        for frames in (FRAMES, MORE_FRAMES):
            chosen = there[np.unique(np.linspace(0, len(there) - 1, frames).astype(np.int64))]
            found = self._first_look(chosen)
            if known is None and found.blank == len(chosen):
                raise nothing_shown(self._path, len(chosen))
            known = found.threshold if known is None else known
            meter.see(found.noise)
            self.noise = meter.check
            if self.noise is not None or not meter.molecules or len(there) <= frames:
                break
        return float(known)

    def _first_look(self, chosen: I64) -> ThresholdFound:
        self._pool.submit(FindThreshold(0, chosen, self._path, self._movie.shape[0], noise=True))
        while True:
            for outcome in self._pool.outcomes(PATIENCE_S):
                if isinstance(outcome.answer, ThresholdFound):
                    return outcome.answer

    def _collect(self) -> None:
        for outcome in self._pool.outcomes(PATIENCE_S):
            if isinstance(outcome.answer, Localized):
                self._sink.take(outcome.block, outcome.answer)
            if self._progress:
                done = self._begin_frame + self._sink.frames
                self._progress(f"{done} frames, {self._sink.rows} localisations", done / self._movie.shape[0])
        self._sink.flush_if_due()
        if self._sink.blank_committed > self._blank_noted:
            self._blank_noted = self._sink.blank_committed
            self._table.update(frames_lost=self._blank_before + self._blank_noted)

    def _blocks(self) -> Iterator[I64]:
        """Frame numbers, block by block; of a movie that is being written, as they come."""
        position = self._begin_frame
        grown_s = time.monotonic()
        while True:
            there = self._movie.shape[0]
            settled = self._follow_s is None or time.monotonic() - grown_s > self._follow_s
            # The newest frame of a movie that is being written may be there in part only.
            usable = there if settled else there - 1
            # Short blocks only at the end: a running background needs its first window whole.
            while position < usable and (settled or usable - position >= self._least(position)):
                block = np.arange(position, min(position + BLOCK_FRAMES, usable))
                position += len(block)
                yield block
            if settled:
                return
            self._collect()
            time.sleep(LOOK_AGAIN_S)
            with suppress(InputError):
                self._movie = open_movie(self._path, partial=True, quiet=True)
            if self._movie.shape[0] > there:
                grown_s = time.monotonic()

    def _least(self, position: int) -> int:
        return max(1, (self._pool.settings.localize.background_frames or 0) - position)

    def _note(self, *, complete: bool) -> None:
        self._table.update(
            complete=complete,
            frames=self._movie.shape[0],
            frames_localized=self._begin_frame + self._sink.frames,
            frames_lost=self._blank + (self._movie.lost_after if complete else 0),
            fits_rejected=self._rejected_before + self._sink.rejected,
        )
