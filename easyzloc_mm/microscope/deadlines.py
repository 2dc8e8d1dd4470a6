"""Device calls that may hang, under a deadline."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from easyzloc_mm.errors import HardwareError

LONGEST_WORDS = 400

Result = TypeVar("Result")

POLL_S = 0.1
"""How soon Ctrl-C is seen; on Windows a lock that is waited for cannot be interrupted at all."""


def within(seconds: float, what: str, call: Callable[[], Result]) -> Result:
    """Run a device call in a thread of its own and wait for it at most `seconds`.

    A C++ call cannot be cancelled: when it is late its thread is left behind (it does not keep the process
    alive) and the caller gets the error at once.

    Raises
    ------
    HardwareError
        The call failed, with the device's own words, or is late.
    """
    outcome: list[Result] = []
    failure: list[BaseException] = []
    finished = threading.Event()

    def run() -> None:
        try:
            outcome.append(call())
        except BaseException as error:  # handed to the waiting thread below, whatever it is
            failure.append(error)
        finally:
            finished.set()

    threading.Thread(target=run, name=f"device: {what}", daemon=True).start()
    end = time.monotonic() + seconds
    while not finished.wait(min(POLL_S, max(end - time.monotonic(), 0.0))):
        if time.monotonic() >= end:
            raise HardwareError(f"{what}: no answer within {seconds:.1f} s; check the device, its cable and its power")
    if failure:
        error = failure[0]
        if from_device(error):
            raise HardwareError(f"{what}: {device_words(error)}") from error
        raise error
    return outcome[0]


def from_device(error: BaseException) -> bool:
    """Whether an exception is a device's: pymmcore raises RuntimeError, the Java bridge plain Exception."""
    return isinstance(error, RuntimeError | OSError) or type(error) is Exception


def device_words(error: BaseException) -> str:
    """Return a device's error text in one line, without the stack trace that the Java bridge appends."""
    lines = [line.strip() for line in str(error).splitlines()]
    spoken = itertools.takewhile(lambda line: not line.startswith("at "), filter(None, lines))
    return "; ".join(spoken)[:LONGEST_WORDS] or type(error).__name__


def wait_until(seconds: float, what: str, arrived: Callable[[], bool], *, poll_s: float = 0.002) -> None:
    """Poll until `arrived` is true.

    Raises
    ------
    HardwareError
        It was not within `seconds`.
    """
    end = time.monotonic() + seconds
    while not arrived():
        if time.monotonic() >= end:
            raise HardwareError(f"{what} within {seconds:.1f} s")
        time.sleep(poll_s)
