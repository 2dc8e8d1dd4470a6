"""Movies, and dark and flat series, that are not whole: what is there gives what it gives in the whole file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile

from easyzloc_mm.errors import InputError, LocalizerError
from easyzloc_mm.io.runs.localizations import read_localizations, read_metadata
from easyzloc_mm.io.tables.thunderstorm import write_thunderstorm
from easyzloc_mm.localization.offline import movie as movie_module
from easyzloc_mm.localization.workers.messages import Failed, WorkerError
from easyzloc_mm.localization.workers.messages import Outcome as PoolOutcome
from tests.helpers.listen import command
from tests.helpers.localize_bench import small_bundle, spots_movie
from tests.helpers.odd_images import PLAIN, Pixels, cut, imagej, ndtiff, ome_set, page_by_page
from tests.helpers.one_process import OneProcess

FRAMES, SHAPE = 34, (64, 72)
LOST = [5, 6, 20]
THERE = [frame for frame in range(FRAMES) if frame not in LOST]


@dataclass(frozen=True)
class Bench:
    model: Path
    movie: Pixels
    whole: pd.DataFrame


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(movie_module, "_pool", OneProcess)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("bench")
    model = small_bundle(folder / "model", field=(SHAPE[1], SHAPE[0]))
    movie = spots_movie(FRAMES, SHAPE, spots=3, seed=2)[0]
    tifffile.imwrite(folder / "m.tif", movie, **PLAIN)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(movie_module, "_pool", OneProcess)
        assert command(["localize", str(folder / "m.tif"), "-m", str(model), "-o", str(folder / "r.zarr"), *SAME]) == 0
    return Bench(model, movie, read_localizations(folder / "r.zarr")[0])


SAME = ["--min-net-gradient", "1200", "--json"]


@dataclass(frozen=True)
class Outcome:
    code: int
    report: dict[str, Any]
    told: str
    run: Path


Localize = Callable[..., Outcome]


@pytest.fixture
def localize(bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Localize:
    def run(movie: Path, *options: str) -> Outcome:
        out = tmp_path / "run.zarr"
        code = command(["localize", str(movie), "-m", str(bench.model), "-o", str(out), *SAME, *options])
        told = capsys.readouterr()
        return Outcome(code, json.loads(told.out.splitlines()[-1]) if code == 0 else {}, told.err, out)

    return run


def same_rows(run: Path, whole: pd.DataFrame, frames: list[int]) -> None:
    expected = whole[whole["frame"].isin(frames)].reset_index(drop=True)
    assert len(expected) > len(frames)
    assert read_localizations(run)[0].equals(expected)


def series_by_series(path: Path, movie: Pixels) -> Path:
    with tifffile.TiffWriter(path) as file:
        for frame in movie:
            file.write(frame)
    return path


def preview_first(path: Path, movie: Pixels) -> Path:
    return page_by_page(path, [movie[0, ::4, ::4].copy(), *movie])


def heading_says_half(path: Path, movie: Pixels) -> Path:
    return imagej(path, movie, f"images={FRAMES // 2}", f"frames={FRAMES // 2}", "unit=micron")


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (series_by_series, ""),
        (preview_first, "page 1 (18 x 16 px)"),
        (heading_says_half, f"states {FRAMES // 2} images and it has {FRAMES}"),
    ],
)
def test_all_frames_of_an_oddly_written_movie_are_localised(
    write: Callable[[Path, Pixels], Path], words: str, bench: Bench, localize: Localize, tmp_path: Path
) -> None:
    done = localize(write(tmp_path / "m.tif", bench.movie))
    assert words in done.told
    assert ("warning" in done.told) == bool(words)
    assert (done.report["frames"], done.report["frames_lost"]) == (FRAMES, 0)
    same_rows(done.run, bench.whole, list(range(FRAMES)))


def test_frames_that_were_lost_on_the_way_keep_their_numbers(bench: Bench, localize: Localize, tmp_path: Path) -> None:
    done = localize(ndtiff(tmp_path / "nd", bench.movie[THERE], THERE))
    assert "31 of 34 images are there, 3 are missing" in done.told
    assert "black" not in done.told
    assert (done.report["frames"], done.report["frames_lost"]) == (FRAMES, 3)
    assert read_metadata(done.run).frames_lost == 3
    same_rows(done.run, bench.whole, THERE)


@pytest.mark.parametrize("options", [(), ("--background-frames", "12")])
def test_black_frames_are_lost_frames(
    options: tuple[str, ...], bench: Bench, localize: Localize, tmp_path: Path
) -> None:
    black = bench.movie.copy()
    black[5], black[6], black[20] = 0, 100, 65535
    tifffile.imwrite(tmp_path / "m.tif", black, **PLAIN)
    done = localize(tmp_path / "m.tif", *options)
    assert "3 of 34 frames" in done.told
    assert "black or damaged" in done.told
    assert (done.report["frames"], done.report["frames_lost"]) == (FRAMES, 3)
    if not options:
        same_rows(done.run, bench.whole, THERE)
    else:
        assert not read_localizations(done.run)[0]["frame"].isin(LOST).any()


def test_a_movie_of_black_frames_shows_nothing(
    bench: Bench, localize: Localize, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tifffile.imwrite(tmp_path / "m.tif", np.full((8, *SHAPE), 100, np.uint16), **PLAIN)
    done = localize(tmp_path / "m.tif")
    assert "8 of 8 frames" in done.told
    assert (done.report["frames_lost"], done.report["localizations"]) == (8, 0)
    # A threshold cannot be found from nothing.
    assert command(["localize", tmp_path / "m.tif", "-m", bench.model, "-o", tmp_path / "other.zarr"]) == 2
    assert "shows nothing" in capsys.readouterr().err
    assert not (tmp_path / "other.zarr").exists()  # or it would stand in the way of the next try


def test_frames_smaller_than_a_molecule_are_refused(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, shape in enumerate([(1, 1), (1, 64), (64, 14)]):
        tifffile.imwrite(tmp_path / f"{number}.tif", np.full((3, *shape), 100, np.uint16), **PLAIN)
        out = tmp_path / f"{number}.zarr"
        assert command(["localize", tmp_path / f"{number}.tif", "-m", bench.model, "-o", out]) == 2
        assert "less than the image of one molecule" in capsys.readouterr().err
        assert not out.exists()


def test_the_count_of_lost_frames_survives_an_interruption(
    bench: Bench, localize: Localize, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    black = bench.movie[:33].copy()
    black[LOST] = 0
    tifffile.imwrite(tmp_path / "m.tif", black, **PLAIN)
    answers = iter(range(1))

    class Dies(OneProcess):
        def outcomes(self, patience_s: float):  # type: ignore[no-untyped-def]
            if self.busy and next(answers, None) is None:
                raise KeyboardInterrupt
            return super().outcomes(patience_s)

    monkeypatch.setattr(movie_module, "_pool", Dies)
    assert localize(tmp_path / "m.tif").code == 130
    monkeypatch.setattr(movie_module, "_pool", OneProcess)
    done = localize(cut(tmp_path / "m.tif", 0.9), "--resume")
    assert done.report["frames"] < 33
    assert done.report["frames"] + done.report["frames_lost"] == 33 + 3
    same_rows(done.run, bench.whole, [frame for frame in THERE if frame < done.report["frames"]])


def test_a_file_that_goes_bad_while_it_is_localised_is_the_inputs_fault(
    bench: Bench, localize: Localize, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class InAnotherProcess(OneProcess):
        def outcomes(self, patience_s: float) -> Iterator[PoolOutcome]:
            try:
                yield from super().outcomes(patience_s)
            except InputError as error:
                failed = Failed.of(error)
                raise LocalizerError(failed.summary) from WorkerError(failed.traceback, failed.advice)

    monkeypatch.setattr(movie_module, "_pool", InAnotherProcess)
    fractions = bench.movie.astype(np.float32)
    fractions[20, 3, 3] += 0.5
    tifffile.imwrite(tmp_path / "m.tif", fractions, **PLAIN)
    tried = localize(tmp_path / "m.tif")
    assert tried.code == 2
    assert "no counts from 0 to 65535" in tried.told
    assert read_metadata(tried.run).complete is False
    # What is seen in the first frame is refused before anything is written.
    fractions[0, 3, 3] += 0.5
    tifffile.imwrite(tmp_path / "n.tif", fractions, **PLAIN)
    out = tmp_path / "other.zarr"
    assert command(["localize", tmp_path / "n.tif", "-m", bench.model, "-o", out]) == 2
    assert not out.exists()


def test_a_missing_part_is_named_and_the_rest_localised_on_request(
    bench: Bench, localize: Localize, tmp_path: Path
) -> None:
    first, second = ome_set(tmp_path, bench.movie, files=2)
    second.unlink()
    refused = localize(first)
    assert (refused.code, refused.run.exists()) == (2, False)
    (line,) = [line for line in refused.told.splitlines() if line.startswith("easyzloc-mm:")]
    assert second.name in line
    assert "--partial" in line
    done = localize(first, "--partial")
    assert (done.report["frames"], done.report["frames_lost"]) == (FRAMES // 2, FRAMES // 2)
    same_rows(done.run, bench.whole, list(range(FRAMES // 2)))


@pytest.mark.parametrize(
    ("unit", "pixel", "code", "words"),
    [
        ("microns", 0.16, 2, "has 160 nm per pixel"),
        ("nm", 0.11, 2, "a pixel of 0.11 nm"),
        ("microns", 0.1105, 0, ""),
        ("parsec", 0.11, 0, "'parsec', which is no unit of length"),
    ],
)
def test_the_stated_pixel_is_held_against_the_models(
    unit: str, pixel: float, code: int, words: str, bench: Bench, localize: Localize, tmp_path: Path
) -> None:
    path = imagej(tmp_path / "m.tif", bench.movie[:3], "images=3", "frames=3", f"unit={unit}", pixel=pixel)
    tried = localize(path)
    assert tried.code == code
    assert words in tried.told
    if code:
        assert localize(path, "--pixel-size-nm", "110").code == 0


def test_rows_of_a_table_in_a_lost_frame_are_refused(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    black = bench.movie.copy()
    black[20] = 0
    tifffile.imwrite(tmp_path / "m.tif", black, **PLAIN)
    run = tmp_path / "whole.zarr"
    tifffile.imwrite(tmp_path / "w.tif", bench.movie, **PLAIN)
    assert command(["localize", str(tmp_path / "w.tif"), "-m", str(bench.model), "-o", str(run), *SAME]) == 0
    table, metadata = read_localizations(run)
    write_thunderstorm(tmp_path / "t.csv", table, metadata)
    out = tmp_path / "z.zarr"
    tail = ["-m", str(bench.model), "-o", str(out)]
    assert command(["assign-z", str(tmp_path / "t.csv"), str(tmp_path / "m.tif"), *tail]) == 2
    assert "rows in frame 20" in capsys.readouterr().err
    assert not out.exists()


def test_black_images_of_a_camera_series_are_left_out_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(1)
    flat = (100 + rng.poisson(900, (60, *SHAPE)) / 0.45).round().astype(np.uint16)
    dark = (100 + rng.normal(0, 3, (60, *SHAPE))).round().clip(0).astype(np.uint16)
    flat[-10:], dark[[3, 30]] = 0, 65535
    for name, series in (("flat", flat), ("dark", dark)):
        tifffile.imwrite(tmp_path / f"{name}.tif", series, **PLAIN)
    arguments = ["--dark", str(tmp_path / "dark.tif"), "--flat", str(tmp_path / "flat.tif")]
    assert command(["camera-calibrate", *arguments, "--out", str(tmp_path / "c.zarr"), "--json"]) == 0
    told = capsys.readouterr()
    found = json.loads(told.out.splitlines()[-1])
    assert found["electrons_per_adu"] == pytest.approx(0.45, rel=0.02)
    assert (found["dark_frames"], found["flat_frames"], found["frames_lost"]) == (58, 50, 12)
    assert "10 of 60 images are black" in told.err
    cut(tmp_path / "flat.tif", 0.1)
    assert command(["camera-calibrate", *arguments, "--out", str(tmp_path / "d.zarr")]) == 2
    assert "are images, 10 or more are needed" in capsys.readouterr().err
