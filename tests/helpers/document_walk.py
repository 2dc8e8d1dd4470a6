"""A line of a document, followed as a person would: a process of its own, with what it needs of others."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.request import urlopen

from tests.helpers.command_lines import parse
from tests.helpers.patience import PATIENCE_S
from tests.helpers.program import PROGRAM, command

CLUSTER = "tcp://host:8786"
"""Address of the pages' cluster."""


def follow(words: Sequence[str]) -> None:
    """Run a command that must succeed.

    Parameters
    ----------
    words : sequence of str
        What follows ``easyzloc-mm``.
    """
    if words[0] == "start":
        _answer(words)
    elif words[0] == "monitor":
        _look_at(words)
    elif CLUSTER in words:
        with _cluster() as address:
            command(*(address if word == CLUSTER else word for word in words))
    else:
        command(*words, patience_s=3 * PATIENCE_S if words[0] == "demo" else PATIENCE_S)  # that is the whole workflow


def _answer(words: Sequence[str]) -> None:
    """Ask for the demonstration, which the README runs by itself, and look at what is then shown."""
    done = subprocess.run(
        [*PROGRAM, *words], input="1\n\nn\n", capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    (shown,) = re.findall(r"^  easyzloc-mm (.+)$", done.stdout, re.MULTILINE)
    assert shown.startswith("demo --quick")
    parse(shown.split())


def _look_at(words: Sequence[str]) -> None:
    """Open the page that a command serves, and end it as a person does."""
    with subprocess.Popen([*PROGRAM, *words, "--port", "0"], stdout=subprocess.PIPE, text=True) as page:
        assert page.stdout is not None
        try:
            address = page.stdout.readline().split()[-1]
            with urlopen(address, timeout=PATIENCE_S) as answer:
                assert b"easyZloc" in answer.read()
            page.terminate()
            assert page.wait(PATIENCE_S) == 0 or sys.platform == "win32"
        finally:
            page.kill()


@contextmanager
def _cluster() -> Iterator[str]:
    """Address of a scheduler with one worker."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        yield cluster.scheduler_address
