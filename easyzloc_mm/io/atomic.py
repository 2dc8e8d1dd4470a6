"""Atomic writes of small files: the old content or the new one, and nothing between."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPLACE_S = 2.0
"""Windows refuses to replace a file that someone is reading at that moment; readers are quick."""


@contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Give a hidden sibling to write to; it takes the place of `path` on success and is removed on any error.

    Parameters
    ----------
    path : Path
        File to put in place, whether it exists or not.
    durable : bool
        Wait until the content is on the disk, so that it also survives a power failure.
    """
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        yield draft
        if durable:
            with draft.open("rb+") as file:
                os.fsync(file.fileno())
        _replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def put_file(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Write a file so that a reader, or a crash, sees the old content or the new one (`replacing`)."""
    with replacing(path, durable=durable) as draft:
        draft.write_bytes(content)


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
