"""The blocks of commands of a document, and what a document says of those that no test runs.

A comment in front of a block, ``<!-- not run: WHY -->``, excuses the block; ``<!-- not run (PART): WHY -->`` excuses
its lines that hold PART. Everything else is run, as it is printed but for `READ_AS`, `SHORTER` and `ADDED`.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

READ_AS = {
    "MODEL": "today/model",
    "MODEL2": "sample_model",
    "PROFILE": "my.toml",
    "P": "my.toml",
    "RUN.zarr": "cell1.zarr",
    "MOVIE": "movie.tif",
    r"C:\Program Files\Micro-Manager-2.0": "micro_manager",
}
"""Placeholders of the pages, as words of their own."""
SHORTER = {
    "--monitor": "",
    "--minutes 10": "--steps 60",
    "--minutes 1": "--steps 60",
    "--config-file my.cfg --out my.toml": "--config-file my.cfg --out drafted.toml",
}
"""A page in a browser, which tests/unit/monitor drives; minutes of training; and a profile: one is there."""
ADDED = {"calibrate": "--steps 200", "refresh": "--steps 60", "live": "--frames 400"}
"""To commands whose minutes, or whose frames, the pages leave to the default, or to the profile."""
FENCE = re.compile(
    r"^(?P<notes>(?:<!-- not run.*? -->\n)*)(?P<fence>```)(?P<kind>\w*)\n(?P<text>.*?)^```", re.DOTALL | re.MULTILINE
)
NOTE = re.compile(r"<!-- not run(?: \((?P<part>[^)]*)\))?: (?P<why>.*?) -->")


@dataclass(frozen=True)
class Line:
    """One command line of a block, and why it is not run, if it is not."""

    page: str
    block: int
    number: int
    text: str
    excuse: str | None

    @property
    def words(self) -> list[str]:
        """Arguments behind ``easyzloc-mm``, ready to be run."""
        text = self.text
        for old, new in SHORTER.items():
            text = re.sub(rf"{re.escape(old)}(?= |$)", new, text)
        words = [READ_AS.get(word, word) for word in shlex.split(text, comments=True)]
        assert words[0] == "easyzloc-mm", f"{self}: excuse it, or let the runner know it"
        given = words[1:]
        more = "" if {"--check", "--frames"} & {*given} else ADDED.get(given[0], "")
        return [*given, *more.split()]

    def __str__(self) -> str:
        return f"{self.page}:{self.number}: {self.text}"


@dataclass(frozen=True)
class Excuse:
    """A part of a block that is not run; an empty part is all of it."""

    part: str
    why: str


def lines_of(page: Path, name: str) -> list[Line]:
    """Return every command line of a page's blocks; blocks of other languages, and drawings, hold none."""
    text = page.read_text(encoding="utf-8")
    found = []
    for block in FENCE.finditer(text):
        if block["kind"] or not re.search(r"^(easyzloc-mm|pip|python|source) ?", block["text"], re.MULTILINE):
            continue
        excuses = [Excuse(note["part"] or "", note["why"]) for note in NOTE.finditer(block["notes"])]
        first = text.count("\n", 0, block.start("fence")) + 2
        unused = {excuse.part for excuse in excuses}
        for number, line in enumerate(block["text"].splitlines(), first):
            applies = [excuse for excuse in excuses if excuse.part in line]
            unused -= {excuse.part for excuse in applies}
            if line.strip():
                found.append(Line(name, first, number, line, applies[0].why if applies else None))
        assert not unused, f"{name}:{first}: no line holds {unused}"
    return found
