"""A worker pool in this process: what localises is the same, and nothing has to start."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Self

import pytest

from easyzloc_mm.localization.config import LocalizerConfig
from easyzloc_mm.localization.live import stream
from easyzloc_mm.localization.offline import movie as offline
from easyzloc_mm.localization.workers.messages import Block, BlockLocalizer, Outcome


def localise_here(patch: pytest.MonkeyPatch) -> None:
    """Let movies, and live runs without workers of their own, be localised in this process."""
    patch.setattr(stream, "Workers", OneProcess)
    patch.setattr(offline, "Workers", OneProcess)


class OneProcess:
    """Localises a block when its outcome is asked for."""

    def __init__(self, settings: LocalizerConfig, *_others: object) -> None:
        self.settings, self.replaced, self.count = settings, list[str](), 1
        self._waiting: deque[Block] = deque()
        self._localizer: BlockLocalizer | None = None

    @property
    def free(self) -> int:
        return 1 - len(self._waiting)

    @property
    def busy(self) -> int:
        return len(self._waiting)

    def start(self) -> None:
        self._localizer = BlockLocalizer(self.settings)

    def submit(self, block: Block) -> None:
        self._waiting.append(block)

    def outcomes(self, _patience_s: float) -> Iterator[Outcome]:
        assert self._localizer is not None
        if self._waiting:
            block = self._waiting.popleft()
            yield Outcome(block, self._localizer.answer(block))

    def drop(self) -> None:
        self._waiting.clear()

    def close(self) -> None:
        self.drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_what: object) -> None:
        self.close()
