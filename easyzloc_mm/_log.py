"""The log of a run: a file beside its data, written by a thread of its own, so that no frame ever waits for it.

Every module logs to ``logging.getLogger(__name__)``: steps and settings as INFO, single device calls as DEBUG. Nothing
is shown or kept unless a program asks for it (`console_handler`) or a run is under way (`run_log`).
"""

from __future__ import annotations

import contextlib
import json
import logging
import logging.handlers
import os
import platform
import queue
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from easyzloc_mm._version import __version__
from easyzloc_mm.errors import EasyZlocWarning

FILE = "log.txt"
"""Name of the log inside a store or a folder of results."""
ROOT = "easyzloc_mm"
WARNINGS = f"{ROOT}.warnings"
FORMAT = "%(asctime)s.%(msecs)03d %(levelname)-7s [%(processName)s, %(threadName)s] %(name)s: %(message)s"
DATES = "%Y-%m-%d %H:%M:%S"

logger = logging.getLogger(__name__)
logging.getLogger(ROOT).addHandler(logging.NullHandler())  # else Python prints what has no handler to standard error

_lock = threading.Lock()


class RunLog:
    """Collects what the package logs; from `write_to` on it stands in a file.

    Parameters
    ----------
    title : str
        What is logged: "live run", "calibration".
    settings : mapping
        Written at the head of the file: profile, options, versions. Anything that is no plain value is written as text.
    """

    def __init__(self, title: str, settings: Mapping[str, object]) -> None:
        self._head = _head(title, settings)
        self._records: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.handler = logging.handlers.QueueHandler(self._records)
        self._listener: logging.handlers.QueueListener | None = None
        self._file: _LogFile | None = None

    def write_to(self, path: Path) -> None:
        """Write to this file from now on, and what was logged before; an earlier log there is continued.

        A file that cannot be written is a warning in the console's log, and ends nothing.
        """
        if self._listener is not None:
            return
        try:
            with path.open("a", encoding="utf-8") as begun:
                begun.write(self._head)
            file = _LogFile(path, mode="a", encoding="utf-8")
        except OSError as error:
            logger.warning("the log %s cannot be written: %s", path, error)
            return
        file.setFormatter(logging.Formatter(FORMAT, DATES))
        self._file = file
        self._listener = logging.handlers.QueueListener(self._records, file)
        self._listener.start()

    def close(self) -> None:
        """Write what is left and close the file."""
        if self._listener is not None:
            self._listener.stop()
            self._listener = None
        if self._file is not None:
            self._file.close()
            self._file = None


class _LogFile(logging.FileHandler):
    """A log file whose own faults, such as a full disk, stay its own."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's name
        """Drop the record."""

    def close(self) -> None:
        """Close the file, whatever of it could be written."""
        with contextlib.suppress(OSError):
            super().close()


@contextlib.contextmanager
def run_log(title: str, settings: Mapping[str, object], path: Path | None = None) -> Iterator[RunLog]:
    """Log everything inside, Python's warnings and the error that ends it included.

    Parameters
    ----------
    title : str
        What is logged.
    settings : mapping
        For the head of the file.
    path : Path, optional
        File to write to at once. Without it records wait in memory for `RunLog.write_to`, and are dropped if it is
        never called, as where a run could not begin.
    """
    package = logging.getLogger(ROOT)
    log = RunLog(title, settings)
    with _lock:
        level = package.level
        package.setLevel(logging.DEBUG)
        package.addHandler(log.handler)
    if path is not None:
        log.write_to(path)
    try:
        with _warnings_logged():
            logger.info("%s begins", title)
            try:
                yield log
            except KeyboardInterrupt:
                logger.info("%s was interrupted", title)
                raise
            except BaseException as error:
                logger.error("%s ended with %s", title, type(error).__name__, exc_info=True)
                raise
            logger.info("%s is done", title)
    finally:
        with _lock:
            package.removeHandler(log.handler)
            package.setLevel(level)
        log.close()


@contextlib.contextmanager
def _warnings_logged() -> Iterator[None]:
    """Log Python's warnings as well as showing them; inside another such block, only that one logs."""
    shown = warnings.showwarning
    if getattr(shown, "logs", False):
        yield
        return

    def log_and_show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        _log_warning(message, category, filename, lineno)
        shown(message, category, filename, lineno, file, line)

    log_and_show.logs = True  # type: ignore[attr-defined]
    warnings.showwarning = log_and_show
    try:
        yield
    finally:
        if warnings.showwarning is log_and_show:
            warnings.showwarning = shown


def _log_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    where = "" if issubclass(category, EasyZlocWarning) else f" ({category.__name__}, {filename}:{lineno})"
    logging.getLogger(WARNINGS).warning("%s%s", message, where)


def send_records(send: Callable[[logging.LogRecord], None]) -> None:
    """Send what this process logs, and its warnings, to another one instead of showing it.

    Parameters
    ----------
    send : callable
        Given each record, formatted, so that it can be pickled.
    """
    package = logging.getLogger(ROOT)
    package.addHandler(_Sender(send))
    package.setLevel(logging.INFO)
    warnings.showwarning = _log_warning


class _Sender(logging.Handler):
    def __init__(self, send: Callable[[logging.LogRecord], None]) -> None:
        super().__init__()
        self._send = send
        self._format = logging.handlers.QueueHandler(queue.SimpleQueue())

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record; where nobody takes it any more, this process ends anyway."""
        with contextlib.suppress(OSError):
            self._send(self._format.prepare(record))


def console_handler(stream: TextIO | None = None, *, debug: bool = False) -> logging.Handler:
    """Return a handler that shows what the package logs as plain lines on standard error.

    INFO only: warnings and errors reach a person by other ways already. Not for use beside a progress bar. Add it to
    ``logging.getLogger("easyzloc_mm")``, whose level it sets.

    Parameters
    ----------
    stream : file, optional
        In place of standard error.
    debug : bool
        Show everything, with time, module and traceback.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    if debug:
        handler.setFormatter(logging.Formatter(FORMAT, DATES))
    else:
        handler.addFilter(lambda record: record.levelno == logging.INFO)
    handler.setLevel(logging.DEBUG if debug else logging.INFO)
    logging.getLogger(ROOT).setLevel(handler.level)
    return handler


def environment() -> dict[str, str]:
    """Return the facts about this computer that explain a run's behaviour: system, Python, processors."""
    return {
        "easyzloc_mm": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": platform.machine(),
        "processors": str(os.cpu_count()),
    }


def _head(title: str, settings: Mapping[str, object]) -> str:
    facts = {"started": datetime.now().astimezone().isoformat(timespec="seconds"), **environment()}
    lines = [f"# {title}", *(f"# {key}: {value}" for key, value in facts.items())]
    lines += [f"# {key}: {json.dumps(value, default=str, ensure_ascii=False)}" for key, value in settings.items()]
    return "\n".join(lines) + "\n"
