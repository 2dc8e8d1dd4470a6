"""Localising processes on other computers: a dask.distributed scheduler in place of `Workers`.

Every worker must see the movie, the model and the camera map under the same paths, and have the same versions installed
as this computer: then its rows are the same, bit for bit.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from easyzloc_mm._extras import need
from easyzloc_mm._versions import installed
from easyzloc_mm.errors import InputError, LocalizerError
from easyzloc_mm.localization.config import LocalizerConfig
from easyzloc_mm.localization.pipeline import PACKAGES
from easyzloc_mm.localization.workers.messages import Block, BlockLocalizer, Outcome, in_words

CONNECT_S = 20.0
START_S = 180.0
BLOCK_S = 600.0
"""Deadline of the next block: a worker that is lost is replaced by the scheduler long before."""
LOOK_S = 5.0
"""How often the scheduler is asked how many threads there are."""
AHEAD = 2
"""Blocks in hand per thread, so that none waits for its next one."""

_here = threading.local()


def _answer(settings: LocalizerConfig, block: Block) -> tuple[str, Any]:
    """Localise a block, in a thread of a worker; the localiser stays loaded for the next block."""
    if getattr(_here, "settings", None) != settings:
        _here.localizer, _here.settings = BlockLocalizer(settings), settings
    answer: tuple[str, Any] = _here.localizer.answer(block)
    return answer


class ClusterWorkers:
    """What `Workers` is, on a cluster.

    Parameters
    ----------
    settings : LocalizerConfig
        What makes the localiser.
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
        self._looked_s = self._heard_s = 0.0
        self.replaced: list[str] = []
        """Nothing: the scheduler replaces workers by itself."""

    def start(self) -> None:
        """Connect, and wait for a worker.

        Raises
        ------
        InputError
            Package ``distributed`` is not installed, or no scheduler is there, or its workers are of other versions.
        """
        need("distributed", extra="cluster")
        from distributed import Client

        for chatty in ("distributed", "tornado", "asyncio"):  # what goes wrong is said below, in one line
            logging.getLogger(chatty).setLevel(logging.CRITICAL)
        try:
            self._client = Client(self._address, timeout=CONNECT_S, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise InputError(
                f"no scheduler answers at {self._address} within {CONNECT_S:.0f} s ({in_words(error)}): start one with "
                "`dask scheduler`, and give its address as `scheduler`"
            ) from None
        deadline = time.monotonic() + START_S
        while not self._look():
            if time.monotonic() > deadline:
                raise InputError(f"the scheduler {self._address} has no workers: start some with `dask worker`")
            time.sleep(0.2)
        self._check_versions()

    def _look(self) -> int:
        self._looked_s = time.monotonic()
        self._threads = sum(self._client.nthreads().values())
        return self._threads

    def _check_versions(self) -> None:
        mine = installed(PACKAGES)
        try:
            theirs = self._client.run(installed, PACKAGES)
        except Exception as error:  # whatever a worker without this package raises
            raise InputError(
                f"the workers of {self._address} cannot run easyzloc_mm ({in_words(error)}): install it there"
            ) from None
        for worker, found in theirs.items():
            other = [f"{name} {found[name]} instead of {mine[name]}" for name in PACKAGES if found[name] != mine[name]]
            if other:
                raise InputError(f"worker {worker} has {', '.join(other)}: install the same versions everywhere")

    @property
    def free(self) -> int:
        """Blocks that may be handed in."""
        return AHEAD * self._threads - len(self._blocks)

    @property
    def busy(self) -> int:
        """Blocks that were handed in and are not done."""
        return len(self._blocks)

    def submit(self, block: Block) -> None:
        """Hand in a block; its outcome comes from `outcomes`."""
        if not self._blocks:
            self._heard_s = time.monotonic()
        # A worker was started in another folder. Not pure: an answer is never that of an earlier run.
        sent = replace(block, source=block.source and block.source.absolute())
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
            if time.monotonic() - self._looked_s > LOOK_S:
                self._look()
        except TimeoutError:
            done = set()
        except Exception as error:  # a scheduler that went away is told in many ways
            raise LocalizerError(f"the scheduler {self._address} is gone ({in_words(error)})") from None
        for future in done:
            block = self._blocks.pop(future)
            self._heard_s = time.monotonic()
            if future.status != "finished":
                why = in_words(future.exception()) if future.status == "error" else f"it was {future.status}"
                raise LocalizerError(f"the localiser failed at frame {block.frames[0]}: {why}")
            yield Outcome.of(block, future.result())
        if time.monotonic() - self._heard_s > BLOCK_S:
            raise LocalizerError(f"no worker of {self._address} has finished a block for {BLOCK_S:.0f} s")

    def close(self) -> None:
        """Leave the cluster; blocks that are not done are dropped."""
        if self._client is not None:
            self._client.cancel(list(self._blocks))
            self._client.close(timeout=CONNECT_S)
        self._client, self._blocks = None, {}
