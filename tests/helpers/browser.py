"""A headless Chromium, driven over its DevTools protocol: what a person would see and press."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from tests.helpers.patience import PATIENCE_S, wait_until

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
WINDOW_PX = (1366, 768)
LARGEST_BYTES = 1 << 26
DEEP = """
function* deep(root) {
    for (const node of root.querySelectorAll("*")) {
        yield node;
        if (node.shadowRoot) yield* deep(node.shadowRoot);
    }
}
"""
"""Bokeh's widgets stand in shadow trees, which selectors do not enter."""


FIND = """
for (const node of deep(document)) {
    if (node.tagName !== "BUTTON" || node.disabled || node.textContent.trim() !== LABEL) continue;
    const box = node.getBoundingClientRect();
    return [box.x + box.width / 2, box.y + box.height / 2];
}
return null;
"""


class Tab:
    """One tab."""

    def __init__(self, loop: asyncio.AbstractEventLoop, socket: Any) -> None:
        self._loop, self._socket, self._numbers = loop, socket, count(1)

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Send a command of the protocol, and return its result."""

        async def ask() -> dict[str, Any]:
            number = next(self._numbers)
            await self._socket.write_message(json.dumps({"id": number, "method": method, "params": parameters}))
            while True:
                told = await self._socket.read_message()
                assert told is not None, "the browser has closed the tab"
                answer: dict[str, Any] = json.loads(told)
                if answer.get("id") == number:
                    assert "error" not in answer, answer["error"]
                    return dict(answer["result"])

        return self._loop.run_until_complete(asyncio.wait_for(ask(), PATIENCE_S))

    def evaluate(self, script: str) -> Any:
        """Return the value of an expression in the page."""
        done = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def text(self) -> str:
        """Everything that the page says."""
        leaves = "[...deep(document)].filter(node => !node.children.length && !/STYLE|SCRIPT/.test(node.tagName))"
        found = self.evaluate(f"(() => {{ {DEEP} return {leaves}.map(node => node.textContent).join('\\n'); }})()")
        return str(found)

    def press(self, label: str) -> None:
        """Press a button, with the mouse, where it stands."""
        place = None

        def there() -> bool:
            nonlocal place
            place = self.evaluate(f"(() => {{ {DEEP} {FIND.replace('LABEL', json.dumps(label))} }})()")
            return place is not None

        wait_until(there, f"a button '{label}'", pause_s=0.1)
        assert place is not None
        for event in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=event, x=place[0], y=place[1], button="left", clickCount=1)

    def screenshot(self, path: Path) -> None:
        """Write what is seen, .png."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """Run a browser while the block runs; skip the test where there is none.

    Parameters
    ----------
    folder : Path
        Where its own files go.
    """
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip(f"no browser is installed: one of {', '.join(PROGRAMS)}")
    home = tempfile.mkdtemp(dir=folder, prefix="browser-")
    process = subprocess.Popen(
        [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
         "--disable-dev-shm-usage", "--remote-debugging-port=0", f"--user-data-dir={home}",
         f"--window-size={WINDOW_PX[0]},{WINDOW_PX[1]}", "about:blank"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    loop = asyncio.new_event_loop()
    made = None
    try:
        told = Path(home) / "DevToolsActivePort"
        wait_until(lambda: told.is_file() and told.read_text().count("\n") >= 1, "the browser begins", pause_s=0.1)
        made = Browser(loop, told.read_text().split()[0])
        yield made
    finally:
        if made is not None:
            made.close()
        process.kill()
        process.wait()
        loop.close()
        shutil.rmtree(home, ignore_errors=True)


class Browser:
    """A browser that runs."""

    def __init__(self, loop: asyncio.AbstractEventLoop, port: str) -> None:
        self._loop, self._port, self._sockets = loop, port, list[Any]()

    def open(self, address: str) -> Tab:
        """Open a tab of the size of a laptop's screen."""
        from urllib.request import Request, urlopen

        with urlopen(
            Request(f"http://127.0.0.1:{self._port}/json/new?about:blank", method="PUT"), timeout=PATIENCE_S
        ) as r:
            target = json.loads(r.read())
        request = HTTPRequest(target["webSocketDebuggerUrl"], request_timeout=PATIENCE_S, connect_timeout=PATIENCE_S)

        async def connected() -> Any:
            return await websocket_connect(request, max_message_size=LARGEST_BYTES)

        socket = self._loop.run_until_complete(connected())
        self._sockets.append(socket)
        tab = Tab(self._loop, socket)
        width, height = WINDOW_PX
        tab.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        tab.call("Page.navigate", url=address)
        return tab

    def close(self) -> None:
        """Close the connections to all tabs."""

        async def closed() -> None:
            for socket in self._sockets:
                socket.close()
            await asyncio.sleep(0)

        self._loop.run_until_complete(closed())
