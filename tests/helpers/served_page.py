"""The process of a page, as a live run begins one, and its buttons as a browser asks for them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from easyzloc_mm.monitor.actions import HEADER
from easyzloc_mm.monitor.beside import TOKEN
from tests.helpers.patience import PATIENCE_S

SECRET = "secret"
GARBAGE = (b"\x00" * 200, b"GET / HTTP/9.9\r\n\r\n", b"POST /do/stop HTTP/1.1\r\nContent-Length: 99999\r\n\r\nx")
"""What nobody should send to a page."""


@contextmanager
def page_of(*arguments: str, token: str = SECRET) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process of a page as a live run begins one, and its address."""
    page = subprocess.Popen(
        [sys.executable, "-m", "easyzloc_mm", "monitor", *arguments, "--port", "0"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, TOKEN: token},
    )  # fmt: skip
    with page:
        assert page.stdout is not None
        assert page.stdin is not None
        try:
            yield page, page.stdout.readline().split()[-1]
        finally:
            page.kill()


def send_garbage(address: str) -> None:
    """Send what is no request, and go away."""
    for garbage in GARBAGE:
        with socket.create_connection(("127.0.0.1", urlsplit(address).port or 0)) as line:
            line.sendall(garbage)


def asked(address: str, name: str, token: str = SECRET) -> tuple[int, str]:
    """What the server answers to a button."""
    base = address.partition("?")[0]
    request = urllib.request.Request(f"{base}do/{name}", method="POST", headers={HEADER: token})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
