"""Outputs are claimed before work starts and appear only when they are whole."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from easyzloc_mm.errors import InputError
from easyzloc_mm.typing import IfExists, IfExistsResume


def check_output(path: Path, *, if_exists: IfExistsResume) -> Path:
    """Refuse an existing output, or one whose folder does not exist, before any work is done.

    Raises
    ------
    InputError
        `path` exists and `if_exists` is 'error', or its parent folder is missing.
    """
    path = Path(path)
    if path.exists() and if_exists == "error":
        raise InputError(f"{path} already exists: choose another `out`, or `if_exists='overwrite'`")
    if not path.absolute().parent.is_dir():
        raise InputError(f"the folder {path.absolute().parent} does not exist: create it, or choose another `out`")
    return path


def remove(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def whole_or_nothing(path: Path, *, if_exists: IfExists = "error") -> Iterator[Path]:
    """Give a hidden sibling to write to; it takes the place of `path` on success and is removed on any error.

    For results that are computed. Streams (live runs, bead stacks) are written in place instead, since what was
    acquired must stay readable after a crash.
    """
    path = check_output(path, if_exists=if_exists)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        yield draft
        remove(path)
        draft.rename(path)
    finally:
        remove(draft)


def claim_stream(path: Path, *, if_exists: IfExistsResume = "error") -> Path:
    """Clear the way for a stream that is written in place, so that what was acquired survives a crash."""
    path = check_output(path, if_exists=if_exists)
    remove(path)
    return path
