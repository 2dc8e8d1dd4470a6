"""What a run asks of its localising processes, wherever they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from easyzloc_mm.localization.config import LocalizerConfig
from easyzloc_mm.localization.workers.messages import Block, Outcome


class WorkerPool(Protocol):
    """Processes that localise blocks of frames: `local.Workers` on this computer, `dask.ClusterWorkers` on others.

    Blocks may come back in another order than they were submitted in. A pool keeps no state between blocks, so that it
    can serve one run after another.
    """

    @property
    def settings(self) -> LocalizerConfig:
        """Model, camera response and detection settings of every worker."""
        ...

    @property
    def replaced(self) -> Sequence[str]:
        """How each worker died that had to be replaced; empty where the pool does not replace workers itself."""
        ...

    @property
    def free(self) -> int:
        """Blocks that may be submitted now; 0 or less if none."""
        ...

    @property
    def busy(self) -> int:
        """Blocks that were submitted and are not done."""
        ...

    def start(self) -> None:
        """Start the workers, or what is left to start of them, and wait until they are warm.

        Raises
        ------
        LocalizerError
            A worker does not start.
        InputError
            There are none to be had: the message names the cause.
        """
        ...

    def submit(self, block: Block) -> None:
        """Submit a block; its outcome comes from `outcomes`."""
        ...

    def outcomes(self, patience_s: float) -> Iterator[Outcome]:
        """Yield blocks that are done, waiting at most `patience_s` seconds for the first.

        Raises
        ------
        LocalizerError
            A block cannot be localised, or the workers are gone; the cause is a `WorkerError` where one raised.
        """
        ...

    def drop(self) -> None:
        """Forget blocks that are not done, so that the workers can serve another run."""
        ...

    def close(self) -> None:
        """End the workers; blocks that are not done are dropped. `start` may be called again."""
        ...
