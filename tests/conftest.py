"""Fixtures that every test may use."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.helpers.paths import SHARED_DATA


@pytest.fixture(scope="session", autouse=True)
def _interrupts_are_heard() -> None:
    """Let tests interrupt this process also where it runs in the background, where shells have SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real recordings that are not part of the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the shared real data are not beside this checkout")
    return SHARED_DATA


@pytest.fixture(autouse=True)
def _private_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep Picasso's settings file out of the user's home; one home for all, so that caches serve child processes."""
    base = tmp_path_factory.getbasetemp()
    home = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "home"
    home.mkdir(exist_ok=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
