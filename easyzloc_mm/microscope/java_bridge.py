"""MMCore behind the pycromanager bridge: one thread asks, every answer has a deadline, results are plain values.

The bridge itself waits for ever for a Micro-Manager that was closed, its objects call home when they are collected,
from whichever thread that happens in, and a blocking call holds up all others.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from easyzloc_mm.errors import HardwareError

ANSWER_S = 90.0
"""Deadline of any one answer: the slowest stage move takes less."""
LOOK_S = 1.0
"""After so long without an answer the port is asked whether anyone is there."""


class BridgeCore:
    """What pymmcore's core is, over the bridge.

    Parameters
    ----------
    core : mmpycorex.Core
        The remote core.
    port : int
        Of its server.
    """

    def __init__(self, core: Any, port: int) -> None:
        self._core, self._port = core, port
        self._gone: str | None = None
        self._asked: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        threading.Thread(target=self._serve, name="bridge", daemon=True).start()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._core, name)  # AttributeError where Micro-Manager has no such method

        def call(*arguments: object) -> Any:
            return self._answer(name, lambda: _plain(method(*arguments)))

        return call

    def pop_next_tagged_image(self) -> SimpleNamespace:
        """Next image of the sequence, with `pix` and `tags`."""

        def pop() -> SimpleNamespace:
            with _held(self._core.pop_next_tagged_image()) as image:
                return SimpleNamespace(pix=image.pix, tags=image.tags)

        return self._answer("pop_next_tagged_image", pop)  # type: ignore[no-any-return]

    def _serve(self) -> None:
        while True:
            self._asked.get()()

    def _answer(self, name: str, ask: Callable[[], Any]) -> Any:
        if self._gone is not None:
            raise HardwareError(self._gone)
        answers: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()

        def asked() -> None:
            try:
                answers.put((True, ask()))
            except BaseException as error:  # handed to the waiting thread
                answers.put((False, error))

        self._asked.put(asked)
        deadline = time.monotonic() + ANSWER_S
        while True:
            try:
                good, answer = answers.get(timeout=LOOK_S)
            except queue.Empty:
                if not self._somebody_there():
                    self._give_up(f"Micro-Manager has ended: nobody answers on port {self._port} any more")
                elif time.monotonic() > deadline:
                    self._give_up(f"Micro-Manager did not answer {name} within {ANSWER_S:.0f} s")
                continue
            if good:
                return answer
            raise answer

    def _somebody_there(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self._port), timeout=LOOK_S).close()
        except OSError:
            return False
        return True

    def _give_up(self, why: str) -> None:
        """Say so from now on, and let go of whatever of the bridge waits for an answer, or the program would not end.

        pyjavaz has a public word for that, which its finalisers heed only in part; hence the private ones.
        """
        from pyjavaz import server_terminated

        self._gone = why
        server_terminated(self._port)
        bridge = self._core._bridge
        bridge._closed = True
        for thing in list(bridge._java_objects):
            thing._closed = True
        raise HardwareError(why)


def _plain(result: Any) -> Any:
    """Vectors as lists, enumerations as numbers: no Java object leaves the bridge's thread."""
    if hasattr(result, "size") and hasattr(result, "get"):
        with _held(result):
            return [result.get(index) for index in range(result.size())]
    if hasattr(result, "swig_value"):
        with _held(result):
            return int(result.swig_value())
    return result


@contextmanager
def _held(thing: Any) -> Iterator[Any]:
    """Give a Java object back at the end, here and now, rather than whenever and wherever it is collected."""
    try:
        yield thing
    finally:
        thing._close()
