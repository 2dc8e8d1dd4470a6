"""What commands print: progress while they work, a short table at the end, and JSON for programs."""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from easyzloc_mm._log import ROOT, console_handler
from easyzloc_mm.errors import InputError
from easyzloc_mm.typing import IfExists, IfExistsResume, Progress

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")]
OverwriteFlag = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")]
ProfileOption = Annotated[
    str, typer.Option("--profile", "-p", help="Hardware profile: a .toml file, or the name of a shipped one.")
]

PLAIN_INTERVAL_S = 5.0


def existing(overwrite: bool) -> IfExists:
    """`if_exists` of the library, from the flag."""
    return "overwrite" if overwrite else "error"


def existing_or_resume(overwrite: bool, resume: bool) -> IfExistsResume:
    """`if_exists` of the library, from two flags that exclude each other."""
    if overwrite and resume:
        raise InputError("`overwrite` and `resume` exclude each other: give one of them")
    return "resume" if resume else existing(overwrite)


@contextmanager
def progress_display() -> Iterator[Progress]:
    """Give a callable ``(message, fraction)``: a bar on a terminal, plain lines elsewhere (both on stderr)."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars

        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        # The bar redirects standard error: lines of the log are printed above it.
        with Bars(*columns, console=Console(stderr=True)) as bars, _log_shown():
            task = bars.add_task("starting", total=1.0)

            def on_terminal(message: str, fraction: float) -> None:
                bars.update(task, description=message, completed=min(max(fraction, 0.0), 1.0))

            yield on_terminal
        return

    shown: dict[str, float] = {}

    def in_lines(message: str, fraction: float) -> None:
        now = time.monotonic()
        stage = message.split(":")[0]
        if now - shown.get(stage, -math.inf) >= PLAIN_INTERVAL_S:
            shown[stage] = now
            print(f"{fraction:4.0%} {message}", file=sys.stderr, flush=True)

    with _log_shown():
        yield in_lines


@contextmanager
def _log_shown() -> Iterator[None]:
    """Show what the package logs at INFO, as long as a command works."""
    package = logging.getLogger(ROOT)
    level = package.level
    handler = console_handler()
    package.addHandler(handler)
    try:
        yield
    finally:
        package.removeHandler(handler)
        package.setLevel(level)


def plain(value: Any) -> Any:
    """Turn numpy numbers, paths and nested containers into what JSON holds; a number that is not finite is null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def finish(result: Mapping[str, Any], *, as_json: bool, title: str = "") -> None:
    """Print a result: a two-column table, or one JSON object as the last line."""
    result = plain(result)
    if as_json:
        print(json.dumps(result, allow_nan=False), flush=True)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title or None, show_header=False, title_justify="left")
    for key, value in result.items():
        if key == "schema_version":
            continue
        if not isinstance(value, dict | list):
            table.add_row(key.replace("_", " "), _cell(value))
        elif isinstance(value, dict) and value and not any(isinstance(v, dict | list) for v in value.values()):
            table.add_row(key.replace("_", " "), ", ".join(f"{name} {_cell(item)}" for name, item in value.items()))
    Console(soft_wrap=True).print(table)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)
