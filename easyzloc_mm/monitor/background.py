"""What a page reads and draws is done beside its server's loop, so that buttons answer while a picture is drawn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from easyzloc_mm.errors import EasyZlocError

if TYPE_CHECKING:
    from bokeh.document import Document

POLL_MS = 1000
REST = 2.0
"""A page rests for so many times as long as it worked: a slow computer keeps its time for the camera."""
_drawing = ThreadPoolExecutor(1, thread_name_prefix="drawing")
"""One thread for all tabs: ten of them take no more of the computer than one, each is only drawn less often."""

Found = TypeVar("Found")


def _unlocked(callback: Callable[[], Coroutine[Any, Any, None]]) -> Any:
    """Return a callback of bokeh's that leaves its document free meanwhile."""
    from bokeh.document import without_document_lock

    return without_document_lock(callback)


class Background:
    """Reads and draws for one tab, in the thread that all tabs share; what is shown is set in the server's loop.

    Parameters
    ----------
    document : Document
        The tab.
    complain : callable
        Given a sentence where the work failed, and an empty one when it works again.
    """

    def __init__(self, document: Document, complain: Callable[[str], None]) -> None:
        self._document, self._complain = document, complain
        self._open, self._failed = True, False
        self._busy = self._unshown = False
        self._rest_until_s = 0.0
        document.on_session_destroyed(self._closed)

    def keep_up(self, look: Callable[[], Found | None], show: Callable[[Found], None]) -> None:
        """Call `look` once a second, less often where it takes long, and `show` with what it returned, unless None."""

        @_unlocked
        async def tick() -> None:
            # A browser that is still busy with the last pictures gets no more of them.
            if self._busy or self._unshown or time.monotonic() < self._rest_until_s:
                return
            self._busy = True
            begin_s = time.monotonic()
            try:
                await self._do(look, show)
            finally:
                self._busy = False
                self._rest_until_s = time.monotonic() + REST * (time.monotonic() - begin_s)

        self._document.add_next_tick_callback(tick)
        self._document.add_periodic_callback(tick, POLL_MS)

    def once(self, look: Callable[[], Found | None], show: Callable[[Found], None]) -> None:
        """Call `look` as soon as the thread is free, and `show` with what it returned, unless None."""

        @_unlocked
        async def now() -> None:
            await self._do(look, show)

        self._document.add_next_tick_callback(now)

    async def _do(self, look: Callable[[], Found | None], show: Callable[[Found], None]) -> None:
        try:
            found = await asyncio.get_running_loop().run_in_executor(_drawing, look)
        except (EasyZlocError, OSError) as error:  # told on the page: what is read may be taken away under it
            self._then(partial(self._complain, str(error)))
            self._failed = True
            return
        if self._failed:
            self._then(partial(self._complain, ""))
            self._failed = False
        if found is not None:
            self._then(partial(show, found))

    def _then(self, show: Callable[[], None]) -> None:
        """Call `show` when the tab takes something again."""

        def shown() -> None:
            self._unshown = False
            show()

        if self._open:
            self._unshown = True
            self._document.add_next_tick_callback(shown)

    def _closed(self, _context: Any) -> None:
        self._open = False
