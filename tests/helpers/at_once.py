"""A worker pool that gives rows without a look at the pixels: for tests of what is done with them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from easyzloc_mm.io.runs.localizations import COLUMNS_2D, COLUMNS_Z
from easyzloc_mm.localization.config import LocalizerConfig
from easyzloc_mm.localization.workers.messages import Block, Localized, Outcome
from easyzloc_mm.typing import U16

SIZE, ROWS_PER_FRAME = (64, 64), 3


def pixels(number: int) -> U16:
    return np.random.default_rng(number).poisson(150, SIZE).astype(np.uint16)


def rows(number: int) -> pd.DataFrame:
    values = np.full((ROWS_PER_FRAME, len(COLUMNS_2D) + len(COLUMNS_Z)), number, np.float32)
    return pd.DataFrame(values, columns=[*COLUMNS_2D, *COLUMNS_Z])


class AtOnce:
    """A pool that localises in this process, without a look at the pixels."""

    def __init__(self, settings: LocalizerConfig) -> None:
        self.settings, self.replaced, self._done = settings, (), list[Block]()

    @property
    def free(self) -> int:
        return 2 - len(self._done)

    @property
    def busy(self) -> int:
        return len(self._done)

    def start(self) -> None: ...

    def submit(self, block: Block) -> None:
        self._done.append(block)

    def outcomes(self, patience_s: float) -> Iterator[Outcome]:
        while self._done:
            block = self._done.pop(0)
            yield Outcome(block, Localized(pd.concat([rows(int(number)) for number in block.frames]), 0))

    def drop(self) -> None:
        self._done.clear()

    def close(self) -> None:
        self._done.clear()
