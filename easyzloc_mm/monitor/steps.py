"""What may come after a run: the commands, and a process of its own for the one that was chosen."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from easyzloc_mm._processes import own_group
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.io.writing.kinds import holds_raw_frames
from easyzloc_mm.io.writing.output import free_name

AGAIN = "EASYZLOC_PAGE_LIVE"
"""Environment variable that tells a page how its live run was begun: a JSON list, the command without its `--out`."""
HEAD_BYTES, TAIL_BYTES = 1 << 16, 4000
ADDRESS = re.compile(r"http://\S+")
FRAME = re.compile("[\u2500-\u257f]")
"""What the lines of a command's table begin with."""


@dataclass(frozen=True)
class Step:
    """A command that may come next.

    Attributes
    ----------
    name : str
    label : str
        Of its button.
    command : tuple of str
        What follows ``easyzloc-mm``.
    """

    name: str
    label: str
    command: tuple[str, ...]

    @property
    def line(self) -> str:
        """The command as a person types it."""
        parts = ["easyzloc-mm", *self.command]
        return subprocess.list2cmdline(parts) if os.name == "nt" else shlex.join(parts)


def next_steps(run: Path, metadata: RunMetadata | None) -> list[Step]:
    """Return what may come after a run that is over; what is there already is not offered again.

    Parameters
    ----------
    run : Path
    metadata : RunMetadata or None
        None for a run without a single localisation.
    """
    steps: list[Step] = []
    best = run
    if metadata is not None:
        corrected = run.with_name(f"{run.stem}.undrifted.zarr")
        if corrected.exists():
            best = corrected
        elif not metadata.drift_corrected:
            steps.append(Step("undrift", "correct the drift", ("undrift", str(run))))
        picture, report = best.with_suffix(".png"), best.with_name(f"{best.stem}_report")
        if not picture.exists():
            steps.append(Step("render", "draw the picture", ("render", str(best), "--out", str(picture))))
        if not report.exists():
            steps.append(Step("report", "write the report", ("report", str(best))))
        model = metadata.model
        if holds_raw_frames(run) and model is not None and model.path and Path(model.path).is_dir():
            again = str(free_name(run, "again"))
            command = ("localize", str(run), "--model", model.path, "--out", again)
            steps.append(Step("localize", "localise again", command))
    begun = json.loads(os.environ.get(AGAIN, "[]"))
    if begun:
        out = str(free_name(run, "next"))
        steps.append(Step("live", "another live run", (*begun, "--out", out, "--monitor")))
    return steps


class Launcher:
    """Runs one step at a time, each a process that outlives the page.

    Parameters
    ----------
    say : callable
        Given the command that is run.
    program : sequence of str
        What is called with a step's command.
    """

    def __init__(
        self, say: Callable[[str], None], program: Sequence[str] = (sys.executable, "-m", "easyzloc_mm")
    ) -> None:
        self._say, self._program = say, tuple(program)
        self._step: Step | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._output: Path | None = None

    @property
    def running(self) -> bool:
        """Whether a step is still at work."""
        return self._process is not None and self._process.poll() is None

    def start(self, step: Step) -> str:
        """Begin a step; return what is said of it.

        Raises
        ------
        InputError
            Another one is still at work.
        """
        if self.running and self._step is not None:
            raise InputError(f"one after the other: `{self._step.line}` is still at work")
        handle, name = tempfile.mkstemp(prefix=f"easyzloc-{step.name}-", suffix=".txt")
        with os.fdopen(handle, "wb") as output:
            self._process = subprocess.Popen(
                [*self._program, *step.command], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                env={key: value for key, value in os.environ.items() if not key.startswith("EASYZLOC_PAGE")}
                | {"PYTHONUTF8": "1"},
                **own_group(),
            )  # fmt: skip
        self._step, self._output = step, Path(name)
        self._say(step.line)
        return f"runs: {step.line}"

    def state(self) -> str:
        """Return the step, how far it is and what it said last, in one line; empty before the first."""
        if self._step is None or self._process is None or self._output is None:
            return ""
        code = self._process.poll()
        word = "at work" if code is None else "done" if code == 0 else f"failed ({code})"
        return f"{word}: {self._step.line} {self._last_line()}".rstrip()

    def page(self) -> str:
        """Return the address of the page that the step opened; empty where it opened none."""
        if self._output is None:
            return ""
        with self._output.open("rb") as said:
            found = ADDRESS.search(said.read(HEAD_BYTES).decode("utf-8", "replace"))
        return found[0] if found else ""

    def _last_line(self) -> str:
        assert self._output is not None
        with self._output.open("rb") as said:
            said.seek(0, os.SEEK_END)
            said.seek(max(0, said.tell() - TAIL_BYTES))
            lines = said.read().decode("utf-8", "replace").replace("\r", "\n").splitlines()
        told = [line.strip() for line in lines if line.strip() and not FRAME.match(line)]
        return f"- {told[-1]}" if told else ""
