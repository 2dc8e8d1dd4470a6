"""The `easyzloc-mm` program: its commands, and what a person sees when one fails."""

from __future__ import annotations

import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from types import FrameType

import typer
import typer.exceptions
from typer.models import CommandInfo

from easyzloc_mm._version import __version__
from easyzloc_mm.cli.command import Command, Group
from easyzloc_mm.cli.commands.begin import demo, instrument, start
from easyzloc_mm.cli.commands.checks import bench, bench_optics, simulate, support
from easyzloc_mm.cli.commands.files import beads, localize, refresh, training
from easyzloc_mm.cli.commands.microscope import calibrate, camera, live, monitor
from easyzloc_mm.cli.commands.results import correct, measures, pictures
from easyzloc_mm.cli.flags import in_flags
from easyzloc_mm.cli.notices import notices
from easyzloc_mm.errors import EasyZlocError, EasyZlocWarning
from easyzloc_mm.io.reading import refused

INTERRUPTED = 130
PANELS = {
    "Begin here": (start, demo, instrument),
    "At the microscope": (calibrate, live, monitor, camera),
    "On files": (beads, training, localize, refresh),
    "With a localisation table": (correct, pictures, measures),
    "Checks, and data of known truth": (support, simulate, bench, bench_optics),
}
"""Commands by the step that a person takes, as `--help` shows them."""

app = typer.Typer(
    name="easyzloc-mm",
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _root(
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error (may stand anywhere)."),
) -> None:
    """3D single-molecule localisation at acquisition time, on the microscope you already own.

    New here? `easyzloc-mm start` asks what you want to do, and shows the commands that do it.
    """
    if version:
        typer.echo(__version__)
        raise typer.Exit


def _register() -> None:
    for panel, modules in PANELS.items():
        commands, groups = len(app.registered_commands), len(app.registered_groups)
        for module in modules:
            module.register(app)
        for command in app.registered_commands[commands:]:
            command.rich_help_panel = panel
            _show_in_words(command)
        for group in app.registered_groups[groups:]:
            group.rich_help_panel, group.cls = panel, Group
            assert group.typer_instance is not None
            for command in group.typer_instance.registered_commands:
                _show_in_words(command)


def _show_in_words(command: CommandInfo) -> None:
    if command.cls is None or not issubclass(command.cls, Command):
        command.cls = Command


_register()


def _raise_interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _warnings_in_flags(arguments: list[str]) -> Callable[..., None]:
    """Return the `warnings.showwarning` of a command: our own warnings on one line, none of other libraries."""

    def show(message: Warning | str, category: type[Warning], *_args: object, **_kwargs: object) -> None:
        if issubclass(category, EasyZlocWarning):
            notices.warn(in_flags(str(message), app, arguments))

    return show


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code.

    0 done, 2 bad input or usage, 3 hardware fault, 130 interrupted, 1 a mistake of ours.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    # A service manager's "stop" must leave the stage and the shutter as safe as Ctrl-C does; and Ctrl-C must be heard
    # also where the shell that started us has it ignored, as shells do for what runs in the background.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _raise_interrupt)
    notices.begin()
    if not debug:
        warnings.showwarning = _warnings_in_flags(arguments)
    try:
        outcome = app(args=arguments, prog_name="easyzloc-mm", standalone_mode=False)
    except EasyZlocError as error:
        return _failed(in_flags(str(error), app, arguments), error.exit_code, debug)
    except typer.exceptions.TyperException as error:
        return _failed(error.format_message(), 2, debug)
    except (KeyboardInterrupt, typer.Abort):
        outcome = INTERRUPTED
    except OSError as error:
        if error.errno is None or error.filename is None:  # not about a file: a mistake of ours, or of a library
            return _failed(_mistake(error), 1, debug)
        return _failed(refused(error), 2, debug)
    except ModuleNotFoundError as error:
        if (error.name or "easyzloc_mm").partition(".")[0] == "easyzloc_mm":
            return _failed(_mistake(error), 1, debug)
        return _failed(f"the package {error.name} is not installed, and this needs it: install it with pip", 2, debug)
    except Exception as error:
        return _failed(_mistake(error), 1, debug)
    if outcome == INTERRUPTED:  # typer itself may have turned Ctrl-C into this number
        return _failed("interrupted; what was acquired or finished is kept", INTERRUPTED, debug)
    return outcome if isinstance(outcome, int) else 0


def _mistake(error: Exception) -> str:
    return f"{type(error).__name__}: {error} (a mistake of ours: --debug shows where)"


def _failed(sentence: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    if sentence:  # empty when a bare command has already printed its help
        print(f"easyzloc-mm: {' '.join(sentence.split())}", file=sys.stderr, flush=True)
    return code
