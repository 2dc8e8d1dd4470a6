"""A live run's molecules held against the beads' PSF while it goes on, by a process that gives way to every other.

The first few thousand molecules are judged once, so that the rate of false alarms is that of the test. Where the sample
differs, the process may go on to make a model for it, which the run then changes over to.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import multiprocessing
import signal
import threading
import time
import warnings
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pandas as pd

from easyzloc_mm._log import send_records
from easyzloc_mm._processes import children_ignore_ctrl_c, give_way, one_thread_each
from easyzloc_mm.errors import EasyZlocError, EasyZlocWarning, InputError
from easyzloc_mm.io.runs.localizations import holds_localizations, read_localizations, read_metadata, update_run
from easyzloc_mm.io.runs.metadata import Refreshment
from easyzloc_mm.io.sample_aberrations import SampleAberrations, Widening
from easyzloc_mm.io.writing.kinds import Kind
from easyzloc_mm.io.writing.output import check_output
from easyzloc_mm.localization.live.run import Successor
from easyzloc_mm.localization.live.stream import live_pool
from easyzloc_mm.localization.sample.check import aberrations_of, drawn_aberrations_of, said_of
from easyzloc_mm.localization.sample.twice import MOLECULES, Outputs
from easyzloc_mm.localization.sample.widening import widen, widening_of
from easyzloc_mm.localization.workers.local import Workers
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.typing import IfExists

logger = logging.getLogger(__name__)

FIRST = 2000
"""Molecules without a flag after which a run is judged; where too few are by themselves, after twice as many again."""
TRIES = 4
JUDGED = 1500
"""Of those, the brightest that are by themselves."""
END_S = 30.0
"""Longest time that a run waits at its end for a verdict that is under way."""
LOOK_AGAIN_S = 2.0
STOP_S = 5.0


@dataclass(frozen=True)
class Task:
    """What the process has to do.

    Attributes
    ----------
    run : Path
        ``RUN.zarr``, that is being written, with its frames.
    model : Path
        Of the beads.
    profile : Profile
    refresh_after : int, optional
        Make a model for the sample of the molecules of a run that has so many without a flag.
    minutes : float
        Of its training.
    """

    run: Path
    model: Path
    profile: Profile
    refresh_after: int | None = None
    minutes: float = 1.0


@dataclass(frozen=True)
class Verdict:
    """What the molecules say of the beads' PSF, and what uncertainties lack where that is not theirs."""

    sample: SampleAberrations
    added: Widening | None


@dataclass(frozen=True)
class Unclear:
    """Why the molecules cannot tell yet."""

    reason: str


@dataclass(frozen=True)
class Refreshed:
    """There is a model for the sample."""

    model: Path


class SampleWatch:
    """Watches one live run; use it from the thread that writes the run's table.

    Parameters
    ----------
    task : Task, optional
        None for a run that is not watched.
    pool : Workers, optional
        Like the one that localises the run, where it may change over to a model of the sample.
    """

    def __init__(self, task: Task | None, pool: Workers | None = None) -> None:
        self._task, self._pool = task, pool
        self._seen, self._next_at, self._tries = 0, FIRST, 0
        self._process: Any = None
        self._connection: Connection | None = None
        self._mended: Path | None = None
        self._warming: threading.Thread | None = None
        self._warm: Workers | None = None
        self.verdict: Verdict | None = None

    def see(self, rows: pd.DataFrame) -> None:
        """Count molecules, and begin to judge when they are enough."""
        self._seen += int((rows["z_flag"] == 0).sum())
        if self._task is not None and self._process is None and self._tries < TRIES and self._seen >= self._next_at:
            self._tries, self._next_at = self._tries + 1, 2 * self._seen
            self._launch()

    def alarms(self) -> tuple[str, ...]:
        """Return what calls for attention."""
        self._take(0.0)
        if self.verdict is None or not self.verdict.sample.differs or self._warm is not None:
            return ()
        return (self.verdict.sample.as_alarm(),)

    def successor(self) -> Successor | None:
        """Return workers with the model of the sample, once they are warm; they are closed by `close`."""
        self._take(0.0)
        if self._mended is None or self._pool is None or self._task is None:
            return None
        if self._warming is None:
            settings = dataclasses.replace(self._pool.settings, model=self._mended)
            workers = Workers(settings, self._pool.count)
            self._warming = threading.Thread(target=self._warm_up, args=(workers,), name="sample's model", daemon=True)
            self._warming.start()
        if self._warm is None:
            return None
        beads, sample = ModelCard.load(self._task.model), ModelCard.load(self._mended)
        change = Refreshment(beads=beads.reference, sample=sample.reference, run=self._task.run.name)
        return Successor(self._warm, change)

    def _warm_up(self, workers: Workers) -> None:
        try:
            workers.start()
        except (EasyZlocError, OSError) as error:  # the run goes on with the model that it has
            logger.warning("the sample's model cannot be used: %s", error)
            workers.close()
            return
        self._warm = workers

    def finish(self) -> Verdict | None:
        """Return the verdict at the end of a run, waiting for one that is under way."""
        deadline = time.monotonic() + END_S
        while self.verdict is None and self._process is not None and time.monotonic() < deadline:
            self._take(0.5)
        if self.verdict is None and self._process is not None:
            logger.warning("the molecules were not held against the beads' PSF: the run ended before that was done")
        return self.verdict

    def close(self) -> None:
        """End the process, and the workers that the run changed over to."""
        self._end()
        if self._warming is not None:
            self._warming.join()
        if self._warm is not None:
            self._warm.close()

    def _launch(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, end = context.Pipe()
        self._process = context.Process(target=judge, args=(end, self._task), name="sample", daemon=True)
        with children_ignore_ctrl_c(), one_thread_each():
            self._process.start()
        end.close()

    def _take(self, patience_s: float) -> None:
        """Take what the process sends."""
        while self._connection is not None and self._connection.poll(patience_s):
            patience_s = 0.0
            try:
                message = self._connection.recv()
            except (EOFError, OSError):
                self._end()
                return
            match message:
                case logging.LogRecord():
                    logging.getLogger(message.name).handle(message)
                case Verdict():
                    self.verdict = message
                    self._tries = TRIES
                    logger.info("%s", message.sample.in_words())
                case Refreshed(model):
                    self._mended = model
                case Unclear(reason):
                    logger.info("the molecules cannot be held against the beads' PSF yet: %s", reason)

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            self._process.join(0.1)
            if self._process.is_alive():
                self._process.terminate()  # which lets it remove what it has begun to write
                self._process.join(STOP_S)
            if self._process.is_alive():
                self._process.kill()
                self._process.join(STOP_S)
            self._process = None


def watch_of(
    out: Path,
    card: ModelCard,
    profile: Profile,
    *,
    keep_raw: bool,
    refresh_after: int | None,
    if_exists: IfExists,
) -> SampleWatch:
    """Return the watch of a live run; without raw frames, or the PSF of beads, it sees nothing.

    Raises
    ------
    InputError
        `refresh_after` is asked for in such a run, or the model would replace something.
    """
    can = keep_raw and card.has_psf and not (card.refreshed is not None and card.refreshed.differs)
    if refresh_after is None:
        return SampleWatch(Task(out, card.path, profile) if can else None)
    if not can:
        raise InputError(
            "`refresh_after` needs raw frames and a model with its beads' PSF: set `keep_raw`, and give the model that "
            "beads made"
        )
    check_output(Outputs.beside(out).model, Kind.MODEL, if_exists=if_exists, inputs=[card.path])
    return SampleWatch(Task(out, card.path, profile, refresh_after), live_pool(profile, card))


def end_watch(sample: SampleWatch, out: Path, *, wait: bool) -> None:
    """Keep the verdict with a run whose table is closed, and take what uncertainties lack into it; warn of both."""
    verdict = sample.finish() if wait else sample.verdict
    sample.close()
    if verdict is None or not holds_localizations(out):
        return
    try:
        update_run(out, sample_aberrations=verdict.sample)
        if verdict.sample.differs:
            changed = read_metadata(out).refreshed
            if verdict.added is not None:
                widen(out, verdict.added, before_frame=None if changed is None else changed.from_frame)
            warnings.warn(said_of(out, verdict.sample, verdict.added, changed), EasyZlocWarning, stacklevel=3)
    except OSError as error:  # a full disk must not hide what ended the run
        warnings.warn(f"what the molecules say could not be kept with {out}: {error}", EasyZlocWarning, stacklevel=3)


def judge(connection: Connection, task: Task) -> None:
    """Body of the process: judge, and if that is wanted, make a model of the sample."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    give_way(to_all=True)
    send_records(connection.send)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError), connection:
        try:
            card = ModelCard.load(task.model)
            sample = _verdict(task, card, connection)
            if sample.differs and task.refresh_after is not None:
                _refresh(task, card, task.refresh_after, connection)
        except InputError as error:
            connection.send(Unclear(str(error)))
        except Exception:  # of any kind: the run goes on without
            logger.exception("the molecules could not be held against the beads' PSF")


def _leave(_signal: int, _frame: object) -> None:
    raise SystemExit


def _verdict(task: Task, card: ModelCard, connection: Connection) -> SampleAberrations:
    """Judge the run as far as it is, draw its molecules beside the beads' PSF, and tell."""
    sample, psf = drawn_aberrations_of(task.run, card, movie=None, profile=task.profile, molecules=JUDGED)
    connection.send(Verdict(sample, widening_of(task.run, card, psf.crop) if sample.differs else None))
    return sample


def _refresh(task: Task, card: ModelCard, after: int, connection: Connection) -> None:
    """Wait until the run has so many molecules, make a model of them, and tell."""
    from easyzloc_mm.training.refresh import write_refreshed

    while int((read_localizations(task.run, columns=["z_flag"])[0]["z_flag"] == 0).sum()) < after:
        if connection.poll(LOOK_AGAIN_S):  # nothing is ever sent: the run is over
            return
    sample, psf = aberrations_of(task.run, card, movie=None, profile=task.profile, molecules=MOLECULES)
    model = Outputs.beside(task.run).model
    write_refreshed(card, psf, sample, model, minutes=task.minutes, if_exists="overwrite")
    connection.send(Refreshed(model))
