"""Localisation by the measured PSF through the pipeline: what is in the table, what is stored, what is refused."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from easyzloc_mm.camera.crops import crop_photons
from easyzloc_mm.camera.response import CameraResponse, PixelResponse
from easyzloc_mm.errors import EasyZlocWarning
from easyzloc_mm.io.runs.localizations import COLUMNS_2D, COLUMNS_Z, read_localizations
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.localization.config import LocalizerConfig, resolved
from easyzloc_mm.localization.matched import emitters
from easyzloc_mm.localization.matched.emitters import EmitterLocalizer
from easyzloc_mm.localization.matched.whole_pixels import refine
from easyzloc_mm.localization.offline.counts import warn_of_counts
from easyzloc_mm.localization.offline.movie import localize_movie
from easyzloc_mm.localization.pipeline import Localizer, run_metadata
from easyzloc_mm.localization.run_report import RunReport
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.model.predictor import Predictor, ZPrediction
from easyzloc_mm.profile.detection import Detection, LocalizeSettings
from easyzloc_mm.psf.mle import Neighbours
from tests.helpers.localize_bench import BASELINE, GAIN, small_bundle, spots_movie

SHAPE = (96, 128)
FRAMES, SPOTS, PHOTONS = 6, 8, 3000.0
RESPONSE = CameraResponse(baseline_adu=BASELINE, electrons_per_adu=GAIN, read_noise_e=1.0)

pytestmark = pytest.mark.usefixtures("localised_here")


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> ModelCard:
    return ModelCard.load(small_bundle(tmp_path_factory.mktemp("m") / "model", field=(SHAPE[1], SHAPE[0])))


@pytest.fixture(scope="module")
def movie() -> tuple[NDArray[np.uint16], NDArray[np.float64]]:
    return spots_movie(FRAMES, SHAPE, spots=SPOTS, seed=3, photons=PHOTONS)


def localizer(card: ModelCard, **settings: object) -> Localizer:
    how = resolved(LocalizeSettings.model_validate(settings), card)
    return Localizer(LocalizerConfig(card.path, RESPONSE, how))


def rows_of(localizer: Localizer, frames: NDArray[np.uint16]) -> pd.DataFrame:
    return localizer.localize(frames, np.arange(len(frames)), localizer.threshold(frames)).table


def alone(places: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which spots have no other one within 12 px."""
    return np.stack([cKDTree(frame).query(frame, k=2)[0][:, 1] > 12 for frame in places])


def test_every_column_is_filled_and_places_and_photons_are_the_truth(
    card: ModelCard, movie: tuple[NDArray[np.uint16], NDArray[np.float64]]
) -> None:
    frames, places = movie
    table = rows_of(localizer(card), frames)
    assert list(table) == [*COLUMNS_2D, *COLUMNS_Z]
    assert np.isfinite(table.to_numpy(float)).all()
    errors = []
    for t, (frame, single) in enumerate(zip(places, alone(places), strict=True)):
        here = table[table["frame"] == t]
        away, which = cKDTree(here[["x", "y"]].to_numpy(float)).query(frame[single])
        assert away.max() < 0.3
        chosen = here.iloc[which]
        errors.append((chosen[["x", "y"]].to_numpy(float) - frame[single]) / chosen[["lpx", "lpy"]].to_numpy(float))
        assert chosen["photons"].median() == pytest.approx(PHOTONS, rel=0.15)
        assert chosen["bg"].median() == pytest.approx(20.0, rel=0.15)
        assert chosen[["sx", "sy"]].to_numpy().mean() == pytest.approx(1.3, abs=0.15)
        assert (chosen["net_gradient"] > 0).all()
    pull = np.concatenate(errors)
    assert 0.7 < np.sqrt(np.mean(pull**2)) < 1.4


def test_frames_give_the_same_rows_alone_and_in_a_block(
    card: ModelCard, movie: tuple[NDArray[np.uint16], NDArray[np.float64]]
) -> None:
    frames, _ = movie
    one = localizer(card, passes=3)
    threshold = one.threshold(frames)
    whole = one.localize(frames, np.arange(FRAMES), threshold).table
    single = pd.concat([one.localize(frames[t : t + 1], np.array([t]), threshold).table for t in range(FRAMES)])
    assert len(whole) == len(single)
    assert np.allclose(whole[["x", "y", "photons"]], single[["x", "y", "photons"]], rtol=1e-3, atol=1e-3)


def test_frames_as_a_store_gives_them_need_no_kernels_of_their_own(
    card: ModelCard, movie: tuple[NDArray[np.uint16], NDArray[np.float64]]
) -> None:
    frames = movie[0][:1].copy()
    wanted = rows_of(localizer(card), frames)
    compiled = len(refine.signatures)
    frames.flags.writeable = False
    assert rows_of(localizer(card), frames).equals(wanted)
    assert len(refine.signatures) == compiled > 0


def test_overlapping_images_are_told_apart_by_looking_at_the_rest(card: ModelCard) -> None:
    """Pairs 4 px apart, one three times as bright: alone, one look finds fewer of them than four."""
    rng = np.random.default_rng(2)
    row, column = np.mgrid[: SHAPE[0], : SHAPE[1]]
    frames, pairs = np.empty((8, *SHAPE), np.uint16), []
    for t in range(8):
        light, angle = np.full(SHAPE, 20.0), rng.uniform(0, 2 * np.pi, 6)
        middle = np.stack(np.meshgrid([20.0, 60.0, 105.0], [25.0, 70.0]), axis=-1).reshape(-1, 2) + rng.uniform(
            -1, 1, (6, 2)
        )
        other = middle + 4 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        for places, photons in ((middle, 6000.0), (other, 2000.0)):
            for x, y in places:
                light += photons * np.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * 1.3**2)) / (2 * np.pi * 1.3**2)
        frames[t] = np.rint(rng.poisson(light) / GAIN + BASELINE).clip(0, 65535)
        pairs.append(np.concatenate([middle, other]))
    found = {}
    for passes in (1, 4):
        table = rows_of(localizer(card, passes=passes), frames)
        hits = [
            cKDTree(table.loc[table["frame"] == t, ["x", "y"]].to_numpy(float)).query(pairs[t])[0] < 0.8
            for t in range(8)
        ]
        found[passes] = float(np.mean(hits)), len(table) / (8 * 12)
    assert found[4][0] > max(0.95, found[1][0] - 1e-9)
    assert found[4][1] < 1.1


def test_uneven_light_is_told_from_the_molecules_in_it(card: ModelCard, monkeypatch: pytest.MonkeyPatch) -> None:
    """The background rises and falls by half of its mean within 40 px, as the light of a cell does."""
    frames, places = spots_movie(30, SHAPE, spots=SPOTS, seed=5, photons=PHOTONS)
    rng = np.random.default_rng(5)
    for frame in frames:
        light = gaussian_filter(rng.normal(size=SHAPE), 9.0, mode="wrap")
        frame += rng.poisson(np.maximum(40 * (1 + light / (4 * light.std())), 0)).astype(np.uint16) * round(1 / GAIN)

    def errors() -> tuple[float, float]:
        """Root mean square of errors, px, and of errors over stated uncertainties, of molecules by themselves."""
        table, found = rows_of(localizer(card), frames), []
        for t, (frame, single) in enumerate(zip(places, alone(places), strict=True)):
            here = table[table["frame"] == t]
            away, which = cKDTree(here[["x", "y"]].to_numpy(float)).query(frame[single])
            chosen = here.iloc[which[away < 1]]
            error = chosen[["x", "y"]].to_numpy(float) - frame[single][away < 1]
            found.append(np.stack([error, error / chosen[["lpx", "lpy"]].to_numpy(float)]))
        both = np.concatenate(found, axis=1)
        assert both.shape[1] > 100
        return tuple(np.sqrt(np.mean(both**2, axis=(1, 2))))

    error_px, pull = errors()
    monkeypatch.setattr(emitters, "NOTICEABLE", np.inf)
    even_error_px, even_pull = errors()
    assert error_px < 0.97 * even_error_px
    assert pull < 0.95 * even_pull


def test_a_camera_roi_and_a_camera_map_change_nothing_but_where_things_are(
    card: ModelCard, movie: tuple[NDArray[np.uint16], NDArray[np.float64]]
) -> None:
    frames = movie[0][:2]
    plain = rows_of(localizer(card), frames)
    how = resolved(LocalizeSettings(), card)
    moved = Localizer(LocalizerConfig(card.path, RESPONSE, how, (7, 5)))
    shifted = rows_of(moved, frames)
    assert np.allclose(shifted["x"] - 7, plain["x"], atol=0.05)
    assert np.allclose(shifted["y"] - 5, plain["y"], atol=0.05)
    mapped = EmitterLocalizer(Predictor(card), how, (0, 0))
    pixels = PixelResponse(*(np.full(SHAPE, value, np.float32) for value in (BASELINE, 1.0, GAIN)))
    by_map = mapped.localize(frames, mapped.threshold(SHAPE), pixels, None).table
    assert np.allclose(by_map[["x", "y", "photons"]], plain[["x", "y", "photons"]], rtol=1e-3, atol=1e-3)


def test_the_network_alone_still_gets_its_place_from_one_fit(
    card: ModelCard, movie: tuple[NDArray[np.uint16], NDArray[np.float64]]
) -> None:
    frames, places = movie
    table = rows_of(localizer(card, refine=False), frames[:2])
    assert np.isfinite(table.to_numpy(float)).all()
    away = cKDTree(table.loc[table["frame"] == 0, ["x", "y"]].to_numpy(float)).query(places[0][alone(places)[0]])[0]
    assert away.max() < 0.5


def test_a_run_keeps_how_spots_were_found(
    card: ModelCard, movie: tuple[NDArray[np.uint16], NDArray[np.float64]], tmp_path: Path
) -> None:
    tifffile.imwrite(tmp_path / "m.tif", movie[0], photometric="minisblack")
    stored = {}
    for name, settings in (("psf", LocalizeSettings()), ("picasso", LocalizeSettings(min_net_gradient=1200.0))):
        out = tmp_path / f"{name}.zarr"
        report = localize_movie(tmp_path / "m.tif", card, out, response=RESPONSE, settings=settings, workers=1)
        stored[name] = read_localizations(out)[1], report
    metadata, report = stored["psf"]
    assert metadata.localize is not None
    assert (metadata.localize.detection, metadata.localize.passes) == (Detection.PSF, 6)
    assert metadata.min_net_gradient is None
    assert report.min_snr == metadata.min_snr
    assert 4 < (metadata.min_snr or 0) < 7
    metadata, report = stored["picasso"]
    assert metadata.localize is not None
    assert metadata.localize.detection is Detection.PICASSO
    assert (metadata.min_net_gradient, metadata.min_snr, report.min_snr) == (1200.0, None, None)
    assert RunMetadata.from_stored(metadata.stored(), "here") == metadata


@pytest.mark.parametrize(
    "settings",
    [
        {"detection": "psf", "min_net_gradient": 1000.0},
        {"detection": "picasso", "min_snr": 5.0},
        {"min_snr": 5.0, "min_net_gradient": 1000.0},
        {"false_alarms_per_frame": 0.0},
        {"passes": 0},
    ],
)
def test_thresholds_of_the_other_detection_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        LocalizeSettings.model_validate(settings)


@pytest.mark.parametrize(
    ("found", "rejected", "said"),
    [(0, 0, "no molecule was found"), (3, 5, "had no credible fit"), (10_000, 3, "cannot all be molecules")],
)
def test_counts_that_cannot_be_right_are_said(card: ModelCard, found: int, rejected: int, said: str) -> None:
    how = LocalizerConfig(card.path, RESPONSE, resolved(LocalizeSettings(), card))
    metadata = run_metadata(card, how, SHAPE, 110.0)
    report = RunReport(
        out=Path("run.zarr"), frames=10, frames_lost=0, frames_per_s=1.0, localizations=found, fits_rejected=rejected,
        min_snr=4.9,
    )  # fmt: skip
    with pytest.warns(EasyZlocWarning, match=said) as caught:
        warn_of_counts(report, Path("m.tif"), how, metadata)
    assert "`min_snr` (4.9)" in str(caught[0].message)


def test_usual_counts_are_no_reason_to_warn(card: ModelCard) -> None:
    how = LocalizerConfig(card.path, RESPONSE, resolved(LocalizeSettings(), card))
    report = RunReport(
        out=Path("run.zarr"), frames=10, frames_lost=0, frames_per_s=1.0, localizations=80, fits_rejected=3, min_snr=4.9
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_counts(report, Path("m.tif"), how, run_metadata(card, how, SHAPE, 110.0))


def test_what_neighbours_are_not_known_by_and_what_nothing_explains_widens_the_uncertainty(
    card: ModelCard, movie: tuple[NDArray[np.uint16], NDArray[np.float64]]
) -> None:
    frames, places = movie
    single = alone(places)
    frame, place = np.nonzero(single)[0], places[single]
    crops = crop_photons(frames, frame, place[:, 0], place[:, 1], RESPONSE, card.roi_px)
    predictor, none = Predictor(card), np.zeros_like(crops)

    def said(crops: NDArray[np.float32], factor: float) -> ZPrediction:
        neighbours = Neighbours(none, np.full((len(crops), 3), factor))
        return predictor.predict(crops, place[:, 0], place[:, 1], neighbours=neighbours)

    alike, twice = said(crops, 1.0), said(crops, 2.0)
    assert np.array_equal(twice.z_nm, alike.z_nm)
    assert np.allclose(twice.lpz_nm, 2 * alike.lpz_nm, rtol=1e-5)
    assert np.allclose(twice.lpxy_px, 2 * alike.lpxy_px, rtol=1e-5, equal_nan=True)
    by_itself = predictor.predict(crops, place[:, 0], place[:, 1])
    assert np.median(alike.lpz_nm / by_itself.lpz_nm) == pytest.approx(1.0, abs=0.1)
    disturbed = crops.copy()
    disturbed[:, 1:4, 1:4] += 60.0  # as much light as three backgrounds, where no fit puts any
    assert np.median(said(disturbed, 1.0).widening) > 1.2 * np.median(alike.widening)
