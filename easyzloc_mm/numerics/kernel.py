"""Compiled functions, kept on the disk until anything that they are made of changes.

Numba compiles a function anew when its own file has changed. What it takes in from other files, functions and
constants, may change unnoticed, and an upgrade would go on computing with parts of the version before [1]_.

References
----------
.. [1] Numba, issue 1833, "Caching issue: functions in different modules".
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeVar

import numba
import numpy as np

if TYPE_CHECKING:
    from numba.core.dispatcher import Dispatcher

Function = TypeVar("Function", bound=Callable[..., Any])

FAST = {"reassoc", "contract", "arcp", "nsz"}
"""What the compiler may assume where infinite numbers and NaN (a start that is none) still count: sums in any order."""


def kernel(*, fastmath: bool | set[str] = False, parallel: bool = False) -> Callable[[Function], Dispatcher[Function]]:
    """Compile a function that runs without the GIL, and keep it for the processes to come.

    Parameters
    ----------
    fastmath : bool or set of str
        What the compiler may assume of floating-point numbers.
    parallel : bool
        Whether its ``prange`` loops run in threads.

    Returns
    -------
    callable
        A decorator.
    """

    def compiled(function: Function) -> Dispatcher[Function]:
        assert isinstance(function, FunctionType)
        name = function.__qualname__
        # Numba's files are named by it: those of another state are not found.
        function.__qualname__ = f"{name}-{made_of(function)}"
        try:
            return numba.njit(nogil=True, cache=True, fastmath=fastmath, parallel=parallel)(function)
        finally:
            function.__qualname__ = name

    return compiled


def made_of(function: FunctionType) -> str:
    """Return a digest of what a function can take in: constants, and the files of kernels, that its module has so far.

    Numba itself minds the function's own file, and with it whatever stands below.
    """
    digest = hashlib.sha256()
    for part in _parts(function, set()):
        digest.update(part)
    return digest.hexdigest()[:12]


def _parts(function: FunctionType, seen: set[str]) -> Iterator[bytes]:
    seen.add(function.__code__.co_filename)
    for name, value in sorted(function.__globals__.items()):
        called = getattr(value, "py_func", None)
        if isinstance(called, FunctionType) and called.__code__.co_filename not in seen:
            file = Path(called.__code__.co_filename)
            yield f"{name}:{_digest_of(file, file.stat().st_mtime_ns)}:".encode()
            yield from _parts(called, seen)
        elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
            yield f"{name}={value.dtype}{value.shape}".encode() + value.tobytes()
        elif not name.startswith("__") and _is_constant(value):
            yield f"{name}={value!r}".encode()


def _is_constant(value: object) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_constant, value))
    return isinstance(value, bool | int | float | complex | str | np.generic)


@cache
def _digest_of(file: Path, _changed_ns: int) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
