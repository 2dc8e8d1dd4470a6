"""The pages in a real browser: what is seen changes, buttons work, ten tabs and garbage do no harm."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from easyzloc_mm.io.runs.localizations import LocalizationWriter
from easyzloc_mm.io.runs.status import RunStatus, write_status
from easyzloc_mm.monitor.beside import STAYS_LINE, STOP_LINE, page_beside
from tests.helpers.browser import Tab, browser
from tests.helpers.monitored_run import molecules, monitored_run
from tests.helpers.patience import wait_until
from tests.helpers.served_page import asked, page_of, send_garbage

pytestmark = pytest.mark.slow

TABS = 10


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[LocalizationWriter]:
    with monitored_run(tmp_path / "run.zarr") as made:
        made.append(molecules(range(50)))
        made.flush()
        write_status(made.path, RunStatus(camera_running=True, frames=50, frames_expected=200, localizations=1000))
        yield made


def shows(tab: Tab, words: str) -> bool:
    return words in tab.text()


def test_what_is_seen_changes_and_the_run_is_stopped(writer: LocalizationWriter, tmp_path: Path) -> None:
    with page_of(str(writer.path)) as (page, address), browser(tmp_path) as opened:
        tab = opened.open(address)
        wait_until(lambda: "50 of 200" in tab.text(), "the page shows the run", pause_s=0.2)
        assert "run.zarr: imaging" in tab.text()
        writer.append(molecules(range(50, 100)))
        writer.flush()
        write_status(writer.path, RunStatus(camera_running=True, frames=100, frames_expected=200, alarms=("too dim",)))
        wait_until(lambda: "100 of 200" in tab.text(), "the page follows the run", pause_s=0.2)
        assert "more excitation light" in tab.text()
        tab.press("stop the run")
        tab.press("press again to stop the run")
        assert page.stdout is not None
        assert page.stdout.readline() == f"{STOP_LINE}\n"
        wait_until(lambda: "stopping: what came is kept" in tab.text(), "the press is confirmed", pause_s=0.1)
        fits = tab.evaluate(
            "document.documentElement.scrollWidth <= 1366 && document.documentElement.scrollHeight <= 768"
        )
        assert fits


def test_ten_tabs_and_garbage_do_no_harm(writer: LocalizationWriter, tmp_path: Path) -> None:
    with page_of(str(writer.path)) as (page, address), browser(tmp_path) as opened:
        tabs = [opened.open(address) for _ in range(TABS)]
        send_garbage(address)
        for tab in tabs:
            wait_until(partial(shows, tab, "50 of 200"), "every tab shows the run", pause_s=0.5)
        assert asked(address, "stop")[0] == 200
        assert page.stdout is not None
        assert page.stdout.readline() == f"{STOP_LINE}\n"


def test_a_page_outlives_its_run_as_long_as_somebody_looks(writer: LocalizationWriter, tmp_path: Path) -> None:
    said: list[str] = []
    with browser(tmp_path) as opened:
        with page_beside(writer.path, say=said.append) as page:
            wait_until(lambda: said, "the page is served")
            tab = opened.open(said[0].split()[-1])
            wait_until(partial(shows, tab, "50 of 200"), "the page shows the run", pause_s=0.2)
        assert said[-1] == STAYS_LINE
        assert page.poll() is None
        writer.update(complete=True)
        wait_until(partial(shows, tab, "run.zarr: finished"), "the page sees the end", pause_s=0.2)
        tab.call("Page.close")
        wait_until(lambda: page.poll() is not None, "the page ends with its last tab", pause_s=0.2)
    with page_beside(writer.path, say=said.append) as page:
        pass
    assert page.poll() is not None
