"""Device calls that may hang, under a deadline."""

from __future__ import annotations

import itertools
import logging
import re
import threading
import time
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

from easyzloc_mm.errors import HardwareError

logger = logging.getLogger(__name__)

CALL_S = 15.0
"""Deadline of one command to a device, s."""
LONGEST_TEXT = 400
JAVA_FRAME = re.compile(r"(?:at\s+)?[\w$.<>/]+\((?:Native Method|Unknown Source|[\w$.-]+\.java(?::\d+)?)\)$|at\s")
"""A line of a Java stack trace; Micro-Manager's server writes them without the "at " of Java's own."""

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")

POLL_S = 0.1
"""How soon Ctrl-C takes effect, s; on Windows a wait for a lock cannot be interrupted at all."""


def within(seconds: float, what: str, call: Callable[[], Result]) -> Result:
    """Return the result of a device call that runs in a thread of its own, waiting for it at most `seconds`.

    A C++ call cannot be cancelled: when it is late its thread is left behind (it does not keep the process
    alive) and the caller gets the error at once.

    Parameters
    ----------
    seconds : float
        Deadline.
    what : str
        What is being done, for the error message: "moving z to 3.000 um".
    call : callable
        Makes the call.

    Raises
    ------
    HardwareError
        The call failed, with the device's own error text, or is late.
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
    begin = time.monotonic()
    end = begin + seconds
    while not finished.wait(min(POLL_S, max(end - time.monotonic(), 0.0))):
        if time.monotonic() >= end:
            logger.error("%s: no answer within %.1f s", what, seconds)
            raise HardwareError(f"{what}: no answer within {seconds:.1f} s; check the device, its cable and its power")
    if failure:
        error = failure[0]
        logger.error("%s: %s: %s", what, type(error).__name__, error)
        if from_device(error):
            raise HardwareError(f"{what}: {error_text(error)}") from error
        raise error
    logger.debug("%s: %.1f ms", what, 1000 * (time.monotonic() - begin))
    return outcome[0]


def command(
    what: str, function: Callable[[*Arguments], Result], *arguments: *Arguments, seconds: float = CALL_S
) -> Result:
    """Return ``function(*arguments)``, called under a deadline; see `within`."""
    return within(seconds, what, lambda: function(*arguments))


def answer(what: str, function: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
    """Return ``function(*arguments)``, called in this thread: for what MMCore answers at once.

    Raises
    ------
    HardwareError
        The call failed, with the device's own error text.
    """
    try:
        return function(*arguments)
    except Exception as error:  # the bridge raises plain Exception
        if not from_device(error):
            raise
        raise HardwareError(f"{what}: {error_text(error)}") from error


def from_device(error: BaseException) -> bool:
    """Return whether an exception is a device's: pymmcore raises RuntimeError, the Java bridge plain Exception."""
    return isinstance(error, RuntimeError | OSError) or type(error) is Exception


def error_text(error: BaseException) -> str:
    """Return a device's error text in one line, without the stack trace that the Java bridge appends."""
    lines = [line.strip() for line in str(error).splitlines()]
    message = itertools.takewhile(lambda line: not JAVA_FRAME.match(line), filter(None, lines))
    return "; ".join(message)[:LONGEST_TEXT] or type(error).__name__


def wait_until(seconds: float, what: str, arrived: Callable[[], bool], *, poll_s: float = 0.002) -> None:
    """Poll until `arrived` is true.

    Raises
    ------
    HardwareError
        It was not true within `seconds`; `what` begins the message.
    """
    end = time.monotonic() + seconds
    while not arrived():
        if time.monotonic() >= end:
            raise HardwareError(f"{what} within {seconds:.1f} s")
        time.sleep(poll_s)
