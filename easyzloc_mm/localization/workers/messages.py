"""Messages between the program and its localising processes, here or on a cluster."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from easyzloc_mm.camera.blank import blank_images
from easyzloc_mm.errors import InputError, LocalizerError
from easyzloc_mm.localization.config import LocalizerConfig
from easyzloc_mm.typing import I64, U16

LONGEST_SUMMARY = 300


@dataclass(frozen=True)
class Block:
    """Frames for a worker, as a `LocalizeBlock` or a `FindThreshold`.

    Attributes
    ----------
    number : int
        Position in the table: blocks are numbered from 0 on and their rows written in this order.
    frames : ndarray of int, shape (T,)
        Frame numbers.
    source : Path, or ndarray, shape (T, Y, X), uint16
        Movie or run that the worker reads the frames from; or the frames themselves, ADU, where they are not on disk.
    frames_available : int
        Frames that the source has by now: where the last window of the running background ends.
    """

    number: int
    frames: I64
    source: Path | U16
    frames_available: int


@dataclass(frozen=True)
class LocalizeBlock(Block):
    """Localise these frames.

    Attributes
    ----------
    threshold : float
        Of detection: a ratio of signal to noise, or Picasso's net gradient, ADU.
    noise_ratio : float
        Variance of the noise over what the camera's units say.
    """

    threshold: float
    noise_ratio: float = 1.0


@dataclass(frozen=True)
class FindThreshold(Block):
    """Find the detection threshold that these frames suggest.

    Attributes
    ----------
    noise : bool
        Also localise them, for their noise alone: not where they are to be localised anyway, and show it then.
    """

    noise: bool = False


@dataclass(frozen=True)
class Ready:
    """The worker has loaded the model and compiled everything."""


@dataclass(frozen=True)
class Localized:
    """Localisations of a block.

    Attributes
    ----------
    rows : DataFrame
        Columns of a localisation table.
    rejected : int
        Spots whose 2D fit failed.
    blank : int
        Frames of the block that never came: missing in the source, or one value all over.
    noise : tuple of float
        Noise around some of the molecules, over what the camera's units say (`matched.noise`).
    """

    rows: pd.DataFrame
    rejected: int
    blank: int = 0
    noise: tuple[float, ...] = ()


@dataclass(frozen=True)
class ThresholdFound:
    """What the frames of a block suggest.

    Attributes
    ----------
    threshold : float
        Of detection in frames like these: a ratio of signal to noise, or Picasso's net gradient, ADU.
    blank : int
        Frames of the block that never came.
    noise : tuple of float
        As of `Localized`; empty where it was not asked for.
    """

    threshold: float
    blank: int = 0
    noise: tuple[float, ...] = ()


@dataclass(frozen=True)
class Failed:
    """An exception in the worker, which ends it.

    Attributes
    ----------
    summary : str
        The exception in one short line.
    traceback : str
        As Python formats it, whole.
    advice : str
        The sentence for the user, where the input was at fault.
    """

    summary: str
    traceback: str
    advice: str = ""

    @classmethod
    def of(cls, error: BaseException) -> Failed:
        """Return the message for an exception that carries its traceback."""
        advice = str(error) if isinstance(error, InputError) else ""
        return cls(summarize_error(error), "".join(traceback.format_exception(error)), advice)


@dataclass(frozen=True)
class Logged:
    """A log record of the worker, formatted."""

    record: logging.LogRecord


Answer = Localized | ThresholdFound
"""What a worker returns for a block."""
FromWorker = Ready | Answer | Failed | Logged
"""Every message that a worker process sends."""


@dataclass(frozen=True)
class Outcome:
    """A block, and the worker's answer to it."""

    block: Block
    answer: Answer


class WorkerError(Exception):
    """An exception in another process, with its traceback: the cause of the error that is raised in this one.

    Parameters
    ----------
    text : str
        The traceback.
    advice : str
        The sentence for the user, where the input was at fault.
    """

    def __init__(self, text: str, advice: str = "") -> None:
        super().__init__(text)
        self.text, self.advice = text, advice

    def __str__(self) -> str:
        return f"\n\nin the localising process:\n{self.text}"


@contextmanager
def inputs_at_fault() -> Iterator[None]:
    """Turn a `LocalizerError` whose cause is a bad file into the `InputError` that the worker raised."""
    try:
        yield
    except LocalizerError as error:
        if isinstance(error.__cause__, WorkerError) and error.__cause__.advice:
            raise InputError(error.__cause__.advice) from error
        raise


class BlockLocalizer:
    """Localises blocks; keeps its file open between them, and is for one thread.

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

    def answer(self, block: Block) -> Answer:
        """Return the localisations of a `LocalizeBlock`, or the threshold for a `FindThreshold`."""
        if isinstance(block.source, Path):
            pixels = self._source.read(block.source, block.frames)
            cleared = self._source.cleared(pixels, block.frames, block.frames_available)
        else:  # frames without others around them, which a running background would be taken of
            pixels, cleared = block.source, None
        numbers, came = block.frames, ~blank_images(pixels)
        blank = int(np.count_nonzero(~came))
        if blank:
            cleared = None if cleared is None or not came.any() else cleared[came]
        if blank and came.any():
            pixels, numbers = pixels[came], numbers[came]
        if isinstance(block, LocalizeBlock):
            found = self._localizer.localize(pixels, numbers, block.threshold, cleared, block.noise_ratio)
            return Localized(found.table, found.rejected, blank, found.noise)
        threshold = self._localizer.threshold(pixels, cleared)
        if isinstance(block, FindThreshold) and block.noise:
            return ThresholdFound(threshold, blank, self._localizer.noise(pixels, threshold, cleared))
        return ThresholdFound(threshold, blank)


def summarize_error(error: BaseException | None) -> str:
    """Return an exception as one short line: its type and the beginning of its message."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:LONGEST_SUMMARY]
