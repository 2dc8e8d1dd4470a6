"""A tab that is open beside a live run: what it takes from the acquisition."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from easyzloc_mm.monitor.beside import page_beside

PULL_S = 0.2
READY_S = 120.0
CLOSED_S = 30.0


@contextmanager
def watched(run: Path) -> Iterator[None]:
    """Serve the page of `run` and keep a tab of it open while the block runs; the tab takes all that it is sent."""
    said: queue.SimpleQueue[str] = queue.SimpleQueue()
    closed = threading.Event()
    with page_beside(run, say=said.put):
        address = ""
        while "http://" not in address:
            address = said.get(timeout=READY_S)
        parts = urlsplit(address.split()[-1])
        tab = threading.Thread(target=_look, args=(f"http://{parts.netloc}/", closed), daemon=True, name="tab")
        tab.start()
        try:
            yield
        finally:
            closed.set()
            tab.join(CLOSED_S)


def _look(address: str, closed: threading.Event) -> None:
    from bokeh.client import pull_session

    with pull_session(url=address) as session:
        while not closed.wait(PULL_S):
            session.force_roundtrip()
