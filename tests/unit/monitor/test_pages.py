"""The pages over the real protocol: what they show is what is written, buttons work, strangers can only look."""

from __future__ import annotations

import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from easyzloc_mm.io.runs.localizations import LocalizationWriter
from easyzloc_mm.io.runs.status import RunStatus, write_status
from easyzloc_mm.monitor.beside import STOP_LINE
from tests.helpers.monitored_run import molecules, monitored_run
from tests.helpers.patience import PATIENCE_S, wait_until
from tests.helpers.served_page import SECRET, asked, page_of, send_garbage


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalizationWriter]:
    with monitored_run(tmp_path_factory.mktemp("page") / "run.zarr") as made:
        made.append(molecules(range(100)))
        made.flush()
        yield made


@pytest.fixture(scope="module")
def served(writer: LocalizationWriter) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with page_of(str(writer.path)) as page:
        yield page


@contextmanager
def opened(address: str, **arguments: str) -> Iterator[Callable[[], Any]]:
    """A tab that stays open; called, gives what it shows now."""
    from bokeh.client import pull_session

    base = address.partition("?")[0]
    with pull_session(url=base, arguments=arguments) as first:

        def now() -> Any:
            with pull_session(url=base, session_id=first.id) as again:
                return again.document

        yield now


def columns(document: Any, name: str) -> list[Any]:
    """The columns of that name that the page of a tab holds."""
    from bokeh.models import ColumnDataSource

    return [source.data[name] for source in document.select({"type": ColumnDataSource}) if name in source.data]


def depths(document: Any) -> int:
    (counts,) = columns(document, "top")
    return int(np.sum(counts))


def buttons(document: Any) -> list[str]:
    from bokeh.models.widgets import Button

    return [button.label for button in document.select({"type": Button})]


def test_the_page_follows_the_run(served: tuple[subprocess.Popen[str], str], writer: LocalizationWriter) -> None:
    _, address = served
    with urllib.request.urlopen(address, timeout=PATIENCE_S) as answer:
        assert "run.zarr - easyZloc" in answer.read().decode()
    with opened(address) as tab:
        wait_until(lambda: depths(tab()) == 1800, "the page shows what is there", pause_s=0.2)
        pictures = [images[0] for images in columns(tab(), "image") if len(images)]
        assert len(pictures) == 2  # from above and from the side
        image = max(pictures, key=np.size)
        assert image.ndim == 2
        assert len(np.unique(image)) > 10
        writer.append(molecules(range(100, 200)))
        writer.flush()
        wait_until(lambda: depths(tab()) == 3600, "the page follows the run", pause_s=0.2)
        assert buttons(tab()) == []  # this tab was opened without the token


def test_only_who_has_the_token_can_stop_a_run(
    served: tuple[subprocess.Popen[str], str], writer: LocalizationWriter
) -> None:
    page, address = served
    write_status(writer.path, RunStatus(camera_running=True))
    for stranger in ("", "guess", "\xff"):
        assert asked(address, "stop", stranger)[0] == 403
    send_garbage(address)
    assert asked(address, "nothing")[0] == 404
    code, said = asked(address, "undrift")
    assert code == 409
    assert "still at work (imaging)" in said
    with opened(address, token=SECRET) as tab:
        wait_until(
            lambda: buttons(tab()) == ["stop the run"], "the tab that has the token can stop the run", pause_s=0.2
        )
    assert asked(address, "stop") == (200, "stopping: what came is kept")
    assert page.stdout is not None
    assert page.stdout.readline() == f"{STOP_LINE}\n"
