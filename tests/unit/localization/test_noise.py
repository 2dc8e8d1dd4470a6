"""Images that are not as noisy as the camera's units say: noticed, said, and their uncertainties made for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from easyzloc_mm._log import run_log
from easyzloc_mm.benchmarks.second_optics.cameras import unlike_pixels
from easyzloc_mm.camera.exposure import camera_counts
from easyzloc_mm.camera.response import CameraResponse, PixelResponse
from easyzloc_mm.errors import EasyZlocWarning
from easyzloc_mm.io.camera_map import write_camera_map
from easyzloc_mm.io.images.movie_writer import write_ome_tiff_movie
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.io.runs.localizations import read_localizations
from easyzloc_mm.io.runs.metadata import NoiseCheck, RunMetadata
from easyzloc_mm.io.tables.registry import write_table
from easyzloc_mm.localization.config import LocalizerConfig, resolved
from easyzloc_mm.localization.live.run import LiveOptions
from easyzloc_mm.localization.live.status import LiveStatus, StatusMeter
from easyzloc_mm.localization.live.stream import localize_stream
from easyzloc_mm.localization.noise import FEWEST_MOLECULES, NoiseMeter
from easyzloc_mm.localization.offline.assign_z import assign_z
from easyzloc_mm.localization.offline.movie import localize_movie
from easyzloc_mm.localization.pipeline import Localizer
from easyzloc_mm.localization.run_report import RunReport
from easyzloc_mm.localization.workers.messages import Block, BlockLocalizer, LocalizeBlock, Outcome
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.profile.detection import Detection, LocalizeSettings
from easyzloc_mm.typing import Frame
from tests.helpers.localize_bench import embedded_profile, small_bundle

SHAPE, FRAMES, SPOTS, PHOTONS, BACKGROUND = (96, 128), 8, 8, 3000.0, 20.0
CMOS = CameraResponse(baseline_adu=100.0, electrons_per_adu=0.5, read_noise_e=1.6)
EMCCD = CameraResponse(baseline_adu=200.0, electrons_per_adu=0.15, read_noise_e=0.5, excess_noise=2.0)
ONCE = LocalizeSettings(passes=1)

pytestmark = pytest.mark.usefixtures("localised_here")


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> ModelCard:
    return ModelCard.load(small_bundle(tmp_path_factory.mktemp("m") / "model", field=(SHAPE[1], SHAPE[0])))


@pytest.fixture(scope="module")
def light() -> NDArray[np.float64]:
    """Expected photons of spots apart from each other."""
    rng = np.random.default_rng(5)
    row, column = np.mgrid[: SHAPE[0], : SHAPE[1]]
    frames = np.full((FRAMES, *SHAPE), BACKGROUND)
    for frame in frames:
        for x, y in np.stack(np.meshgrid([20.0, 50.0, 80.0, 108.0], [24.0, 70.0]), axis=-1).reshape(-1, 2):
            away = (column - x - rng.uniform(-3, 3)) ** 2 + (row - y - rng.uniform(-3, 3)) ** 2
            frame += PHOTONS * np.exp(-away / (2 * 1.3**2)) / (2 * np.pi * 1.3**2)
    return frames


def localized(
    folder: Path, card: ModelCard, light: NDArray[np.float64], camera: CameraResponse | PixelResponse,
    units: CameraResponse, camera_map: Path | None = None,
) -> tuple[RunReport, pd.DataFrame, NoiseCheck | None]:  # fmt: skip
    frames = camera_counts(light, camera, np.random.default_rng(6))
    write_ome_tiff_movie(folder / "movie.tif", iter(frames), frames.shape, pixel_size_nm=110.0, interval_ms=30.0)
    run = folder / "run.zarr"
    report = localize_movie(
        folder / "movie.tif", card, run, response=units, settings=ONCE, workers=1, if_exists="overwrite",
        camera_map=camera_map,
    )  # fmt: skip
    table, metadata = read_localizations(run)
    return report, table, metadata.noise


@pytest.mark.parametrize("camera", [CMOS, EMCCD], ids=["cmos", "emccd"])
def test_units_that_are_right_are_found_right_and_photons_are_the_truth(
    camera: CameraResponse, card: ModelCard, light: NDArray[np.float64], tmp_path: Path
) -> None:
    report, table, noise = localized(tmp_path, card, light, camera, camera)  # a warning would be an error
    assert noise is not None
    assert noise.applied == 1.0
    assert noise.molecules >= FEWEST_MOLECULES
    assert report.noise_ratio == noise.ratio == pytest.approx(1.0, abs=0.06)
    assert table["photons"].median() == pytest.approx(PHOTONS, rel=0.1)
    assert table["bg"].median() == pytest.approx(BACKGROUND, rel=0.1)


def test_crowded_molecules_say_nothing_of_the_camera(card: ModelCard, tmp_path: Path) -> None:
    """What no fit explains there is the light of molecules that were not found."""
    rng = np.random.default_rng(8)
    row, column = np.mgrid[: SHAPE[0], : SHAPE[1]]
    crowded = np.full((FRAMES, *SHAPE), BACKGROUND)
    for frame in crowded:
        for x, y in rng.uniform((0, 0), (SHAPE[1], SHAPE[0]), (120, 2)):
            frame += PHOTONS * np.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * 1.3**2)) / (2 * np.pi * 1.3**2)
    report, table, noise = localized(tmp_path, card, crowded, CMOS, CMOS)  # a warning would be an error
    assert noise is None
    assert report.noise_ratio is None
    assert len(table) > FEWEST_MOLECULES


def test_a_wrong_gain_is_said_and_uncertainties_are_what_they_are_with_the_right_one(
    card: ModelCard, light: NDArray[np.float64], tmp_path: Path
) -> None:
    right = localized(tmp_path, card, light, CMOS, CMOS)[1]
    for factor in (0.8, 1.25):
        units = CMOS.replaced(electrons_per_adu=factor * CMOS.electrons_per_adu)
        with pytest.warns(EasyZlocWarning, match="the noise in the images of .* enter `electrons_per_adu`"):
            _, table, noise = localized(tmp_path, card, light, CMOS, units)
        assert noise is not None
        # Counts that are taken for more electrons: the read noise, which is in electrons, is too.
        read = CMOS.read_noise_e**2
        expected = factor**2 * (BACKGROUND + read) / (factor * BACKGROUND + read)
        assert noise.ratio == noise.applied == pytest.approx(expected, rel=0.05)
        assert table["photons"].median() == pytest.approx(factor * right["photons"].median(), rel=0.03)
        for name in ("lpx", "lpy"):
            assert table[name].median() == pytest.approx(right[name].median(), rel=0.05)


def test_picassos_detection_and_a_table_of_it_are_held_against_their_noise_too(
    card: ModelCard, light: NDArray[np.float64], tmp_path: Path
) -> None:
    frames, numbers = camera_counts(light, CMOS, np.random.default_rng(6)), np.arange(len(light))
    picasso = LocalizeSettings(detection=Detection.PICASSO)
    units, read = CMOS.replaced(electrons_per_adu=1.5 * CMOS.electrons_per_adu), CMOS.read_noise_e**2
    expected = 1.5**2 * (BACKGROUND + read) / (1.5 * BACKGROUND + read)
    right, _, noise = Localizer(LocalizerConfig(card.path, CMOS, picasso)).localize(frames, numbers, 1500.0)
    assert np.median(noise) == pytest.approx(1.0, abs=0.06)
    told = Localizer(LocalizerConfig(card.path, units, picasso)).localize(frames, numbers, 1500.0, None, expected)
    assert np.median(told.noise) == pytest.approx(expected, rel=0.06)
    assert told.table["lpx"].median() == pytest.approx(right["lpx"].median(), rel=0.05)
    assert told.table["photons"].median() == pytest.approx(1.5 * right["photons"].median(), rel=0.05)

    write_ome_tiff_movie(tmp_path / "m.tif", iter(frames), frames.shape, pixel_size_nm=110.0, interval_ms=30.0)
    facts = RunMetadata(pixel_size_nm=110.0, height_px=SHAPE[0], width_px=SHAPE[1])
    write_table(tmp_path / "table.hdf5", right, facts)
    of = tmp_path / "table.hdf5", tmp_path / "m.tif", card
    assign_z(*of, tmp_path / "right.zarr", response=CMOS)  # a warning would be an error
    with pytest.warns(EasyZlocWarning, match=r"the noise in the images of .*m\.tif .* enter `electrons_per_adu`"):
        report = assign_z(*of, tmp_path / "wrong.zarr", response=units)
    (table, metadata), (with_right, _) = (read_localizations(tmp_path / f"{name}.zarr") for name in ("wrong", "right"))
    assert metadata.noise is not None
    assert report.noise_ratio == metadata.noise.ratio == metadata.noise.applied == pytest.approx(expected, rel=0.06)
    assert table["lpz"].median() == pytest.approx(with_right["lpz"].median(), rel=0.05)


def test_em_gain_that_was_not_stated_is_named(card: ModelCard, light: NDArray[np.float64], tmp_path: Path) -> None:
    with pytest.warns(EasyZlocWarning, match="enter `excess_noise` 2"):
        _, table, noise = localized(tmp_path, card, light, EMCCD, EMCCD.replaced(excess_noise=1.0))
    assert noise is not None
    assert noise.ratio == pytest.approx(2.0, rel=0.08)
    assert table["photons"].median() == pytest.approx(PHOTONS, rel=0.1)


def test_pixels_that_differ_are_told_from_wrong_units_by_their_map(
    card: ModelCard, light: NDArray[np.float64], tmp_path: Path
) -> None:
    pixels = unlike_pixels(CMOS, SHAPE, 7)
    write_camera_map(tmp_path / "camera.zarr", pixels)
    noise = localized(tmp_path, card, light, pixels, CMOS, camera_map=tmp_path / "camera.zarr")[2]
    assert noise is not None
    assert noise.ratio == pytest.approx(1.0, abs=0.08)


class Here:
    """A pool that localises in this process, and keeps what noise each block is made for."""

    def __init__(self, settings: LocalizerConfig) -> None:
        self.settings, self.replaced, self.ratios, self.noise = settings, (), list[float](), list[float]()
        self._localizer, self._blocks = BlockLocalizer(settings), list[Block]()

    @property
    def free(self) -> int:
        return 1 - len(self._blocks)

    @property
    def busy(self) -> int:
        return len(self._blocks)

    def start(self) -> None: ...

    def submit(self, block: Block) -> None:
        self._blocks.append(block)
        if isinstance(block, LocalizeBlock):
            self.ratios.append(block.noise_ratio)

    def outcomes(self, patience_s: float) -> Iterator[Outcome]:
        while self._blocks:
            block = self._blocks.pop(0)
            answer = self._localizer.answer(block)
            self.noise += answer.noise
            yield Outcome(block, answer)

    def drop(self) -> None:
        self._blocks.clear()

    def close(self) -> None:
        self._blocks.clear()


def test_a_live_run_is_made_for_the_noise_once_it_is_known(
    card: ModelCard, light: NDArray[np.float64], tmp_path: Path
) -> None:
    units = EMCCD.replaced(excess_noise=1.0)
    profile = embedded_profile(load_profile("demo"), SHAPE[1], SHAPE[0]).replace(
        camera=units.model_dump(exclude={"estimated"}), localize={"passes": 1}
    )
    frames = camera_counts(np.concatenate([light] * 6), EMCCD, np.random.default_rng(9))
    pool = Here(LocalizerConfig(card.path, units, resolved(ONCE, card)))
    seen: list[LiveStatus] = []
    options = LiveOptions(len(frames), keep_raw=False, workers=pool, on_status=seen.append)
    camera = (Frame(number, frame, 0.0) for number, frame in enumerate(frames))
    with run_log("live run", {}) as log, pytest.warns(EasyZlocWarning, match="the noise in the images of this run"):
        report = localize_stream(camera, card, tmp_path / "run.zarr", profile, options, log, {})
    noise = read_localizations(tmp_path / "run.zarr")[1].noise
    assert noise is not None
    assert report.noise_applied == noise.applied == pytest.approx(2.0, rel=0.1)
    assert set(pool.ratios) == {1.0, noise.applied}
    assert pool.ratios == sorted(pool.ratios)
    # Each molecule is seen once, those of the frames that detection's threshold was found on included.
    assert len(pool.noise) <= report.localizations
    assert any("noise" in alarm for alarm in seen[-1].alarms)


def test_too_few_molecules_give_no_verdict_and_a_lasting_difference_an_alarm() -> None:
    meter = NoiseMeter()
    meter.see([1.5] * (FEWEST_MOLECULES - 1))
    assert meter.check is None
    meter.see([1.5])
    assert meter.check is not None
    assert meter.check.applied == 1.5
    now = {
        "frames": 10, "frames_lost": 0, "localized": 10, "waiting": 0, "oldest_waiting_s": None, "localizations": 90,
        "camera_running": True,
    }  # fmt: skip
    alarmed = StatusMeter(10).status(**now, noise=meter.check)
    assert alarmed.noise_ratio == 1.5
    assert any("noise" in alarm for alarm in alarmed.alarms)
    quiet = NoiseCheck(ratio=1.05, applied=1.0, molecules=90)
    assert not StatusMeter(10).status(**now, noise=quiet).alarms
    meter.see([40.0] * 4000)
    assert meter.check.applied < meter.check.ratio
