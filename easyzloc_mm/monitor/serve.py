"""The page's server: a process of its own, so that nothing a browser does can reach the camera."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from easyzloc_mm.errors import InputError

ADDRESS = "127.0.0.1"
PORT = 5007
STOP_S = 5.0


def serve(run: Path, *, port: int = PORT, ready: Callable[[str], None] | None = None) -> None:
    """Serve the page of `run` on this computer until interrupted.

    Parameters
    ----------
    run : Path
        ``RUN.zarr``; it may appear later.
    port : int
        Of the page; 0 takes any that is free.
    ready : callable, optional
        Told the page's address once it answers.

    Raises
    ------
    InputError
        The port is taken.
    """
    from bokeh.application import Application
    from bokeh.application.handlers.function import FunctionHandler
    from bokeh.document import Document
    from bokeh.server.server import Server

    from easyzloc_mm.monitor.follow import Follower
    from easyzloc_mm.monitor.page import make_page

    logging.getLogger("bokeh").setLevel(logging.ERROR)  # it warns of every tab that is closed

    def page(document: Document) -> None:
        make_page(document, Follower(run))

    try:
        server = Server({"/": Application(FunctionHandler(page))}, address=ADDRESS, port=port)
    except OSError as error:
        raise InputError(f"the page cannot be served on port {port} ({error}): choose another --port") from None
    server.start()
    if ready is not None:
        ready(f"http://{ADDRESS}:{server.port}/")
    try:
        server.io_loop.start()
    finally:
        server.stop(wait=False)


@contextmanager
def page_beside(run: Path, *, port: int = PORT) -> Iterator[subprocess.Popen[bytes]]:
    """Serve the page of `run` from another process while the block runs."""
    page = subprocess.Popen([sys.executable, "-m", "easyzloc_mm", "monitor", str(run), "--port", str(port)])
    try:
        yield page
    finally:
        page.terminate()
        try:
            page.wait(STOP_S)
        except subprocess.TimeoutExpired:
            page.kill()
