"""The log that every run keeps: what stands in it, and that it disturbs neither readers of the store nor the run."""

# ruff: noqa: PT012, PT031  what is logged is a whole session, with what leads up to its end

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaozarrs
import zarr

from easyzloc_mm._log import FILE as LOG
from easyzloc_mm._log import console_handler, run_log
from easyzloc_mm.errors import EasyZlocWarning, LocalizerError
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.io.runs.localizations import read_localizations
from easyzloc_mm.io.writing.kinds import Kind, foreign
from easyzloc_mm.localization.config import LocalizerConfig
from easyzloc_mm.localization.live.run import LiveOptions
from easyzloc_mm.localization.live.stream import localize_stream
from easyzloc_mm.localization.run_report import RunReport
from easyzloc_mm.localization.workers.local import Workers
from easyzloc_mm.localization.workers.messages import Failed, WorkerError
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.typing import U16, Frame
from tests.helpers.localize_bench import embedded_profile, small_bundle, spots_movie

SIZE = (128, 96)
FRAMES = 60


@pytest.fixture(scope="module")
def profile() -> Profile:
    return embedded_profile(load_profile("demo"), *SIZE)


@pytest.fixture(scope="module")
def movie() -> U16:
    return spots_movie(FRAMES, (SIZE[1], SIZE[0]), spots=8)[0]


def stream(movie: U16) -> Iterator[Frame]:
    for number, pixels in enumerate(movie):
        yield Frame(number, pixels, 0.0)


def go(out: Path, movie: U16, model: Path, profile: Profile, *, keep_raw: bool) -> RunReport:
    card = ModelCard.load(model)
    settings = LocalizerConfig(card.path, profile.camera.response, profile.localize)
    with Workers(settings, 1) as pool, run_log("live run", {"profile": profile.name}) as log:
        options = LiveOptions(FRAMES, keep_raw=keep_raw, workers=pool)
        return localize_stream(stream(movie), card, out, profile, options, log, {})


@pytest.mark.parametrize("keep_raw", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_run_keeps_its_log_and_readers_of_the_store_pass_over_it(
    keep_raw: bool, movie: U16, profile: Profile, tmp_path: Path
) -> None:
    out = tmp_path / "run.zarr"
    report = go(out, movie, small_bundle(tmp_path / "model", field=SIZE), profile, keep_raw=keep_raw)
    assert (report.out, report.frames, report.frames_lost) == (out, FRAMES, 0)
    assert report.localizations > 4 * FRAMES
    assert report.as_dict()["schema_version"] == 1
    assert len(read_localizations(out)[0]) == report.localizations
    log = (out / LOG).read_text(encoding="utf-8")
    head = [line for line in log.splitlines() if line.startswith("#")]
    assert head[0] == "# live run"
    assert any(line.startswith("# easyzloc_mm: ") for line in head)
    assert '# profile: "demo"' in head
    assert "is warm after" in log  # what the localising process itself has logged
    assert "live run is done" in log
    assert foreign(out, Kind.RUN) is None
    # zarr-python warns of a file that is no part of the hierarchy only where all members are listed.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        root = zarr.open_group(out, mode="r")
        x = root["localizations/x"]
        assert isinstance(x, zarr.Array)
        assert np.isfinite(np.asarray(x[...], float)).all()
    with pytest.warns(UserWarning, match="not recognized as a component of a Zarr hierarchy"):
        assert {name for name, _ in root.members()} == {"localizations", *(["frames"] if keep_raw else [])}
    if keep_raw:
        yaozarrs.validate_zarr_store(str(out / "frames"))


def test_a_workers_traceback_is_logged_and_is_the_cause(movie: U16, profile: Profile, tmp_path: Path) -> None:
    out = tmp_path / "run.zarr"
    broken = small_bundle(tmp_path / "model", field=SIZE, broken=True)
    with pytest.raises(LocalizerError, match="the localiser failed at frame") as caught:
        go(out, movie, broken, profile, keep_raw=False)
    cause: BaseException | None = caught.value
    while cause is not None and not isinstance(cause, WorkerError):
        cause = cause.__cause__
    assert cause is not None
    log = (out / LOG).read_text(encoding="utf-8")
    for text in (cause.text, log):
        assert "Traceback (most recent call last)" in text
        assert "in answer" in text
    assert "live run ended with LocalizerError" in log


def test_warnings_are_logged_and_shown_once_each(tmp_path: Path) -> None:
    with (
        pytest.warns(EasyZlocWarning, match="too dim"),
        run_log("scan", {}, tmp_path / "outer.txt"),
        run_log("live run", {"frames": 3}) as inner,
    ):
        warnings.warn("too dim", EasyZlocWarning, stacklevel=1)
        logging.getLogger("easyzloc_mm.microscope").debug("moving z")
        inner.write_to(tmp_path / "inner.txt")
    for name in ("outer.txt", "inner.txt"):
        log = (tmp_path / name).read_text(encoding="utf-8")
        assert log.count("too dim") == 1
        assert log.count("moving z") == 1
    assert "# frames: 3" in (tmp_path / "inner.txt").read_text(encoding="utf-8")


def test_a_log_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    with run_log("live run", {}, tmp_path / "nowhere" / "log.txt"):
        pass
    assert not (tmp_path / "nowhere").exists()


def test_the_console_shows_steps_and_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    package = logging.getLogger("easyzloc_mm")
    level, handler = package.level, console_handler()
    package.addHandler(handler)
    try:
        with pytest.raises(RuntimeError), run_log("live run", {}):
            package.debug("a device call")
            raise RuntimeError("no camera")
    finally:
        package.removeHandler(handler)
        package.setLevel(level)
    assert capsys.readouterr().err.splitlines() == ["live run begins"]


def test_an_exception_crosses_with_its_whole_traceback() -> None:
    def deep(levels: int) -> None:
        if levels:
            deep(levels - 1)
        raise ValueError("x" * 1000)

    try:
        deep(2)
    except ValueError as error:
        failed = Failed.of(error)
    assert failed.summary.startswith("ValueError: xxx")
    assert len(failed.summary) == 300
    assert failed.traceback.count("in deep") == 3
    assert "x" * 1000 in failed.traceback
