"""A pytest plugin that prints how much memory each worker took, and fails the run where it was too much."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from easyzloc_mm._processes import peak_bytes

LIMIT_GB = 3.0
KEY = "peak_memory_gb"
_workers: dict[str, tuple[float, float]] = {}


def _largest_child_gb() -> float:
    """Most memory of any process that this one has started and waited for; on Linux at least its own when it did."""
    if sys.platform == "win32":
        return 0.0
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e9


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    taken = peak_bytes() / 1e9, _largest_child_gb()
    output = getattr(config, "workeroutput", None)  # a worker's message to the process that distributes the tests
    if output is not None:
        output[KEY] = taken
    elif not _workers:
        _workers["pytest"] = taken
    if max((max(peaks) for peaks in _workers.values()), default=0.0) > LIMIT_GB and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Take what a worker that has ended told of itself."""
    own, child = getattr(node, "workeroutput", {}).get(KEY, (0.0, 0.0))
    _workers[node.gateway.id] = own, child


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for name, (own, child) in sorted(_workers.items()):
        excess = f": more than {LIMIT_GB:.0f} GB, which fails the run" if max(own, child) > LIMIT_GB else ""
        terminalreporter.write_line(
            f"peak memory of {name}: {own:.2f} GB, of its child processes {child:.2f} GB{excess}"
        )
