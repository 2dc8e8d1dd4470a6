"""The page's server: a process of its own, so that nothing a browser does can reach the camera."""

from __future__ import annotations

import logging
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from easyzloc_mm.errors import InputError

if TYPE_CHECKING:
    from bokeh.document import Document

ADDRESS = "127.0.0.1"
PORT = 5007
STOP_S = 5.0
TOKEN = "EASYZLOC_PAGE_TOKEN"
"""Environment variable that tells a page which token its buttons ask for; command lines are seen by everybody."""
STOP_LINE = "stop the run"
"""What a page's process prints when its stop button was pressed."""


def serve(run: Path, *, port: int = PORT, host: str = ADDRESS, ready: Callable[[str], None] | None = None) -> None:
    """Serve the page of `run` until interrupted: on this computer alone, unless another `host` is given.

    Parameters
    ----------
    run : Path
        ``RUN.zarr``; it may appear later.
    port : int
        Of the page; 0 takes any that is free.
    host : str
        Address of this computer that the page is served at; whoever reaches it can look, and nothing else.
    ready : callable, optional
        Told the page's address once it answers.

    Raises
    ------
    InputError
        The port is taken.
    """
    from bokeh.application import Application
    from bokeh.application.handlers.function import FunctionHandler
    from bokeh.server.server import Server

    from easyzloc_mm.monitor.follow import Follower
    from easyzloc_mm.monitor.page import make_page

    logging.getLogger("bokeh").setLevel(logging.ERROR)  # it warns of every tab that is closed

    def page(document: Document) -> None:
        make_page(document, Follower(run), stop_button(document, token))

    token = os.environ.get(TOKEN, "")
    try:
        applications = {"/": Application(FunctionHandler(page))}
        origins = None if host == ADDRESS else ["*"]
        server = Server(applications, address=host, port=port, allow_websocket_origin=origins)
    except OSError as error:
        raise InputError(f"the page cannot be served on port {port} ({error}): choose another --port") from None
    server.start()
    if ready is not None:
        ready(f"http://{host}:{server.port}/" + (f"?token={token}" if token else ""))
    try:
        server.io_loop.start()
    finally:
        server.stop(wait=False)


def stop_button(document: Document, token: str) -> Callable[[], None] | None:
    """Return what the stop button of a tab does; None where the tab was not opened with the token."""
    request = getattr(document.session_context, "request", None)
    given = request.arguments.get("token", [b""])[0].decode("utf-8", "replace") if request else ""
    if not token or not secrets.compare_digest(given.encode(), token.encode()):
        return None
    return lambda: print(STOP_LINE, flush=True)


@contextmanager
def page_beside(
    run: Path, *, port: int = PORT, on_stop: Callable[[], None] = lambda: None
) -> Iterator[subprocess.Popen[str]]:
    """Serve the page of `run` from another process while the block runs.

    Parameters
    ----------
    run : Path
    port : int
    on_stop : callable
        Called, from another thread, when the page's stop button is pressed. Only tabs that were opened with the address
        that is printed, token included, have one.
    """
    page = subprocess.Popen(
        [sys.executable, "-m", "easyzloc_mm", "monitor", str(run), "--port", str(port)],
        stdout=subprocess.PIPE, text=True, encoding="utf-8",
        env={**os.environ, TOKEN: secrets.token_urlsafe(16), "PYTHONUTF8": "1"},
    )  # fmt: skip

    def listen() -> None:
        assert page.stdout is not None
        for line in page.stdout:
            if line.strip() == STOP_LINE:
                on_stop()
            else:
                print(line, end="", flush=True)

    listener = threading.Thread(target=listen, daemon=True, name="page")
    listener.start()
    try:
        yield page
    finally:
        page.terminate()
        try:
            page.wait(STOP_S)
        except subprocess.TimeoutExpired:
            page.kill()
        listener.join(STOP_S)
        if page.stdout is not None:
            page.stdout.close()
