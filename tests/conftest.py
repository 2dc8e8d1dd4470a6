"""Fixtures that every test may use, and the order of the files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.paths import DATA, ROOT, SHARED_DATA

# Workers, and processes that they start, share few cores, and threads of a matrix product wait for each other by
# spinning: a table of 20 s of CPU took 170. Set before NumPy is imported, here and in all of them.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

pytest_plugins = ["tests.helpers.peak_memory"]

LONGEST_FIRST = (
    "tests/end_to_end/test_workflow.py",
    "tests/unit/training/test_train.py",
    "tests/devices/test_live_faults.py",
    "tests/devices/test_acquire_careful.py",
    "tests/unit/beads/test_truth.py",
    "tests/devices/test_live_program.py",
    "tests/unit/beads/test_motion.py",
    "tests/devices/test_bridge.py",
    "tests/devices/test_scan_killed.py",
)
"""Files that are begun first, so that all workers end at about the same time."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files in front (workers take whole files, in this order)."""
    rank = {ROOT / name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


ONCE = (
    "from tests.helpers.localize_bench import compile_kernels; compile_kernels()",
    "from tests.helpers.microscope_bench import first_image; first_image()",
)
"""What a fresh clone does once: kernels are compiled, and the optics of the embedded microscope are tabulated."""


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Do it before there are workers, for all of them: each, and its processes, would do it for itself."""
    if session.config.getoption("numprocesses", None):
        home = session.config._tmp_path_factory.getbasetemp() / "home"  # type: ignore[attr-defined]
        home.mkdir(exist_ok=True)
        with_home = os.environ | {"HOME": str(home), "USERPROFILE": str(home)}
        started = [subprocess.Popen([sys.executable, "-c", one], cwd=ROOT, env=with_home) for one in ONCE]
        for program in started:  # what fails here fails in tests, and is reported there
            program.wait()


@pytest.fixture(scope="session", autouse=True)
def _interrupts_are_heard() -> None:
    """Let tests interrupt this process also where it runs in the background, where shells have SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def localised_here() -> Iterator[None]:
    """Let the runs of a module be localised in its process: the rows are the same, and no other has to start."""
    from tests.helpers.one_process import localise_here

    with pytest.MonkeyPatch.context() as patch:
        localise_here(patch)
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real recordings that are not part of the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the shared real data are not beside this checkout")
    return SHARED_DATA


@pytest.fixture(params=["cut", "whole"])
def thunderstorm_table(request: pytest.FixtureRequest) -> Path:
    """A real table of ThunderSTORM: the cut of it in the repository, and all of it where that is at hand."""
    return _cut_or_whole(request, "thunderstorm_3d_table.csv")


@pytest.fixture(params=["cut", "whole"])
def picasso_table(request: pytest.FixtureRequest) -> Path:
    """A real table of Picasso: the cut of it in the repository, and all of it where that is at hand."""
    return _cut_or_whole(request, "picasso_3d_origami.hdf5")


def _cut_or_whole(request: pytest.FixtureRequest, name: str) -> Path:
    folder: Path = DATA if request.param == "cut" else request.getfixturevalue("shared_data")
    return folder / name


@pytest.fixture(autouse=True)
def _private_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep Picasso's settings file out of the user's home; one home for all, so that caches serve child processes."""
    base = tmp_path_factory.getbasetemp()
    home = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "home"
    home.mkdir(exist_ok=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))


@pytest.fixture(autouse=True)
def _programs_run_this_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let scripts that tests start import the checkout under test, and not another copy that is installed."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
