"""MMCore of a running Micro-Manager, behind the pycromanager bridge: one thread asks, every answer has a deadline.

The bridge itself waits for ever for a Micro-Manager that was closed, its objects call home when they are collected,
from whichever thread that happens in, and a blocking call holds up all others. Hence one thread that makes all calls,
results that are plain values, and a check of the port when an answer is late.
"""

from __future__ import annotations

import logging
import queue
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, NoReturn, Protocol, cast

from easyzloc_mm.errors import EasyZlocWarning, HardwareError
from easyzloc_mm.microscope.backends.local import LOAD_S
from easyzloc_mm.microscope.deadlines import within
from easyzloc_mm.microscope.mmcore import CALLS, MMCore, TaggedImage
from easyzloc_mm.profile.schema import Connection

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_MS = 5000
GREETING_BYTES = 10
ANSWER_S = 90.0
"""Deadline of any one answer, s: the slowest stage move takes less."""
CHECK_S = 1.0
"""After so long without an answer, s, the port is tried for whether Micro-Manager still runs."""


@contextmanager
def java_core(connection: Connection) -> Iterator[MMCore]:
    """Yield the MMCore of a running Micro-Manager.

    Tested against a server of ours that speaks its protocol, not against Micro-Manager.

    The bridge takes about 100 MB/s: watch `doctor`, or use an ROI. Micro-Manager keeps its configuration and
    stays open; only what this program changed is restored.

    Raises
    ------
    HardwareError
        No Micro-Manager listens on the port, or it does not answer.
    """
    from mmpycorex import Core

    port = connection.java_port
    _check_server(port)
    with warnings.catch_warnings(record=True) as caught, _thread_failures_logged():
        warnings.simplefilter("always")
        remote = within(LOAD_S, "connecting to Micro-Manager", lambda: Core(port=port, timeout=CONNECT_TIMEOUT_MS))
    for warning in caught:
        # A server of another protocol version connects and then fails in odd places.
        warnings.warn(f"Micro-Manager bridge: {warning.message}", EasyZlocWarning, stacklevel=2)
    yield cast(MMCore, BridgeCore(remote, port))


def _check_server(port: int) -> None:
    """Refuse a port on which nobody, or somebody else, listens: the bridge would fail there in its own thread.

    A ZeroMQ server greets whoever connects (ZMTP 3, https://rfc.zeromq.org/spec/23): 0xFF, eight bytes, 0x7F.
    """
    remedy = f"start Micro-Manager, and tick Tools > Options > Run server on port {port}"
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=CONNECT_TIMEOUT_MS / 1000) as tried:
            greeting = tried.recv(GREETING_BYTES, socket.MSG_WAITALL)
    except TimeoutError:
        greeting = b""
    except OSError as error:
        raise HardwareError(f"no Micro-Manager answers on port {port} ({error}): {remedy}") from error
    if len(greeting) < GREETING_BYTES or greeting[0] != 0xFF or greeting[-1] != 0x7F:
        raise HardwareError(
            f"what listens on port {port} is not Micro-Manager's server, or hangs: close that program, or {remedy}; "
            "the profile's connection.java_port may name another port"
        )


@contextmanager
def _thread_failures_logged() -> Iterator[None]:
    """Log what fails in pyjavaz's own threads while connecting, in place of a traceback on the terminal."""
    hook = threading.excepthook

    def log(failed: threading.ExceptHookArgs) -> None:
        logger.debug("in a thread of the bridge: %s", failed.exc_value)

    threading.excepthook = log
    try:
        yield
    finally:
        threading.excepthook = hook


class _Remote(Protocol):
    """The private part of pyjavaz's shadow of the Java core that `BridgeCore` must reach."""

    _bridge: Any

    def pop_next_tagged_image(self) -> Any: ...


class BridgeCore:
    """The calls of `MMCore` over the bridge; results are plain values, as pymmcore gives them.

    Parameters
    ----------
    remote : mmpycorex.Core
        The Java core's shadow.
    port : int
        Of its server.
    """

    def __init__(self, remote: _Remote, port: int) -> None:
        self._remote, self._port = remote, port
        self._ended: str | None = None
        self._requests: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        threading.Thread(target=self._serve, name="bridge", daemon=True).start()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return a call of `MMCore`, made on the bridge's thread.

        Raises
        ------
        AttributeError
            `MMCore` has no such call, or Micro-Manager has none.
        """
        if name not in CALLS:
            raise AttributeError(f"{name} is no call of MMCore that this package makes")
        method = getattr(self._remote, name)

        def call(*arguments: object) -> object:
            return self._answer(name, lambda: _plain(method(*arguments)))

        return call

    def pop_next_tagged_image(self) -> TaggedImage:
        """Remove the oldest image from the sequence buffer and return it, with `pix` and `tags`."""

        def pop() -> TaggedImage:
            with _closed_after(self._remote.pop_next_tagged_image()) as image:
                return SimpleNamespace(pix=image.pix, tags=image.tags)

        return cast(TaggedImage, self._answer("pop_next_tagged_image", pop))

    def _serve(self) -> None:
        while True:
            self._requests.get()()

    def _answer(self, name: str, ask: Callable[[], object]) -> object:
        """Return what `ask` returns on the bridge's thread.

        Raises
        ------
        HardwareError
            Micro-Manager has ended, or does not answer in time.
        """
        if self._ended is not None:
            raise HardwareError(self._ended)
        answers: queue.SimpleQueue[tuple[object, BaseException | None]] = queue.SimpleQueue()

        def request() -> None:
            try:
                answers.put((ask(), None))
            except BaseException as error:  # raised again in the waiting thread
                answers.put((None, error))

        self._requests.put(request)
        deadline = time.monotonic() + ANSWER_S
        while True:
            try:
                answer, failure = answers.get(timeout=CHECK_S)
            except queue.Empty:
                if not self._is_listening():
                    self._end(f"Micro-Manager has ended: nobody answers on port {self._port} any more")
                elif time.monotonic() > deadline:
                    self._end(f"Micro-Manager did not answer {name} within {ANSWER_S:.0f} s")
                continue
            if failure is not None:
                raise failure
            return answer

    def _is_listening(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self._port), timeout=CHECK_S).close()
        except OSError:
            return False
        return True

    def _end(self, reason: str) -> NoReturn:
        """Raise `HardwareError`, now and at every later call, and close the bridge, or the program would not end.

        pyjavaz has a public function for that, which its finalisers heed only in part; hence the private attributes.
        """
        from pyjavaz import server_terminated

        self._ended = reason
        server_terminated(self._port)
        bridge = self._remote._bridge
        bridge._closed = True
        for shadow in list(bridge._java_objects):
            shadow._closed = True
        raise HardwareError(reason)


def _plain(result: Any) -> object:
    """Return vectors and settings as lists, enumerations as numbers: no Java object leaves the bridge's thread."""
    if hasattr(result, "size") and hasattr(result, "get"):
        with _closed_after(result):
            return [result.get(index) for index in range(result.size())]
    if hasattr(result, "get_setting"):
        with _closed_after(result):
            return [_setting(result.get_setting(index)) for index in range(result.size())]
    if hasattr(result, "swig_value"):
        with _closed_after(result):
            return int(result.swig_value())
    return result


def _setting(shadow: Any) -> tuple[str, str, str]:
    with _closed_after(shadow):
        return shadow.get_device_label(), shadow.get_property_name(), shadow.get_property_value()


@contextmanager
def _closed_after(shadow: Any) -> Iterator[Any]:
    """Release a Java object at the end, in this thread, rather than when and where it is collected."""
    try:
        yield shadow
    finally:
        shadow._close()
