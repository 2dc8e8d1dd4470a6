"""Call a function in a process of its own, for what it leaves behind or for what it takes."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TOLD_S = 1.0
THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
NICENESS, LEAST_NICENESS = 5, 15
"""Of processes that give way to others, and of those whose result nobody waits for, on systems that have priorities."""


@dataclass(frozen=True)
class Finished:
    """What a call in a fresh process gave and took.

    Attributes
    ----------
    value
        What the function returned.
    seconds : float
        From the start of the process to its answer, imports included.
    peak_bytes : int
        Most memory that the process held.
    """

    value: Any
    seconds: float
    peak_bytes: int


def in_fresh_process(
    function: Callable[..., Any], *arguments: Any, waiting: Callable[[float], None] | None = None
) -> Finished:
    """Call a function of a module, by spawn; what it raises is raised here.

    Parameters
    ----------
    function : callable
    *arguments
    waiting : callable, optional
        Given the seconds that have passed, about every `TOLD_S`.
    """
    begin = time.monotonic()
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        call = pool.submit(_call, function, arguments)
        while waiting and not wait([call], TOLD_S).done:
            waiting(time.monotonic() - begin)
        value, peak = call.result()
    return Finished(value, time.monotonic() - begin, peak)


def _call(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, int]:
    return function(*arguments), peak_bytes()


def own_group() -> dict[str, Any]:
    """Return what `subprocess.Popen` is given for a process that Ctrl-C in this terminal does not reach."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def peak_bytes() -> int:
    """Most memory that this process has held."""
    status = Path("/proc/self/status")
    if status.is_file():  # Linux, whose getrusage counts the parent's memory too
        line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:"))
        return 1024 * int(line.split()[1])
    import psutil

    info = psutil.Process().memory_info()
    if hasattr(info, "peak_wset"):
        return int(info.peak_wset)
    import resource

    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


@contextlib.contextmanager
def native_stderr_held() -> Iterator[None]:
    """Hold back what native code writes to standard error; it is shown only if the block fails."""
    sys.stderr.flush()
    try:
        number = sys.stderr.fileno()
    except (OSError, io.UnsupportedOperation):  # no real file behind it: a test, a GUI
        yield
        return
    kept = os.dup(number)
    try:
        with tempfile.TemporaryFile() as held:
            os.dup2(held.fileno(), number)
            try:
                yield
            except BaseException:
                sys.stderr.flush()
                held.seek(0)
                os.write(kept, held.read())
                raise
            finally:
                sys.stderr.flush()
                os.dup2(kept, number)
    finally:
        os.close(kept)


@contextmanager
def interrupts_noted() -> Iterator[list[int]]:
    """Only note Ctrl-C and "terminate" inside the block: the caller acts on them where nothing is half-done.

    Yields
    ------
    list of int
        The signals that have come so far. Other threads than the main one never get any.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before = {
        number: signal.signal(number, lambda which, _frame: came.append(which))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


@contextlib.contextmanager
def children_ignore_ctrl_c() -> Iterator[None]:
    """Let processes that are started inside ignore Ctrl-C: a terminal sends it to all, and one of them handles it."""
    if threading.current_thread() is not threading.main_thread() or os.name == "nt":
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def one_thread_each() -> Iterator[None]:
    """Let the numerical libraries of a child use one thread: there is a process for every core already."""
    before = {name: os.environ.get(name) for name in THREAD_LIMITS}
    os.environ.update(dict.fromkeys(THREAD_LIMITS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def give_way(*, to_all: bool = False) -> None:
    """Lower the priority of this process: the one of the camera goes first; `to_all`: every other one too."""
    import psutil

    classes = ("IDLE_PRIORITY_CLASS", LEAST_NICENESS) if to_all else ("BELOW_NORMAL_PRIORITY_CLASS", NICENESS)
    with contextlib.suppress(psutil.Error, OSError):
        psutil.Process().nice(getattr(psutil, *classes))
