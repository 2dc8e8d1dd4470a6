"""A live run that is held against the beads' PSF, and that changes over to a model of its sample."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import easyzloc_mm as ez
from easyzloc_mm._log import run_log
from easyzloc_mm.analysis.quality.page import write_quality_report
from easyzloc_mm.io.images.movies import open_movie
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.io.runs.frames import FrameWriter
from easyzloc_mm.io.runs.localizations import read_localizations, read_metadata
from easyzloc_mm.io.runs.metadata import Refreshment
from easyzloc_mm.localization.config import LocalizerConfig
from easyzloc_mm.localization.live.run import LiveOptions, Successor
from easyzloc_mm.localization.live.stream import localize_stream
from easyzloc_mm.localization.sample.watch import FIRST, SampleWatch, Task, end_watch, watch_of
from easyzloc_mm.localization.workers.messages import Localized, Outcome
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.report.html import in_html
from easyzloc_mm.typing import Frame
from tests.helpers.at_once import ROWS_PER_FRAME, SIZE, AtOnce, pixels
from tests.helpers.localize_bench import embedded_profile, small_bundle
from tests.helpers.patience import wait_until
from tests.helpers.sample_run import BEADS, PROFILE, SAMPLE, SIDE_PX, one_place, write_sample

FRAMES = 60
MOVED_NM = 5000.0


class Other(AtOnce):
    """The pool of another model: it finds other depths."""

    closed = False

    def outcomes(self, patience_s: float) -> Iterator[Outcome]:
        for outcome in super().outcomes(patience_s):
            assert isinstance(outcome.answer, Localized)
            rows = outcome.answer.rows
            yield Outcome(outcome.block, replace(outcome.answer, rows=rows.assign(z=rows["z"] + np.float32(MOVED_NM))))


@pytest.fixture(scope="module")
def profile() -> Profile:
    return embedded_profile(load_profile("demo"), *SIZE).replace(localize={"min_net_gradient": 500.0})


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> ModelCard:
    return ModelCard.load(small_bundle(tmp_path_factory.mktemp("m") / "model", field=SIZE))


def test_a_run_goes_on_with_another_model_from_a_frame_that_it_states(
    profile: Profile, card: ModelCard, tmp_path: Path
) -> None:
    settings = LocalizerConfig(card.path, card.response, profile.localize)
    change = Refreshment(beads=card.reference, sample=card.reference, run="run.zarr")
    seen: list[int] = []

    def source() -> Iterator[Frame]:
        for number in range(FRAMES):
            if number == FRAMES // 2:
                wait_until(lambda: bool(seen), "no rows")
            yield Frame(number, pixels(number), time.monotonic())

    options = LiveOptions(
        frames=FRAMES,
        workers=AtOnce(settings),
        on_rows=lambda rows: seen.append(len(rows)),
        successor=lambda: Successor(Other(settings), change) if seen else None,
    )
    with run_log("test", {}) as log:
        report = localize_stream(source(), card, tmp_path / "run.zarr", profile, options, log, {})
    table, metadata = read_localizations(tmp_path / "run.zarr")
    assert report.frames == FRAMES
    assert np.array_equal(table["frame"], np.repeat(np.arange(FRAMES), ROWS_PER_FRAME))
    assert metadata.refreshed is not None
    first = metadata.refreshed.from_frame
    assert 0 < first < FRAMES
    assert np.array_equal(table["z"] >= MOVED_NM, table["frame"] >= first)


def test_what_cannot_be_watched_is_said_before_anything_moves(
    profile: Profile, card: ModelCard, tmp_path: Path
) -> None:
    with pytest.raises(ez.InputError, match="`refresh_after` needs raw frames"):
        watch_of(tmp_path / "a.zarr", card, profile, keep_raw=False, refresh_after=5000, if_exists="error")
    blind = watch_of(tmp_path / "a.zarr", card, profile, keep_raw=False, refresh_after=None, if_exists="error")
    blind.see(many(2 * FIRST))
    assert blind.alarms() == ()
    assert blind.finish() is None


def many(count: int) -> pd.DataFrame:
    return pd.DataFrame({"z_flag": np.zeros(count, np.uint8)})


@pytest.mark.slow
def test_a_sample_that_differs_is_an_alarm_and_stays_with_the_run(tmp_path: Path) -> None:
    write_sample(tmp_path, one_place(BEADS), one_place(SAMPLE))
    run = tmp_path / "sample.zarr"
    movie = open_movie(tmp_path / "sample.tif")
    writer = FrameWriter(run, (SIDE_PX, SIDE_PX), pixel_size_nm=110.0, expected=movie.shape[0])
    for number, frame in enumerate(movie.read(0, movie.shape[0])):
        writer.append(number, frame)
    writer.close()
    watch = SampleWatch(Task(run, tmp_path / "bead_model", PROFILE))
    watch.see(many(FIRST - 1))
    assert watch.alarms() == ()
    watch.see(many(1))
    wait_until(lambda: bool(watch.alarms()), "no alarm", pause_s=0.5)
    assert re.fullmatch(r"sample unlike the beads: spherical \+0\.\d\d rad moves z by \d+ nm rms", watch.alarms()[0])
    with pytest.warns(ez.EasyZlocWarning, match="the sample's PSF is not the beads'"):
        end_watch(watch, run, wait=True)
    kept = read_metadata(run).sample_aberrations
    assert kept is not None
    assert kept.differs
    assert (run / "sample.png").read_bytes().startswith(b"\x89PNG")
    write_quality_report(run, tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert in_html(kept.in_words()) in page
    assert (tmp_path / "report" / "sample.png").is_file()
    assert ez.verify(run).whole
