"""What calls for attention: shown at once, in colour, and again under the result, where it cannot scroll away."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


@dataclass
class Notices:
    """Warnings of the command that is running.

    Attributes
    ----------
    warnings : list of str
        Each once, in the order in which they came.
    scrolled : list of str
        Those that came while progress was shown, and may have scrolled out of sight.
    display : Console or None
        What the progress display writes to, while there is one.
    """

    warnings: list[str] = field(default_factory=list)
    scrolled: list[str] = field(default_factory=list)
    display: Console | None = None
    working: bool = False

    def begin(self) -> None:
        """Forget what an earlier command said."""
        self.__init__()  # type: ignore[misc]

    def warn(self, sentence: str) -> None:
        """Show a warning."""
        if sentence not in self.warnings:
            self.warnings.append(sentence)
            if self.working:
                self.scrolled.append(sentence)
        self.show(f"warning: {sentence}", "yellow")

    def show(self, line: str, style: str) -> None:
        """Write a line to standard error: above the bar if there is one, in colour on a terminal."""
        if self.display is None and not sys.stderr.isatty():
            print(line, file=sys.stderr, flush=True)
            return
        from rich.console import Console
        from rich.text import Text

        # Wrapped, never cut.
        (self.display or Console(stderr=True)).print(Text(line, style=style))


notices = Notices()
"""Those of this process: it runs one command at a time."""
