"""Localising processes on other computers: a dask.distributed scheduler in place of `Workers`.

Every worker must see the movie, the model and the camera map under the same paths, and have the same versions installed
as this computer: then its rows are the same, bit for bit.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from easyzloc_mm._extras import need
from easyzloc_mm._version import installed
from easyzloc_mm.errors import InputError, LocalizerError
from easyzloc_mm.localization.config import LocalizerConfig
from easyzloc_mm.localization.pipeline import PACKAGES
from easyzloc_mm.localization.workers.messages import (
    Answer,
    Block,
    BlockLocalizer,
    Failed,
    Outcome,
    WorkerError,
    summarize_error,
)

logger = logging.getLogger(__name__)

CONNECT_S, LEEWAY_S = 10.0, 2.0
"""A scheduler answers in this time, and its client gives up a little later."""
START_S = 600.0
BLOCK_S = 600.0
"""Deadline of the next block: a worker that is lost is replaced by the scheduler long before."""
COUNT_S = 5.0
"""How often the scheduler is asked how many threads there are."""
AHEAD = 2
"""Blocks in hand per thread, so that none waits for its next one."""

_here = threading.local()


def _answer(settings: LocalizerConfig, block: Block) -> Answer:
    """Localise a block, in a thread of a worker; the localiser stays loaded for the next block."""
    if getattr(_here, "settings", None) != settings:
        _here.localizer, _here.settings = BlockLocalizer(settings), settings
    answer: Answer = _here.localizer.answer(block)
    return answer


class ClusterWorkers:
    """`WorkerPool` on the workers of a dask.distributed scheduler.

    Parameters
    ----------
    settings : LocalizerConfig
        Model bundle, camera response, detection settings.
    address : str
        Of the scheduler, such as ``tcp://host:8786``.
    """

    def __init__(self, settings: LocalizerConfig, address: str) -> None:
        self.settings, self._address = settings, address
        camera_map = settings.camera_map and settings.camera_map.absolute()
        self._sent = replace(settings, model=settings.model.absolute(), camera_map=camera_map)
        self._client: Any = None
        self._blocks: dict[Any, Block] = {}
        self._threads = 0
        self._counted_s = self._answered_s = 0.0
        self.replaced: tuple[str, ...] = ()
        """Always empty: the scheduler replaces workers by itself."""

    def start(self) -> None:
        """Connect, if that has not been done, and wait for a worker.

        Raises
        ------
        InputError
            Package ``distributed`` is not installed, or no scheduler is there, or its workers are of other versions.
        """
        if self._client is not None:
            return
        need("distributed", extra="cluster")
        from distributed import Client

        for chatty in ("distributed", "tornado", "asyncio"):  # errors are reported below, in one line
            logging.getLogger(chatty).setLevel(logging.CRITICAL)
        self._client = self._connected(Client)
        deadline = time.monotonic() + START_S
        if not self._count_threads():
            logger.info("scheduler %s has no worker yet: waiting for one, %.0f s at most", self._address, START_S)
        while not self._count_threads():
            if time.monotonic() > deadline:
                raise InputError(f"the scheduler {self._address} has no workers: start some with `dask worker`")
            time.sleep(0.2)
        self._check_versions()

    def _connected(self, client: Callable[..., Any]) -> Any:
        """Return a client of the scheduler; a port where something else listens may never let go of one that asks."""
        answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

        def connect() -> None:
            try:
                answers.put(client(self._address, timeout=CONNECT_S, set_as_default=False))
            except (OSError, ValueError, TypeError, RuntimeError) as error:
                answers.put(error)

        threading.Thread(target=connect, daemon=True, name="scheduler").start()
        try:
            answer = answers.get(timeout=CONNECT_S + LEEWAY_S)
        except queue.Empty:
            answer = TimeoutError("something listens there, but it is no scheduler")
        if isinstance(answer, Exception):
            raise InputError(
                f"no scheduler answers at {self._address} within {CONNECT_S:.0f} s ({summarize_error(answer)}): start "
                "one with `dask scheduler`, and give its address as `scheduler`"
            )
        return answer

    def _count_threads(self) -> int:
        self._counted_s = time.monotonic()
        self._threads = sum(self._client.nthreads().values())
        return self._threads

    def _check_versions(self) -> None:
        expected = installed(PACKAGES)
        try:
            by_worker = self._client.run(installed, PACKAGES)
        except Exception as error:  # whatever a worker without this package raises
            logger.exception("the workers of %s cannot run easyzloc_mm", self._address)
            raise InputError(
                f"the workers of {self._address} cannot run easyzloc_mm ({summarize_error(error)}): install it there"
            ) from None
        logger.info("%d worker(s) of %s: %s", len(by_worker), self._address, ", ".join(map(str, by_worker)))
        for worker, found in by_worker.items():
            other = [
                f"{name} {found[name]} instead of {expected[name]}"
                for name in PACKAGES
                if found[name] != expected[name]
            ]
            if other:
                raise InputError(f"worker {worker} has {', '.join(other)}: install the same versions everywhere")

    @property
    def free(self) -> int:
        """Blocks that may be submitted now."""
        return AHEAD * self._threads - len(self._blocks)

    @property
    def busy(self) -> int:
        """Blocks that were submitted and are not done."""
        return len(self._blocks)

    def submit(self, block: Block) -> None:
        """Submit a block; its outcome comes from `outcomes`."""
        if not self._blocks:
            self._answered_s = time.monotonic()
        # A worker was started in another folder. Not pure: an answer is never that of an earlier run.
        sent = replace(block, source=block.source.absolute()) if isinstance(block.source, Path) else block
        self._blocks[self._client.submit(_answer, self._sent, sent, pure=False, retries=1)] = block

    def outcomes(self, patience_s: float) -> Iterator[Outcome]:
        """Yield blocks that are done, waiting at most `patience_s` for the first.

        Raises
        ------
        LocalizerError
            A block cannot be localised, or the scheduler is gone.
        """
        from distributed import wait

        if not self._blocks:
            time.sleep(patience_s)
            return
        try:
            with self._client.as_current():
                done, _ = wait(list(self._blocks), timeout=patience_s, return_when="FIRST_COMPLETED")
            if time.monotonic() - self._counted_s > COUNT_S:
                self._count_threads()
        except TimeoutError:
            done = set()
        except Exception as error:  # a lost scheduler raises exceptions of many kinds
            logger.exception("the scheduler %s is gone", self._address)
            raise LocalizerError(f"the scheduler {self._address} is gone ({summarize_error(error)})") from None
        for future in done:
            block = self._blocks.pop(future)
            self._answered_s = time.monotonic()
            if future.status == "error":
                failed = Failed.of(future.exception().with_traceback(future.traceback()))
                logger.error("a worker failed at frame %d\n%s", block.frames[0], failed.traceback)
                raise LocalizerError(
                    f"the localiser failed at frame {block.frames[0]}: {failed.summary}"
                ) from WorkerError(failed.traceback, failed.advice)
            if future.status != "finished":
                raise LocalizerError(f"the localiser failed at frame {block.frames[0]}: it was {future.status}")
            yield Outcome(block, future.result())
        if time.monotonic() - self._answered_s > BLOCK_S:
            raise LocalizerError(f"no worker of {self._address} has finished a block for {BLOCK_S:.0f} s")

    def drop(self) -> None:
        """Forget blocks that are not done, so that the workers can serve another run."""
        if self._client is not None:
            self._client.cancel(list(self._blocks))
        self._blocks = {}

    def close(self) -> None:
        """Leave the cluster; blocks that are not done are dropped."""
        if self._client is not None:
            self._client.cancel(list(self._blocks))
            self._client.close(timeout=CONNECT_S)
        self._client, self._blocks = None, {}
