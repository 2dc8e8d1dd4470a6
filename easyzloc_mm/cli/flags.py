"""Messages of the library in the words of the command line: `` `pixel_size_nm` `` becomes ``--pixel-size-nm``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import typer

NAMED = re.compile(r"`(?:if_exists='(\w+)'|(\w+))`")


def in_flags(text: str, app: typer.Typer, arguments: Sequence[str]) -> str:
    """Message with every parameter that it names in backticks written as the flag of that name.

    Parameters
    ----------
    text : str
        As the library raised it: `` `name` `` is a parameter, `` `if_exists='overwrite'` `` one of its choices.
    app : Typer
        The program. A name that none of its commands has as an option stays as it is.
    arguments : sequence of str
        What the program was called with: the options of this command come first.
    """
    command = typer.main.get_command(app)
    flags: dict[str, str] = {}
    for other in _walk(command):
        flags.update(_options(other))
    # A command's own name in backticks stays a command, wherever an option has the same name.
    flags = {name: flag for name, flag in flags.items() if name not in getattr(command, "commands", {})}
    for token in arguments:
        if token in getattr(command, "commands", {}):
            command = command.commands[token]  # type: ignore[attr-defined]
    flags.update(_options(command))

    def flag(found: re.Match[str]) -> str:
        choice, name = found.groups()
        return f"--{choice}" if choice else flags.get(name, found.group(0))

    return NAMED.sub(flag, text)


def _walk(command: object) -> Iterator[object]:
    yield command
    for child in getattr(command, "commands", {}).values():
        yield from _walk(child)


def _options(command: object) -> dict[str, str]:
    """Parameter, and long option without dashes, to the flag as it is typed."""
    found: dict[str, str] = {}
    for parameter in getattr(command, "params", ()):
        longest = max(parameter.opts, key=len)
        if longest.startswith("--"):
            found[parameter.name] = found[longest[2:].replace("-", "_")] = longest
    return found
