"""What the tabs of a run may do with its token: stop it while it runs, begin the next step when it is over."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.runs.localizations import holds_localizations, read_metadata
from easyzloc_mm.monitor.actions import Deed, Offer, button
from easyzloc_mm.monitor.follow.run import Phase, phase_of
from easyzloc_mm.monitor.pages.run import Controls
from easyzloc_mm.monitor.steps import Launcher, Step, next_steps

STEPS = ("undrift", "render", "report", "localize", "live")
STOP = Offer("stop", "stop the run", "press again to stop the run")


class RunControls:
    """The buttons of one run, the same for all tabs of a server.

    Parameters
    ----------
    run : Path
    stop : callable or None
        Ends the run; None where it was not begun beside this page.
    launcher : Launcher
    """

    def __init__(self, run: Path, stop: Callable[[], None] | None, launcher: Launcher) -> None:
        self._run, self._stop, self._launcher = run, stop, launcher
        self._stopping = False

    def deeds(self) -> dict[str, Deed]:
        """Return what may be asked for, by name."""
        return {STOP.name: self._end, **{name: partial(self._begin, name) for name in STEPS}}

    def of_tab(self, token: str) -> Controls:
        """Return the controls of a tab that has the token."""

        def made(offer: Offer, answer: Any) -> Any:
            return button(offer, answer, token)

        return Controls(self._offers, made, lambda: self._stopping, self._launcher.state, self._launcher.page)

    def _offers(self, phase: Phase) -> tuple[Offer, ...]:
        if self._stop is not None and phase in (Phase.WAITING, Phase.IMAGING):
            return (STOP,)
        if phase.at_work or phase is Phase.WAITING:
            return ()
        return tuple(Offer(step.name, step.label) for step in self._steps())

    def _steps(self) -> list[Step]:
        return next_steps(self._run, read_metadata(self._run) if holds_localizations(self._run) else None)

    def _end(self) -> str:
        if self._stop is None:
            raise InputError("this page was not begun by its run, and cannot stop it: use Ctrl-C where it was begun")
        if not self._stopping:
            self._stopping = True
            self._stop()
        return "stopping: what came is kept"

    def _begin(self, name: str) -> str:
        metadata = read_metadata(self._run) if holds_localizations(self._run) else None
        phase = phase_of(self._run, metadata)
        if phase.at_work or phase is Phase.WAITING:
            raise InputError(f"{self._run.name} is still at work ({phase}): what comes next begins when it is over")
        for step in next_steps(self._run, metadata):
            if step.name == name:
                return self._launcher.start(step)
        raise InputError(f"there is nothing to {name} any more, or not yet, for {self._run.name}")
