"""Frames out of MMCore's sequence buffer: counted, gap-checked, every wait with a deadline."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.errors import HardwareError
from easyzloc_mm.microscope.deadlines import answer, error_text, from_device, wait_until, within
from easyzloc_mm.microscope.mmcore import MMCore, TaggedImage
from easyzloc_mm.typing import U16, Frame

logger = logging.getLogger(__name__)

RATE_FRAMES = 8
BLOCK_FRAMES = 10_000
"""A longer run is made of several sequences."""
POLL_S = 0.001
FIRST_FRAME_S = 20.0
FRAME_S = 5.0
STOP_S = 10.0
CREDIBLE_LAG_S = 600.0
"""A frame that seems to have waited longer in the buffer met a clock change."""

Pixels = Callable[[NDArray[Any]], U16]
"""Checks an image and makes it uint16, shape (height, width)."""


def nothing() -> None:
    """Do nothing."""


def stream_frames(
    core: MMCore,
    frames: int,
    exposure_ms: float,
    stop: threading.Event,
    pixels: Pixels,
    camera_off: Callable[[], None] = nothing,
) -> Iterator[Frame]:
    """Run the camera for `frames` frames and yield them.

    The buffer is never allowed to overwrite itself (``stop_on_overflow``): when the consumer is too slow for
    too long the camera stops, what is in the buffer is still yielded, and then the error is raised. Frames
    that MMCore's ``ImageNumber`` shows to be missing leave a gap in `Frame.index`, reported at the end.

    Parameters
    ----------
    core : MMCore
        With its default camera idle.
    frames : int
        How many; more than `BLOCK_FRAMES` are made of several sequences.
    exposure_ms : float
        Decides how long to wait for one, ms.
    stop : threading.Event
        Ends the stream after the frames that are in the buffer.
    pixels : callable
        Checks an image and makes it uint16.
    camera_off : callable
        Called when the camera takes no more frames, though some may still lie in the buffer; more than once.

    Raises
    ------
    HardwareError
        Overflow, missing frames, a camera that stopped early, failed or fell silent.
    """
    lost: list[int] = []
    done = 0
    while done < frames and not stop.is_set():
        block = min(BLOCK_FRAMES, frames - done)

        def ended(is_last: bool = done + block == frames) -> None:
            if is_last or stop.is_set():
                camera_off()

        yield from _sequence(core, block, done, exposure_ms, stop, pixels, lost, ended)
        done += block
    if lost:
        shown = ", ".join(map(str, lost[:5])) + (", ..." if len(lost) > 5 else "")
        raise HardwareError(
            f"{len(lost)} of {frames} frames were lost on the way from the camera (frame {shown}); the rest "
            "is kept. Close other programs, or raise connection.buffer_size_mb"
        )


def measure_rate(core: MMCore, exposure_ms: float) -> float:
    """Return how fast frames come out of MMCore's buffer, MB/s: the camera takes a few, unlit, and they are fetched.

    Raises
    ------
    HardwareError
        The camera does not deliver them.
    """
    within(FIRST_FRAME_S, "starting the camera", lambda: core.start_sequence_acquisition(RATE_FRAMES, 0, True))
    patience = FIRST_FRAME_S + 5 * RATE_FRAMES * exposure_ms / 1000
    wait_until(patience, "the camera did not end a short sequence", lambda: not core.is_sequence_running(), poll_s=0.01)
    rates = []
    while core.get_remaining_image_count() > 0:
        begin = time.perf_counter()
        image = core.pop_next_tagged_image()
        rates.append(image.pix.nbytes / 1e6 / max(time.perf_counter() - begin, 1e-9))
    if not rates:
        raise HardwareError("the camera sent no frame of a short sequence: check its trigger mode and its cable")
    return float(np.median(rates))


def _sequence(
    core: MMCore,
    frames: int,
    first: int,
    exposure_ms: float,
    stop: threading.Event,
    pixels: Pixels,
    lost: list[int],
    ended: Callable[[], None],
) -> Iterator[Frame]:
    expected = taken = 0
    patience = max(FRAME_S, 5 * exposure_ms / 1000)
    # Without a camera label: the overload with one may not initialise the buffer after an ROI change.
    within(FIRST_FRAME_S, "starting the camera", lambda: core.start_sequence_acquisition(frames, 0, True))
    deadline = time.monotonic() + FIRST_FRAME_S + patience
    try:
        while expected < frames:
            if stop.is_set() and core.is_sequence_running():
                within(STOP_S, "stopping the camera", core.stop_sequence_acquisition)
            # Asked before the count: a frame that comes in between is then still seen.
            running = core.is_sequence_running()
            if not running:
                ended()
            if core.get_remaining_image_count() > 0:
                image = _popped(core)
                if image is None:
                    taken += 1
                    continue
                now = time.monotonic()
                number = int(image.tags.get("ImageNumber", expected))
                if number < expected:
                    raise HardwareError(f"frame {first + number} came twice: the camera's numbering cannot be trusted")
                lost.extend(range(first + expected, first + number))
                expected = number + 1
                yield Frame(first + number, pixels(image.pix), now - _waited_s(image.tags))
                deadline = time.monotonic() + patience
            elif not running:
                break
            elif time.monotonic() > deadline:
                raise HardwareError(
                    f"the camera sent nothing for {patience:.0f} s after frame {first + expected}: "
                    "check its trigger mode and its cable"
                )
            else:
                time.sleep(POLL_S)
        overflowed = core.is_buffer_overflowed()
    except Exception as error:  # pymmcore raises RuntimeError, the bridge plain Exception
        if not from_device(error):
            raise
        logger.exception("the camera failed after frame %d", first + expected)
        raise HardwareError(f"the camera failed after frame {first + expected}: {error_text(error)}") from error
    finally:
        if answer("asking the camera", core.is_sequence_running):
            within(STOP_S, "stopping the camera", core.stop_sequence_acquisition)
    if 0 < frames - expected <= taken and not overflowed:
        lost.extend(range(first + expected, first + frames))
        return
    if expected >= frames or stop.is_set():
        return
    if overflowed:
        raise HardwareError(
            f"MMCore's image buffer overflowed after frame {first + expected}: this computer did not keep "
            "up. Raise connection.buffer_size_mb, or use a longer exposure"
        )
    raise HardwareError(f"the camera stopped by itself after {first + expected} of {first + frames} frames")


def _popped(core: MMCore) -> TaggedImage | None:
    """Return the oldest image of the buffer; None where another program has taken it meanwhile.

    Micro-Manager's own windows do that: the frame is missing from the numbers, and counted as lost.
    """
    try:
        return core.pop_next_tagged_image()
    except Exception as error:
        if from_device(error) and core.get_remaining_image_count() == 0:
            logger.warning("another program took an image out of MMCore's buffer")
            return None
        raise


def _waited_s(tags: Mapping[str, str | int | float]) -> float:
    """Return how long a frame lay in MMCore's buffer, s, from its own time stamp; 0 when that is not usable."""
    try:
        lag = (datetime.now() - datetime.fromisoformat(str(tags["TimeReceivedByCore"]))).total_seconds()
    except (KeyError, ValueError):
        return 0.0
    return lag if math.isfinite(lag) and 0 <= lag < CREDIBLE_LAG_S else 0.0
