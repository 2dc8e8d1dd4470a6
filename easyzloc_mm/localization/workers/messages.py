"""Blocks of frames, and what becomes of them: what every kind of worker takes and gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from easyzloc_mm.localization.config import LocalizerConfig
from easyzloc_mm.typing import I64, U16

LONGEST_WORDS = 300


@dataclass(frozen=True)
class Block:
    """Frames to localise.

    Attributes
    ----------
    number : int
        Place in the table: blocks are numbered from 0 on and their rows written in this order.
    frames : ndarray of int
        Frame numbers.
    source : Path or None
        Movie or run that the worker reads them from.
    there : int
        Frames that the source has by now; tells where the last window of the running background ends.
    pixels : ndarray, shape (T, Y, X), uint16, or None
        The frames themselves, where they are not on disk.
    threshold : float or None
        Net gradient of detection; without it the block is only looked at to find one.
    """

    number: int
    frames: I64
    source: Path | None
    there: int
    pixels: U16 | None
    threshold: float | None


@dataclass(frozen=True)
class Outcome:
    """What became of a block: its rows and failed fits, or the threshold that it suggests."""

    block: Block
    rows: pd.DataFrame | None
    rejected: int
    threshold: float | None

    @classmethod
    def of(cls, block: Block, answer: tuple[str, Any]) -> Outcome:
        """Return the outcome that `BlockLocalizer.answer` gave for `block`."""
        kind, content = answer
        rows, rejected = content if kind == "rows" else (None, 0)
        return cls(block, rows, rejected, content if kind == "threshold" else None)


class BlockLocalizer:
    """What a worker does with blocks; it keeps its file open between them, and is for one thread.

    Parameters
    ----------
    settings : LocalizerConfig
    """

    def __init__(self, settings: LocalizerConfig) -> None:
        from easyzloc_mm.localization.pipeline import Localizer
        from easyzloc_mm.localization.workers.frame_source import FrameSource

        self._localizer = Localizer(settings)
        self._localizer.warm_up()
        self._source = FrameSource(settings.localize.background_frames)

    def answer(self, block: Block) -> tuple[str, Any]:
        """Give ("rows", (table, rejected fits)) of a block, or ("threshold", value) where it has none."""
        pixels = self._source.read(block.source, block.frames) if block.pixels is None else block.pixels
        cleared = self._source.cleared(pixels, block.frames, block.there)
        if block.threshold is None:
            return "threshold", self._localizer.threshold(pixels, cleared)
        return "rows", self._localizer.localize(pixels, block.frames, block.threshold, cleared)


def in_words(error: BaseException | None) -> str:
    """Put an error into one short line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:LONGEST_WORDS]
