"""The server of a page: finds out what it is to show, and lives as long as that is wanted."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from easyzloc_mm.errors import InputError
from easyzloc_mm.monitor.beside import STAYS_LINE, STOP_LINE, TOKEN

if TYPE_CHECKING:
    from bokeh.document import Document

    from easyzloc_mm.monitor.actions import Deed

ADDRESS = "127.0.0.1"
PORT = 5007
LEAVE_S = 5.0
"""A tab that is loaded anew is gone for less."""

Page = Callable[["Document", str], None]
"""Fills a tab; given it, and the token if the tab has it, else nothing."""


def serve(
    page: Page,
    deeds: dict[str, Deed],
    *,
    port: int | None = None,
    host: str = ADDRESS,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve a page until interrupted: on this computer alone, unless another `host` is given.

    Begun by `page_beside`, it ends when its standard input does and nobody looks any more.

    Parameters
    ----------
    page : callable
        Fills a tab.
    deeds : dict
        What its buttons may ask for.
    port : int, optional
        Of the page; 0 takes any that is free, as does none where the usual one is taken.
    host : str
        Address of this computer that the page is served at; whoever reaches it can look, and nothing else.
    ready : callable, optional
        Told the page's address once it answers, with the token that its buttons need.

    Raises
    ------
    InputError
        The port is taken, or `host` is no address of this computer.
    """
    beside = TOKEN in os.environ
    token = os.environ.get(TOKEN) or secrets.token_urlsafe(16)
    server = _server(page, deeds, token, PORT if port is None else port, host, any_port=port is None)
    server.start()
    if beside:
        threading.Thread(target=_end_after_parent, args=(server,), daemon=True, name="parent").start()
    if ready is not None:
        ready(f"http://{host}:{server.port}/?token={token}")
    try:
        server.io_loop.start()
    finally:
        server.stop(wait=False)


def _server(page: Page, deeds: dict[str, Deed], token: str, port: int, host: str, *, any_port: bool) -> Any:
    from bokeh.application import Application
    from bokeh.application.handlers.function import FunctionHandler
    from bokeh.server.server import Server

    from easyzloc_mm.monitor.actions import ActionHandler, holds_token

    logging.getLogger("bokeh").setLevel(logging.ERROR)  # it warns of every tab that is closed
    logging.getLogger("tornado.access").setLevel(logging.CRITICAL)  # a refused button is told on the page

    def fill(document: Document) -> None:
        page(document, token if holds_token(document, token) else "")

    _check_host(host)
    for number in (port, 0) if any_port else (port,):
        try:
            return Server(
                {"/": Application(FunctionHandler(fill))}, address=host, port=number,
                allow_websocket_origin=None if host == ADDRESS else ["*"],
                extra_patterns=[(r"/do/(\w+)", ActionHandler, {"token": token, "deeds": deeds})],
            )  # fmt: skip
        except OSError as error:
            fault = error
    raise InputError(f"the page cannot be served on port {port} ({fault}): choose another `port`") from None


def _check_host(host: str) -> None:
    """Raise `InputError` unless a page can be served at `host`; an empty one would be all addresses, unasked."""
    try:
        if not host.strip():
            raise OSError
        family, *_, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind(address)
    except (OSError, UnicodeError):
        raise InputError(
            f"`host` '{host}' is no address of this computer: give one, such as 0.0.0.0 for all of them"
        ) from None


def _end_after_parent(server: Any) -> None:
    """Wait until what began this process has ended, and then until nobody looks."""
    sys.stdin.buffer.read()

    def somebody_looks() -> bool:
        return any(session.connection_count for session in server.get_sessions("/"))

    def look_again(gone: bool) -> None:
        if not somebody_looks():
            if gone:
                server.io_loop.stop()
            else:
                server.io_loop.call_later(LEAVE_S, look_again, True)
            return
        server.io_loop.call_later(1.0, look_again, False)

    def parent_ended() -> None:
        if not somebody_looks():
            server.io_loop.stop()
            return
        print(STAYS_LINE, flush=True)
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - nobody reads it any more
        look_again(False)

    server.io_loop.add_callback(parent_ended)


def argument(document: Document, name: str) -> str:
    """Return what a tab's address says after ``?``; empty where it does not say it."""
    request = getattr(document.session_context, "request", None)
    given = request.arguments.get(name, [b""])[0] if request else b""
    return str(given.decode("utf-8", "replace"))


def stop_parent() -> None:
    """Ask the run that this page was begun by to stop."""
    print(STOP_LINE, flush=True)
