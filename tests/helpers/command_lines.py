"""Command lines as documents and the wizard show them, held against the program's own parser."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import typer

from easyzloc_mm.cli.app import app


def parse(arguments: Sequence[str]) -> None:
    """Parse a command without running it; raises where a command, an option or an argument is wrong."""
    context: Any = None
    command: Any = typer.main.get_command(app)
    rest = list(arguments)
    while hasattr(command, "commands"):
        name, *rest = rest
        context = typer.Context(command, parent=context, info_name=command.name)
        command = command.commands[name]
    with command.make_context(command.name, rest, parent=context):
        pass


def commands_of(document: Path) -> Iterator[list[str]]:
    """Give the arguments of every `easyzloc-mm` line in a document's code blocks, comments left out."""
    text = document.read_text(encoding="utf-8")
    for block in re.findall(r"^ *```(?:\w+)?\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE):
        for line in block.splitlines():
            for part in line.split("&&"):
                # Backslashes are of Windows' paths.
                words = shlex.split(part.replace("\\", "/"), comments=True) if "easyzloc-mm " in part else []
                if words and words[0] == "easyzloc-mm":
                    yield words[1:]
