"""Processes that localise blocks of frames.

Each worker is a process of its own: a crash of the network's or the fit's native code cannot take the camera with it,
and nothing in it holds up the thread that empties the camera's buffer. Workers keep no state between blocks, so one
that dies is replaced, and its block is given to another.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Self

from easyzloc_mm._log import send_records
from easyzloc_mm._processes import children_ignore_ctrl_c, give_way, one_thread_each
from easyzloc_mm.errors import LocalizerError
from easyzloc_mm.localization.config import LocalizerConfig
from easyzloc_mm.localization.workers.messages import (
    Block,
    BlockLocalizer,
    Failed,
    FromWorker,
    Logged,
    Outcome,
    Ready,
    WorkerError,
)

logger = logging.getLogger(__name__)

START_S = 600.0
"""Deadline of a worker's start: on a busy computer with a slow disk imports and the first compilation take minutes."""
STOP_S = 5.0
MOST_REPLACEMENTS = 3
ATTEMPTS = 2
"""A block that kills two workers would kill a third."""


@dataclass
class _Worker:
    process: Any
    connection: Connection
    ready: bool = False
    block: Block | None = None
    started_s: float = field(default_factory=time.monotonic)


class Workers:
    """A fixed number of localising processes, started when first needed.

    Parameters
    ----------
    settings : LocalizerConfig
        Model bundle, camera response, detection settings.
    count : int
        Processes.
    """

    def __init__(self, settings: LocalizerConfig, count: int) -> None:
        self.settings, self.count = settings, count
        self._workers: list[_Worker] = []
        self._waiting: deque[Block] = deque()
        self._attempts: dict[int, int] = {}
        self._deaths = 0
        self.replaced: list[str] = []
        """How each worker died that had to be replaced."""

    def start(self) -> None:
        """Start the processes and wait until every one is warm.

        Raises
        ------
        LocalizerError
            One does not start.
        """
        self._deaths = 0
        while len(self._workers) < self.count:
            self._workers.append(self._launch())
        while not all(worker.ready for worker in self._workers):
            for _ in self.outcomes(0.2):
                pass

    @property
    def free(self) -> int:
        """Workers that have nothing to do and no block waiting for them."""
        return sum(worker.ready and worker.block is None for worker in self._workers) - len(self._waiting)

    @property
    def busy(self) -> int:
        """Blocks that were submitted and are not done."""
        return len(self._waiting) + sum(worker.block is not None for worker in self._workers)

    def submit(self, block: Block) -> None:
        """Submit a block; its outcome comes from `outcomes`."""
        self._waiting.append(block)
        self._distribute()

    def outcomes(self, patience_s: float) -> Iterator[Outcome]:
        """Yield blocks that are done, waiting at most `patience_s` for the first.

        Raises
        ------
        LocalizerError
            A block cannot be localised: its worker failed, or died, and so did the next one.
        """
        known: dict[Any, _Worker] = {}
        for worker in self._workers:
            known[worker.connection] = known[worker.process.sentinel] = worker
        seen: set[int] = set()
        for item in wait(list(known), patience_s):
            worker = known[item]
            if id(worker) in seen or all(worker is not known for known in self._workers):  # replaced a moment ago
                continue
            seen.add(id(worker))
            try:
                message: FromWorker | None = worker.connection.recv() if worker.connection.poll() else None
            except (EOFError, OSError):
                message = None
            if message is None:
                if not worker.process.is_alive() or item is worker.connection:
                    self._replace(worker)
                continue
            yield from self._take(worker, message)
        for worker in self._workers:
            if not worker.ready and time.monotonic() - worker.started_s > START_S:
                raise LocalizerError(f"a localiser did not start within {START_S:.0f} s")
        self._distribute()

    def _take(self, worker: _Worker, message: FromWorker) -> Iterator[Outcome]:
        match message:
            case Ready():
                worker.ready = True
            case Logged(record):
                logging.getLogger(record.name).handle(record)
            case Failed(summary, traceback, advice):
                where = f"at frame {worker.block.frames[0]}" if worker.block is not None else "while it started"
                logger.error("a localising process failed %s\n%s", where, traceback)
                raise LocalizerError(f"the localiser failed {where}: {summary}") from WorkerError(traceback, advice)
            case answer:
                block, worker.block = worker.block, None
                if block is None:
                    raise LocalizerError(f"a localising process sent {type(answer).__name__} for no block")
                self._attempts.pop(block.number, None)
                yield Outcome(block, answer)

    def _distribute(self) -> None:
        for worker in list(self._workers):
            if not (worker.ready and worker.block is None and self._waiting):
                continue
            if not worker.process.is_alive():  # it died idle: no block was at fault
                self._replace(worker)
                continue
            block = self._waiting.popleft()
            try:
                worker.connection.send(block)
            except OSError:
                self._waiting.appendleft(block)
                self._replace(worker)
            else:
                worker.block = block

    def _replace(self, worker: _Worker) -> None:
        worker.process.join(STOP_S)
        code = worker.process.exitcode
        death = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        worker.connection.close()
        self._workers.remove(worker)
        if not worker.ready:
            raise LocalizerError(f"a localiser died while it started ({death})")
        logger.warning("a localising process died (%s) and is replaced", death)
        self.replaced.append(death)
        self._deaths += 1
        if worker.block is not None:
            number = worker.block.number
            self._attempts[number] = self._attempts.get(number, 0) + 1
            if self._attempts[number] >= ATTEMPTS or self._deaths > MOST_REPLACEMENTS:
                raise LocalizerError(f"the localiser died again and again at frame {worker.block.frames[0]} ({death})")
            self._waiting.appendleft(worker.block)
        self._workers.append(self._launch())

    def _launch(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        parent_end, worker_end = context.Pipe()
        process = context.Process(target=_serve, args=(worker_end, self.settings), name="localiser", daemon=True)
        with children_ignore_ctrl_c(), one_thread_each():
            process.start()
        worker_end.close()
        return _Worker(process, parent_end)

    def close(self) -> None:
        """End the processes; blocks that are not done are dropped."""
        for worker in self._workers:
            worker.connection.close()
        for worker in self._workers:
            worker.process.join(STOP_S if worker.block is None and worker.ready else 0.1)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join(STOP_S)
        self._workers, self._waiting = [], deque()
        self._attempts.clear()

    def drop(self) -> None:
        """Forget blocks that are not done, so that the workers can serve another run."""
        if self.busy:
            self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _serve(connection: Connection, settings: LocalizerConfig) -> None:
    """Body of a worker process; it ends when the other end of the pipe is closed, however that came about."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    send_records(lambda record: connection.send(Logged(record)))
    try:
        start = time.monotonic()
        localizer = BlockLocalizer(settings)
        give_way()
        logger.info("localising process %d is warm after %.1f s", os.getpid(), time.monotonic() - start)
        connection.send(Ready())
        while True:
            connection.send(localizer.answer(connection.recv()))
    except (EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        return
    except Exception as error:  # of any kind: the parent logs and raises it
        with contextlib.suppress(OSError):
            connection.send(Failed.of(error))
