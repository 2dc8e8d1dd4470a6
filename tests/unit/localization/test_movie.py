"""Movies localised after the fact: resumed, followed, and the same rows as live."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from easyzloc_mm.acquire.live import run_live
from easyzloc_mm.cli.app import main
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.images.movies import Movie, open_movie
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.io.runs.frames import FrameWriter, StoredFrames
from easyzloc_mm.io.runs.localizations import COLUMNS_2D, COLUMNS_Z, column_dtype, read_localizations
from easyzloc_mm.localization.config import LocalizerConfig, resolved
from easyzloc_mm.localization.offline import movie as offline
from easyzloc_mm.localization.offline import movie_job
from easyzloc_mm.localization.offline.movie import localize_movie
from easyzloc_mm.localization.workers.local import Workers
from easyzloc_mm.microscope.connect import connect
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.profile.detection import LocalizeSettings
from tests.helpers.localize_bench import embedded_profile, small_bundle, spots_movie
from tests.helpers.movie_files import as_ndtiff, as_ome_tiff_files, as_raw, as_run, as_tiff
from tests.helpers.patience import PATIENCE_S, wait_until

SHAPE = (96, 128)
FRAMES = 50
SETTINGS = LocalizeSettings(min_net_gradient=1200.0)

pytestmark = pytest.mark.usefixtures("localised_here")


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> ModelCard:
    return ModelCard.load(small_bundle(tmp_path_factory.mktemp("m") / "model", field=(SHAPE[1], SHAPE[0])))


@pytest.fixture(scope="module")
def movie() -> NDArray[np.uint16]:
    return spots_movie(FRAMES, SHAPE, seed=6)[0]


def run(movie: Path, card: ModelCard, out: Path, **options: object) -> None:
    chosen = {"settings": SETTINGS, "workers": 1, **options}
    localize_movie(movie, card, out, response=card.response, **chosen)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def reference(card: ModelCard, movie: NDArray[np.uint16], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference")
    run(as_raw(folder, movie), card, folder / "run.zarr")
    return folder / "run.zarr"


def test_the_table_keeps_the_contract(reference: Path, card: ModelCard) -> None:
    table, facts = read_localizations(reference)
    assert list(table.columns) == [*COLUMNS_2D, *COLUMNS_Z]
    assert {name: table[name].dtype for name in table.columns} == {
        name: column_dtype(name) for name in (*COLUMNS_2D, *COLUMNS_Z)
    }
    assert np.isfinite(table.to_numpy(float)).all()
    assert len(table) > 5 * FRAMES
    assert table["frame"].is_monotonic_increasing
    assert (table["lpz"] > 0).all()
    assert table["x"].between(0, SHAPE[1] - 1).all()
    assert table["y"].between(0, SHAPE[0] - 1).all()
    assert facts.complete is True
    assert (facts.frames, facts.frames_localized, facts.frames_lost) == (FRAMES, FRAMES, 0)
    assert facts.model is not None
    assert facts.model.digest == card.digest


@pytest.fixture
def _by_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offline, "Workers", Workers)


@pytest.mark.slow
@pytest.mark.usefixtures("_by_processes")
@pytest.mark.parametrize("write", [as_ome_tiff_files, as_ndtiff], ids=lambda write: write.__name__)
def test_two_processes_and_another_format_give_the_same_rows(
    write: Callable[[Path, NDArray[np.uint16]], Path],
    card: ModelCard,
    movie: NDArray[np.uint16],
    reference: Path,
    tmp_path: Path,
) -> None:
    run(write(tmp_path, movie), card, tmp_path / "run.zarr", workers=2)
    assert read_localizations(tmp_path / "run.zarr")[0].equals(read_localizations(reference)[0])


def test_a_run_that_was_cut_off_is_gone_on_with(
    card: ModelCard, movie: NDArray[np.uint16], reference: Path, tmp_path: Path
) -> None:
    source, out = as_raw(tmp_path, movie), tmp_path / "run.zarr"

    class CutError(Exception):
        pass

    def cut(_message: str, fraction: float) -> None:
        if fraction > 0.3:
            raise CutError

    with pytest.raises(CutError):
        run(source, card, out, progress=cut)
    part, facts = read_localizations(out)
    assert facts.complete is False
    assert 0 < part["frame"].max() < FRAMES - 1
    with pytest.raises(InputError, match="if_exists='resume'"):
        run(source, card, out)
    run(source, card, out, if_exists="resume")
    table, facts = read_localizations(out)
    assert facts.complete is True
    assert table.equals(read_localizations(reference)[0])
    assert facts.fits_rejected == read_localizations(reference)[1].fits_rejected
    other = ModelCard.load(small_bundle(tmp_path / "other", field=(64, 64)))
    with pytest.raises(InputError, match="another model"):
        run(source, other, out, if_exists="resume")
    with pytest.raises(InputError, match="another movie"):
        run(as_tiff(tmp_path, movie), card, out, if_exists="resume")
    with pytest.raises(InputError, match="no run that could be resumed"):
        run(source, card, tmp_path / "other", if_exists="resume")
    with pytest.raises(InputError, match="does not exist"):
        run(source, card, tmp_path / "nowhere" / "run.zarr", if_exists="resume")


@pytest.mark.parametrize("kind", ["ndtiff", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("tiff", "run"))])
def test_a_movie_that_is_still_being_written_is_followed(
    kind: str,
    card: ModelCard,
    movie: NDArray[np.uint16],
    reference: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / {"ndtiff": "nd", "tiff": "m.tif", "run": "r.zarr"}[kind]
    seen_early: list[int] = []
    clock = ClockOfFollowing(monkeypatch)

    def write() -> None:
        put, finish = grower(kind, path)
        for number, frame in enumerate(movie):
            put(number, frame)
            if number == FRAMES - 5:
                seen_early.append(wait_for_rows(tmp_path / "run.zarr"))
        finish()
        clock.finished.set()

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    run(path, card, tmp_path / "run.zarr", follow_s=PATIENCE_S)
    writer.join()
    assert seen_early
    assert seen_early[0] > 0
    assert read_localizations(tmp_path / "run.zarr")[0].equals(read_localizations(reference)[0])


class ClockOfFollowing:
    """Makes the silence that ends the following long as soon as the movie is finished and was seen whole.

    While it is being written, no pause of a busy machine can be mistaken for its end.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.finished = threading.Event()
        self._frames_seen, self._ahead_s = 0, 0.0
        monkeypatch.setattr(movie_job, "time", self)
        monkeypatch.setattr(movie_job, "open_movie", self._open)

    def _open(self, path: Path, *, partial: bool = False, quiet: bool = False) -> Movie:
        opened = open_movie(path, partial=partial, quiet=quiet)
        self._frames_seen = opened.shape[0]
        return opened

    def monotonic(self) -> float:
        if self.finished.is_set() and self._frames_seen == FRAMES:
            self._ahead_s += 2 * PATIENCE_S
        return time.monotonic() + self._ahead_s

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def wait_for_rows(out: Path) -> int:
    rows = 0

    def written() -> int:
        nonlocal rows
        with contextlib.suppress(InputError):
            rows = len(read_localizations(out)[0])
        return rows

    wait_until(written, "rows of the first frames are written")
    return rows


def grower(kind: str, path: Path) -> tuple[Callable[[int, NDArray[np.uint16]], object], Callable[[], object]]:
    if kind == "ndtiff":
        from ndstorage import NDTiffDataset

        data = NDTiffDataset(str(path), summary_metadata={"PixelSize_um": 0.11}, writable=True)

        def put(number: int, frame: NDArray[np.uint16]) -> None:
            data.put_image({"time": number}, frame, {})
            data._index_file.flush()

        return put, lambda: (data.finish(), data.close())
    if kind == "tiff":
        file = tifffile.TiffWriter(path)

        def page(_number: int, frame: NDArray[np.uint16]) -> None:
            file.write(frame, photometric="minisblack", contiguous=False, metadata=None)
            file._fh.flush()

        return page, file.close
    writer = FrameWriter(path, SHAPE, pixel_size_nm=110.0, expected=FRAMES)
    return writer.append, writer.close


def test_a_camera_roi_moves_the_localisations_to_the_sensor(
    card: ModelCard, movie: NDArray[np.uint16], tmp_path: Path
) -> None:
    # Without refinement: its optimum may be another one when z, which depends on the place, starts elsewhere.
    settings = SETTINGS.model_copy(update={"refine": False})
    source = as_raw(tmp_path, movie)
    run(source, card, tmp_path / "plain.zarr", settings=settings)
    run(source, card, tmp_path / "run.zarr", settings=settings, origin_px=(200, 100))
    table, facts = read_localizations(tmp_path / "run.zarr")
    plain, _ = read_localizations(tmp_path / "plain.zarr")
    assert np.allclose(table["x"], plain["x"] + 200, atol=1e-4)
    assert np.allclose(table["y"], plain["y"] + 100, atol=1e-4)
    # The calibrated field is 128 x 96: everything lies outside of it now, and says so.
    assert (table["z_flag"] & 8).all()
    assert not (plain["z_flag"] & 8).any()
    assert not np.allclose(table["z"], plain["z"])
    assert (facts.width_px, facts.height_px) == (SHAPE[1] + 200, SHAPE[0] + 100)


@pytest.mark.slow
@pytest.mark.usefixtures("_by_processes")
def test_the_running_background_is_the_same_in_one_go_and_resumed(
    card: ModelCard, movie: NDArray[np.uint16], tmp_path: Path
) -> None:
    settings = LocalizeSettings(min_net_gradient=1200.0, background_frames=20)
    source = as_raw(tmp_path, movie)
    run(source, card, tmp_path / "whole.zarr", settings=settings)
    run(source, card, tmp_path / "two.zarr", settings=settings, workers=2)
    whole = read_localizations(tmp_path / "whole.zarr")[0]
    assert len(whole) > 4 * FRAMES
    assert read_localizations(tmp_path / "two.zarr")[0].equals(whole)


@pytest.mark.parametrize("background", [pytest.param(None, marks=pytest.mark.slow), 30])
def test_live_and_its_offline_twin_give_the_same_rows(background: int | None, tmp_path: Path) -> None:
    profile = embedded_profile(load_profile("demo")).replace(localize={"background_frames": background})
    card = ModelCard.load(small_bundle(tmp_path / "model", field=(192, 160)))
    how = LocalizerConfig(card.path, profile.camera.response, resolved(profile.localize, card, live=True))
    # In a process of its own, as live runs are, and the file in this one.
    with connect(profile) as microscope, Workers(how, 1) as pool:
        run_live(microscope, profile, card, tmp_path / "live.zarr", frames=100, workers=pool)
    live, _ = read_localizations(tmp_path / "live.zarr")
    again = tmp_path / "again.zarr"
    settings = LocalizeSettings(passes=1, background_frames=background)
    localize_movie(tmp_path / "live.zarr", card, again, response=profile.camera.response, settings=settings, workers=1)
    assert len(live) > 100
    assert read_localizations(again)[0].equals(live)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--box-px", "6"], "--box-px"),
        (["--fit", "magic"], "--fit"),
        (["--min-net-gradient", "-3"], "--min-net-gradient"),
        (["--electrons-per-adu", "0"], "--electrons-per-adu"),
        (["--pixel-size-nm", "200"], "--pixel-size-nm"),
        (["--resume", "--overwrite"], "--overwrite"),
    ],
)
def test_wrong_options_are_named(
    options: list[str],
    named: str,
    card: ModelCard,
    movie: NDArray[np.uint16],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, out = as_raw(tmp_path, movie[:2]), tmp_path / "out.zarr"
    assert main(["localize", str(path), "--model", str(card.path), "--out", str(out), *options]) == 2
    assert named in capsys.readouterr().err
    assert not out.exists()


def test_the_movie_itself_is_never_overwritten(
    card: ModelCard, movie: NDArray[np.uint16], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = as_run(tmp_path, movie)
    assert main(["localize", str(path), "--model", str(card.path), "--out", str(path), "--overwrite"]) == 2
    assert "is what this command reads" in capsys.readouterr().err
    assert StoredFrames(path).shape[0] == FRAMES
