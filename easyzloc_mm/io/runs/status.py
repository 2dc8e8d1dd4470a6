"""The state of a live run, beside its table: one small file, replaced as a whole, that a monitor may read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from easyzloc_mm.io.atomic import put_file

FILE = "status.json"


def write_status(run: Path, status: Mapping[str, Any]) -> None:
    """Put the state of `run` in place; does nothing where there is no run yet."""
    if Path(run).is_dir():
        put_file(Path(run) / FILE, json.dumps(status).encode())


def read_status(run: Path) -> dict[str, Any] | None:
    """Give the last state of `run`; None for one that was never live."""
    try:
        return dict(json.loads((Path(run) / FILE).read_text(encoding="utf-8")))
    except (FileNotFoundError, PermissionError, ValueError):  # not there, or just being replaced
        return None
