"""A page beside a command that works: served by a process of its own, so that no browser can reach the camera."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from easyzloc_mm._processes import own_group
from easyzloc_mm.monitor.steps import AGAIN

END_S = 5.0
TOKEN = "EASYZLOC_PAGE_TOKEN"
"""Environment variable that tells a page which token its buttons ask for; command lines are seen by everybody."""
STOP_LINE = "stop the run"
"""What a page's process prints when its stop button was pressed."""
STAYS_LINE = "the page stays until its last tab is closed"
"""What it prints when what it was begun by has ended, and somebody looks at it."""


def _say(line: str) -> None:
    print(line, flush=True)


@contextmanager
def page_beside(
    path: Path,
    *,
    on_stop: Callable[[], None] | None = None,
    again: Sequence[str] = (),
    say: Callable[[str], None] = _say,
) -> Iterator[subprocess.Popen[str]]:
    """Serve the page of `path` from another process while the block runs, and as long as somebody looks at it then.

    Parameters
    ----------
    path : Path
        What is being written.
    on_stop : callable, optional
        Called, from another thread, when the page's stop button is pressed. Only tabs that were opened with the address
        that is printed, token included, have buttons.
    again : sequence of str
        The command that began this run, without its output: the page offers it again when the run is over.
    say : callable
        Given each line that the page's process prints, its address first; called from another thread.
    """
    environment = {**os.environ, TOKEN: secrets.token_urlsafe(16), "PYTHONUTF8": "1", AGAIN: json.dumps(list(again))}
    # Ctrl-C is for the run: the page ends when its standard input does.
    page = subprocess.Popen(
        [sys.executable, "-m", "easyzloc_mm", "monitor", str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8", env=environment, **own_group(),
    )  # fmt: skip
    stays = threading.Event()
    listener = threading.Thread(target=_listen, args=(page, on_stop, say, stays), daemon=True, name="page")
    listener.start()
    try:
        yield page
    finally:
        assert page.stdin is not None
        page.stdin.close()
        listener.join(END_S)
        if not stays.is_set():
            page.kill()
            page.wait()
            listener.join()


def _listen(
    page: subprocess.Popen[str],
    on_stop: Callable[[], None] | None,
    say: Callable[[str], None],
    stays: threading.Event,
) -> None:
    """Read what a page prints, until it has ended or goes on alone."""
    assert page.stdout is not None
    with page.stdout:
        for line in page.stdout:
            if line.strip() == STOP_LINE:
                if on_stop is not None:
                    on_stop()
                continue
            say(line.rstrip())
            if line.strip() == STAYS_LINE:
                stays.set()
                return
