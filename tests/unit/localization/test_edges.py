"""A sharp edge of the light is no row of molecules, and those beside it are found and fitted as elsewhere."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.localization.config import LocalizerConfig, resolved
from easyzloc_mm.localization.matched.detector import MatchedDetector
from easyzloc_mm.localization.matched.light import edges
from easyzloc_mm.localization.matched.light.edge_levels import follow
from easyzloc_mm.localization.pipeline import Localizer
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.profile.detection import LocalizeSettings
from easyzloc_mm.psf.detection_bank import DetectionBank
from easyzloc_mm.typing import F64, U16
from tests.helpers.localize_bench import small_bundle
from tests.helpers.ring_psf import ring_image, ring_psf

SIDE = 224
RESPONSE = CameraResponse(baseline_adu=100.0, electrons_per_adu=0.5, read_noise_e=1.5)
ROW, COLUMN = np.mgrid[:SIDE, :SIDE].astype(float)
NONE = np.empty(0)


@pytest.fixture(scope="module")
def detector() -> MatchedDetector:
    psf = ring_psf()
    return MatchedDetector(DetectionBank.of(psf, psf.table((SIDE, SIDE)), (SIDE, SIDE), (-900.0, 900.0)))


def lit(kind: str, seed: int, dark: float, bright: float, blur_px: float = 1.0) -> F64:
    """Photons per pixel of a frame with an edge."""
    rng = np.random.default_rng(seed)
    x, y = COLUMN - SIDE / 2 - rng.uniform(-15, 15), ROW - SIDE / 2 - rng.uniform(-15, 15)
    angle = rng.uniform(0, 2 * np.pi)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    inside = {"circle": np.hypot(x, y) < 70, "straight": u > 0, "corner": (u > 0) & (v > 0), "gap": np.abs(x) > 7}
    return np.asarray(dark + (bright - dark) * gaussian_filter(inside[kind].astype(float), blur_px, mode="nearest"))


def frame_of(light: F64, seed: int, x: F64 = NONE, y: F64 = NONE, z_nm: F64 = NONE, photons: float = 2500.0) -> U16:
    rng = np.random.default_rng(seed)
    for at_x, at_y, z in zip(x, y, z_nm, strict=True):
        light = light + photons * ring_image(np.hypot(COLUMN - at_x, ROW - at_y), z)
    counts = (rng.poisson(light) + rng.normal(0, RESPONSE.read_noise_e, light.shape)) / 0.5 + 100
    return np.clip(np.rint(counts), 0, 65535).astype(np.uint16)


@pytest.mark.parametrize("kind", ["circle", "straight", "corner", "gap"])
@pytest.mark.parametrize(("dark", "bright", "blur_px"), [(5.0, 60.0, 2.0), (20.0, 200.0, 0.5), (5.0, 60.0, 6.0)])
def test_a_sharp_edge_is_not_taken_for_molecules(
    detector: MatchedDetector, kind: str, dark: float, bright: float, blur_px: float
) -> None:
    threshold, frames = detector.threshold(0.05, (SIDE, SIDE)), 6
    found = [
        detector.detect(frame_of(lit(kind, seed, dark, bright, blur_px), seed), RESPONSE, threshold)
        for seed in range(frames)
    ]
    assert all(one.edges is not None for one in found)
    # 0.3 are stated for all of them; of twice that, 4 or more come three times in a thousand.
    assert sum(map(len, found)) < 4


def test_molecules_beside_an_edge_are_found_where_they_are(detector: MatchedDetector) -> None:
    threshold, found, count = detector.threshold(0.05, (SIDE, SIDE)), 0, 0
    for seed in range(4):
        angle = np.arange(8) * np.pi / 4 + 0.1 * seed
        away = np.resize([-14.0, 10.0], 8)
        x, y = SIDE / 2 + (80 + away) * np.cos(angle), SIDE / 2 + (80 + away) * np.sin(angle)
        z_nm = np.resize([-400.0, -200.0, 0.0, 200.0, 400.0], 8)
        stop = np.hypot(COLUMN - SIDE / 2, ROW - SIDE / 2) < 80
        light = 5 + 55 * gaussian_filter(stop.astype(float), 1.0)
        seen = detector.detect(frame_of(light, seed, x, y, z_nm), RESPONSE, threshold)
        away_px = cKDTree(np.stack([seen.x, seen.y], axis=1)).query(np.stack([x, y], axis=1))[0]
        found, count = found + int((away_px < 1).sum()), count + len(seen)
    assert found >= 31
    assert count <= 34


@pytest.mark.parametrize("kind", ["even", "slope", "beam", "crowd"])
def test_light_without_edges_is_seen_as_before(detector: MatchedDetector, kind: str) -> None:
    """Nothing is looked for along edges, whatever slopes and crowds make of tiles."""
    distance = np.hypot(COLUMN - SIDE / 2, ROW - SIDE / 2)
    light = {"slope": 10 + 90 * COLUMN / SIDE, "beam": 200 * np.exp(-(distance**2) / (2 * 100.0**2))}
    for seed in range(4):
        rng = np.random.default_rng(seed)
        count = 600 if kind == "crowd" else 8
        x, y, z_nm = rng.uniform(0, SIDE, count), rng.uniform(0, SIDE, count), rng.uniform(-400, 400, count)
        frame = frame_of(light.get(kind, np.full((SIDE, SIDE), 30.0)), seed, x, y, z_nm)
        assert detector.detect(frame, RESPONSE, 5.0).edges is None


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> ModelCard:
    return ModelCard.load(small_bundle(tmp_path_factory.mktemp("m") / "model", field=(SIDE, SIDE)))


def rows_of(card: ModelCard, frames: U16, passes: int) -> pd.DataFrame:
    how = resolved(LocalizeSettings(passes=passes), card)
    one = Localizer(LocalizerConfig(card.path, RESPONSE, how))
    return one.localize(frames, np.arange(len(frames)), one.threshold(frames)).table


def frames_with_spots(frames: int) -> tuple[U16, F64, F64, F64]:
    """Frames with an edge at x = 100 that the PSF of the bundle's model is on both sides of, and one without."""
    x = np.concatenate([np.full(6, 94.0), np.full(6, 106.0), np.full(6, 180.0)]) + 0.3
    y = np.tile(np.linspace(20, 200, 6), 3) + 0.2
    light: F64 = 8 + 52 * gaussian_filter((COLUMN > 100).astype(float), (0, 1.5))
    out = np.empty((frames + 1, SIDE, SIDE), np.uint16)
    spots = sum(
        np.exp(-((COLUMN - a) ** 2 + (ROW - b) ** 2) / (2 * 1.3**2)) / (2 * np.pi * 1.3**2)
        for a, b in zip(x, y, strict=True)
    )
    for t in range(frames + 1):
        expected = (light if t < frames else 30.0) + 3000 * spots
        out[t] = np.rint(np.random.default_rng(t).poisson(expected) / 0.5 + 100).clip(0, 65535)
    return out, x, y, light


@pytest.mark.usefixtures("localised_here")
@pytest.mark.parametrize("passes", [1, 4])
def test_fits_beside_an_edge_know_the_light(card: ModelCard, passes: int) -> None:
    """Places, photons and background are the truth, and places as uncertain as they say."""
    frames, x, y, light = frames_with_spots(8)
    table = rows_of(card, frames[:-1], passes)
    assert len(table) <= 1.02 * 8 * len(x)
    pulls, photons, background = [], [], []
    for _, here in table.groupby("frame"):
        away, which = cKDTree(here[["x", "y"]].to_numpy(float)).query(np.stack([x, y], axis=1))
        assert (away < 1).all()
        chosen = here.iloc[which]
        error = chosen[["x", "y"]].to_numpy(float) - np.stack([x, y], axis=1)
        pulls.append(error / chosen[["lpx", "lpy"]].to_numpy(float))
        photons.append(chosen["photons"].to_numpy() / 3000)
        background.append(chosen["bg"].to_numpy() / light[np.rint(y).astype(int), np.rint(x).astype(int)])
    beside = np.arange(len(x)) < 12
    for part in (beside, ~beside):
        # Of 8 frames of 6 spots and two axes, a root mean square is known to 7 % at best.
        assert 0.7 < np.sqrt(np.mean(np.array(pulls)[:, part] ** 2)) < 1.4
        assert np.median(np.array(photons)[:, part]) == pytest.approx(1, abs=0.1)
        assert np.median(np.array(background)[:, part]) == pytest.approx(1, abs=0.1)


@pytest.mark.usefixtures("localised_here")
def test_a_frame_with_an_edge_changes_nothing_in_others(card: ModelCard) -> None:
    frames, *_ = frames_with_spots(1)
    both, alone = (rows_of(card, some, 4) for some in (frames, frames[1:]))
    second = both[both["frame"] == 1].drop(columns="frame").reset_index(drop=True)
    pd.testing.assert_frame_equal(second, alone.drop(columns="frame"), check_exact=True)


@pytest.mark.usefixtures("localised_here")
def test_no_frame_with_an_edge_waits_for_what_is_compiled(card: ModelCard, monkeypatch: pytest.MonkeyPatch) -> None:
    followed = []
    monkeypatch.setattr(edges, "follow", lambda *args: followed.append(follow(*args)))
    one = Localizer(LocalizerConfig(card.path, RESPONSE, resolved(LocalizeSettings(passes=4), card)))
    one.warm_up()
    assert len(followed) == 1
