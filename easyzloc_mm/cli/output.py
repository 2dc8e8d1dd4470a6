"""What commands print at the end: a short table, what calls for attention, and JSON for programs."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from easyzloc_mm.cli.notices import notices
from easyzloc_mm.cli.progress import ALARM_STYLE
from easyzloc_mm.errors import InputError
from easyzloc_mm.typing import IfExists, IfExistsResume

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")]
OverwriteFlag = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")]
ExcessNoiseOption = Annotated[
    float | None, typer.Option("--excess-noise", min=1, max=4, help="Of an EMCCD whose EM gain is on: 2; else 1.")
]
ProfileOption = Annotated[
    str, typer.Option("--profile", "-p", help="Hardware profile: a .toml file, or the name of a shipped one.")
]


def existing(overwrite: bool) -> IfExists:
    """`if_exists` of the library, from the flag."""
    return "overwrite" if overwrite else "error"


def existing_or_resume(overwrite: bool, resume: bool) -> IfExistsResume:
    """`if_exists` of the library, from two flags that exclude each other."""
    if overwrite and resume:
        raise InputError("`overwrite` and `resume` exclude each other: give one of them")
    return "resume" if resume else existing(overwrite)


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
    """Print a result: a two-column table with what calls for attention below it, or one JSON object as the last line.

    Parameters
    ----------
    result : mapping
        Figures by name. ``alarms`` are sentences, and stand below the table.
    as_json : bool
        JSON, with the command's ``warnings`` where there were any.
    title : str
        Of the table.
    """
    result = plain(result)
    if as_json:
        said = {"warnings": notices.warnings} if notices.warnings else {}
        print(json.dumps({**result, **said}, allow_nan=False), flush=True)
        return
    alarms: list[str] = result.get("alarms", [])
    _print_table(result, title, alarms)
    _print_notices(alarms, notices.scrolled)


TOLD_IF_ANY = (
    "fits_rejected", "p95_latency_s", "most_waiting", "catch_up_s", "workers_replaced", "focus_moves", "pauses",
    "paused_s",
)  # fmt: skip
"""Of a run's figures; where they are zero nobody asks for them."""
UNITS = {
    "nm": "nm", "um": "µm", "um2": "µm²", "px": "px", "ms": "ms", "s": "s", "mb": "MB", "gb": "GB", "adu": "ADU",
    "e": "e-", "rad": "rad",
}  # fmt: skip
"""At the ends of names, and as people write them."""
WIDE = 10_000
"""Characters of a line where there is no terminal."""


def in_short(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return what people are told of a run."""
    return {name: value for name, value in figures.items() if value or name not in TOLD_IF_ANY}


def _print_table(result: Mapping[str, Any], title: str, alarms: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    terminal = sys.stdout.isatty()
    heading = Text(f"{title}, but look at the lines below" if title and alarms else title)
    if alarms:
        heading.stylize(ALARM_STYLE)
    # On a terminal long values are folded into their column; elsewhere nothing is broken, or cut.
    value_column = Column(overflow="fold") if terminal else Column(no_wrap=True)
    table = Table(
        Column(no_wrap=True), value_column, title=heading if title else None, show_header=False, title_justify="left"
    )
    for key, value in result.items():
        if key == "schema_version":
            continue
        if not isinstance(value, dict | list) or _is_interval(key, value):
            table.add_row(Text(_label(key)), Text(_cell(value)))
        elif isinstance(value, dict) and value and not any(isinstance(v, dict | list) for v in value.values()):
            listed = ", ".join(f"{name} {_cell(item)}" for name, item in value.items())
            table.add_row(Text(_label(key)), Text(listed))
    Console(soft_wrap=not terminal, width=None if terminal else WIDE).print(table)


def _print_notices(alarms: Sequence[str], warned: Sequence[str]) -> None:
    """Print what must not be overlooked as the very last lines, wrapped and never cut."""
    if not (alarms or warned):
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=not sys.stdout.isatty())
    for sentence in warned:
        console.print(Text(f"warning: {sentence}", style="yellow"))
    for sentence in alarms:
        console.print(Text(f"! {sentence}", style=ALARM_STYLE))


def _label(key: str) -> str:
    """Return the name of a figure as people read it: ``rmse_z_nm`` is "rmse z (nm)"."""
    *words, last = [UNITS.get(word, word) for word in key.split("_")]
    if words and words[-1] != "per" and last in UNITS.values():
        return f"{' '.join(words)} ({last})"
    return " ".join([*words, last])


def _is_interval(name: str, value: object) -> bool:
    """Whether a value is the two ends of an interval, such as a confidence interval, by its name."""
    return isinstance(value, list) and len(value) == 2 and ("_ci_" in name or "range" in name)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return " to ".join(map(_cell, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)
