"""Atomic writes of small files, and what brings them to the device: every file of a store goes through here.

A file appears whole or not at all (`put_file`). Whether it also survives a power cut is another matter: its content,
and its name in its folder, are on the device only after `sync_file` and `sync_folder`.
"""

from __future__ import annotations

import errno
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

logger = logging.getLogger(__name__)

Given = TypeVar("Given")

REPLACE_S = 2.0
"""Windows refuses to replace a file that someone is reading at that moment; readers are quick."""
SHARE_S = 10.0
"""How long a network share may be away. Longer than that, and the frames that wait would fill the memory."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0
PASSING = {
    getattr(errno, name)
    for name in ("EIO", "EREMOTEIO", "ESTALE", "ETIMEDOUT", "ENETDOWN", "ENETUNREACH", "ENETRESET", "ECONNRESET",
                 "ECONNABORTED", "EHOSTDOWN", "EHOSTUNREACH", "ENOTCONN")
    if hasattr(errno, name)
}  # fmt: skip
"""Errors of a share whose server or network is away for a moment. A full disk is none of them."""
PASSING_ON_WINDOWS = {51, 53, 54, 55, 59, 64, 121, 1117, 1231, 1232, 1236}
"""The same as Windows numbers them (``OSError.winerror``)."""


@contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Give a hidden sibling to write to; it takes the place of `path` on success and is removed on any error.

    Parameters
    ----------
    path : Path
        File to put in place, whether it exists or not.
    durable : bool
        Wait until the content is on the device before it takes the place of `path`: whatever a power cut leaves under
        that name, is the old file or the new one. Which of them, is decided by `sync_folder`.
    """
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        yield draft
        if durable:
            sync_file(draft)
        _replace(draft, path)
    except BaseException:
        with suppress(OSError):  # a disk that takes no file may not let go of one either; the error is the first one
            draft.unlink(missing_ok=True)
        raise


def put_file(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Write a file so that a reader, or a crash, sees the old content or the new one (`replacing`, `patiently`)."""

    def put() -> None:
        with replacing(path, durable=durable) as draft:
            write_draft(draft, content)

    patiently(put, path)


def patiently(act: Callable[[], Given], path: Path) -> Given:
    """Do something with a file, again for up to `SHARE_S` where a network share is away for a moment (`PASSING`).

    Parameters
    ----------
    act : callable
        Does everything anew when called again: after a failed write the system may have dropped what it had.
    path : Path
        For the log.
    """
    deadline, pause_s = time.monotonic() + SHARE_S, FIRST_PAUSE_S
    while True:
        try:
            return act()
        except OSError as error:
            passing = error.errno in PASSING or getattr(error, "winerror", None) in PASSING_ON_WINDOWS
            if not passing or time.monotonic() + pause_s > deadline:
                raise
            logger.warning("%s: %s; tried again", path, error)
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def write_draft(draft: Path, content: bytes) -> None:
    """Write the file that is then put in place."""
    draft.write_bytes(content)


def sync_file(path: Path) -> None:
    """Wait until the content of a file is on the device."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the device; Windows keeps them so by itself, and knows no such call."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(path: Path) -> None:
    """Wait until a file, or a folder with all that is in it, and its name are on the device."""
    inside = sorted(path.rglob("*"), reverse=True) if path.is_dir() else []  # what is in a folder before the folder
    for entry in (*inside, path):
        if entry.is_dir():
            sync_folder(entry)
        else:
            sync_file(entry)
    sync_folder(path.parent)


def disk_fault(error: BaseException, out: Path) -> str:
    """Say why nothing more could be written to `out`."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return f"the disk of {out} is full: free some space, or write elsewhere with `out`"
    return f"{out} could not be written ({error}): check the disk or the network share, or write elsewhere with `out`"


def _replace(draft: Path, path: Path) -> None:
    deadline = time.monotonic() + REPLACE_S
    while True:
        try:
            draft.replace(path)
            return
        except PermissionError:
            if os.name != "nt" or time.monotonic() > deadline:
                raise
            time.sleep(0.005)
