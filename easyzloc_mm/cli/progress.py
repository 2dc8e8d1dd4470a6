"""Progress while a command works: a bar with a clock on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from easyzloc_mm._alarms import split_alarms
from easyzloc_mm._log import ROOT, console_handler
from easyzloc_mm.cli.notices import notices
from easyzloc_mm.typing import Progress

if TYPE_CHECKING:
    from rich.console import Group

PLAIN_INTERVAL_S, STAGE_INTERVAL_S = 5.0, 1.0
"""Elsewhere than on a terminal: a line comes so often, and for a new stage no sooner than this after the last one."""
BAR_WIDTH = 24
LEAST_DONE, LEAST_S = 0.05, 3.0
"""Time left is told once so much of a step is done, in so many seconds."""
ALARM_STYLE = "bold white on red"


@contextmanager
def progress_display() -> Iterator[Progress]:
    """Give a callable ``(message, fraction)``: a bar on a terminal, plain lines elsewhere (both on stderr)."""
    notices.working = True
    try:
        with _on_terminal() if sys.stderr.isatty() else _in_lines() as show:
            yield show
    finally:
        notices.working, notices.display = False, None


@contextmanager
def connecting() -> Iterator[Progress]:
    """`progress_display` of a command that connects to the microscope first."""
    with progress_display() as show:
        show("connecting to the microscope", 0.0)
        yield show


@contextmanager
def _on_terminal() -> Iterator[Progress]:
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    bar = Bar()
    # It redirects standard error: lines of the log are printed above the bar.
    with Live(get_renderable=bar.draw, console=console, refresh_per_second=4), _log_shown():
        notices.display = console
        yield bar.show


@contextmanager
def _in_lines() -> Iterator[Progress]:
    lines = Lines()
    with _log_shown():
        yield lines.show


class Clock:
    """Time since the beginning, and the time that the present step will still take."""

    def __init__(self) -> None:
        self.begin_s = self._step_s = time.monotonic()
        self._first = self.fraction = 0.0

    def note(self, fraction: float) -> None:
        """Note the part that is done; where it falls, another step has begun."""
        fraction = min(max(fraction, 0.0), 1.0)
        if fraction < self.fraction:
            self._step_s, self._first = time.monotonic(), fraction
        self.fraction = fraction

    def words(self) -> str:
        """``0:01:23 gone, 0:00:45 left of this step``."""
        now = time.monotonic()
        text = f"{_clock(now - self.begin_s)} gone"
        done, taken = self.fraction - self._first, now - self._step_s
        if done < LEAST_DONE or taken < LEAST_S or self.fraction >= 1:
            return text
        return f"{text}, {_clock(taken * (1 - self.fraction) / done)} left of this step"


class Bar:
    """Bar, percent and clock in one line of at most 80 columns, alarms above and the message below, both wrapped."""

    def __init__(self) -> None:
        self._clock, self._message = Clock(), "starting"
        self._alarms: tuple[str, ...] = ()

    def show(self, message: str, fraction: float) -> None:
        """Take the latest state; it is drawn four times a second, whether there is news or not."""
        self._message, self._alarms = split_alarms(message)
        self._clock.note(fraction)

    def draw(self) -> Group:
        """Return what stands on the terminal now."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        line = Table.grid(padding=(0, 1))
        share = self._clock.fraction
        line.add_row(
            ProgressBar(total=1.0, completed=share, width=BAR_WIDTH),
            Text(f"{share:4.0%}", style="progress.percentage", no_wrap=True),
            Text(self._clock.words(), no_wrap=True),
        )
        return Group(*(Text(f"! {alarm}", style=ALARM_STYLE) for alarm in self._alarms), line, Text(self._message))


class Lines:
    """Plain lines, few: for files, pipes and service managers."""

    def __init__(self) -> None:
        # What is refused at once is refused in one line.
        self._clock, self._last_s, self._stage = Clock(), time.monotonic(), "begin"
        self._told: set[str] = set()

    def show(self, message: str, fraction: float) -> None:
        """Print the state, if it is time; an alarm at once, the first time that it is raised."""
        message, alarms = split_alarms(message)
        self._clock.note(fraction)
        # Counts differ from one alarm to the next of the same kind.
        for alarm in alarms:
            kind = re.sub(r"\d+", "", alarm)
            if kind not in self._told:
                self._told.add(kind)
                notices.show(f"! {alarm}", ALARM_STYLE)
        stage = re.sub(r"\d+", "", message.rpartition(":")[0])
        wait_s = STAGE_INTERVAL_S if stage != self._stage else PLAIN_INTERVAL_S
        now = time.monotonic()
        if now - self._last_s < wait_s:
            return
        self._last_s, self._stage = now, stage
        print(f"{self._clock.fraction:4.0%} {message} ({self._clock.words()})", file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


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
