"""Detection by the PSF: its rate of false alarms is the stated one, and what it finds is where the truth says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from easyzloc_mm.camera.response import CameraResponse, PixelResponse
from easyzloc_mm.localization.matched.correlation import TILE_PX, tile_medians
from easyzloc_mm.localization.matched.detector import Detections, MatchedDetector
from easyzloc_mm.localization.matched.light.background import FINER, finer
from easyzloc_mm.localization.matched.light.unevenness import EVEN, KNOWN
from easyzloc_mm.numerics.level import SAMPLES, levels_around
from easyzloc_mm.psf.detection_bank import DetectionBank
from easyzloc_mm.typing import F64, U16
from tests.helpers.ring_psf import ring_image, ring_psf

SIDE = 160
RESPONSE = CameraResponse(baseline_adu=100.0, electrons_per_adu=0.5, read_noise_e=1.5)
DEPTHS = (-800.0, -500.0, -200.0, 0.0, 200.0, 500.0, 800.0)


def frame_of(
    x: F64,
    y: F64,
    z_nm: F64,
    photons: F64,
    background: float | F64,
    seed: int,
    gain: float | F64 = 0.5,
    dark: float = 1.5,
) -> U16:
    """ADU of a camera with a baseline of 100, drawn from the formula of the PSF and not from its splines."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:SIDE, :SIDE]
    light = np.full((SIDE, SIDE), background, float)
    for at_x, at_y, z, n in zip(x, y, z_nm, photons, strict=True):
        light += n * ring_image(np.hypot(column - at_x, row - at_y), z)
    counts = (rng.poisson(light) + rng.normal(0, dark, light.shape)) / gain + 100
    return np.clip(np.rint(counts), 0, 65535).astype(np.uint16)


@pytest.fixture(scope="module")
def detector() -> MatchedDetector:
    psf = ring_psf()
    return MatchedDetector(DetectionBank.of(psf, psf.table((SIDE, SIDE)), (SIDE, SIDE), (-900.0, 900.0)))


NONE = np.empty(0)


@pytest.mark.parametrize(
    ("background", "electrons_per_adu", "read_noise_e"),
    [(4.0, 0.25, 0.7), (30.0, 0.5, 1.5), (30.0, 4.0, 1.5), (2.0, 1.0, 6.0), (800.0, 2.0, 1.5)],
)
def test_noise_alone_gives_the_stated_number_of_false_alarms(
    detector: MatchedDetector, background: float, electrons_per_adu: float, read_noise_e: float
) -> None:
    wanted, frames = 2.0, 24
    threshold = detector.threshold(wanted, (SIDE, SIDE))
    response = CameraResponse(
        baseline_adu=100.0, electrons_per_adu=electrons_per_adu, read_noise_e=read_noise_e
    )  # fmt: skip
    found = [
        len(detector.detect(_noise(background, electrons_per_adu, read_noise_e, seed), response, threshold))
        for seed in range(frames)
    ]
    expected = wanted * frames
    assert abs(sum(found) - expected) < 4 * np.sqrt(expected)


def _noise(background: float, gain: float, read_noise_e: float, seed: int) -> U16:
    return frame_of(NONE, NONE, NONE, NONE, background, seed, gain, read_noise_e)


def test_a_threshold_of_fewer_false_alarms_is_higher_and_a_larger_frame_needs_a_higher_one(
    detector: MatchedDetector,
) -> None:
    often, seldom = (detector.threshold(rate, (SIDE, SIDE)) for rate in (1.0, 0.01))
    assert seldom > often
    assert detector.threshold(1.0, (4 * SIDE, SIDE)) > often
    assert detector.threshold(16.0, (4 * SIDE, 4 * SIDE)) == pytest.approx(often)


def _scattered(seed: int, photons: float = 2500.0) -> tuple[F64, F64, F64, F64]:
    """Emitters on a lattice, each at its own depth and place in its pixel."""
    rng = np.random.default_rng(seed)
    x, y = (
        grid.ravel() + rng.uniform(-0.5, 0.5, 25)
        for grid in np.meshgrid(np.arange(20, 160, 30), np.arange(20, 160, 30))
    )
    return x, y, np.resize(DEPTHS, 25), np.full(25, photons)


def _nearest(found: Detections, x: F64, y: F64) -> F64:
    return np.asarray(np.hypot(found.x[None] - x[:, None], found.y[None] - y[:, None]).min(axis=1))


def test_emitters_are_found_at_every_depth_each_once_and_where_they_are(detector: MatchedDetector) -> None:
    threshold = detector.threshold(0.01, (SIDE, SIDE))
    for seed in range(4):
        x, y, z, photons = _scattered(seed)
        found = detector.detect(frame_of(x, y, z, photons, 30.0, seed), RESPONSE, threshold)
        assert len(found) == len(x)
        assert _nearest(found, x, y).max() < 1.5
        nearest = np.argmin(np.hypot(found.x[None] - x[:, None], found.y[None] - y[:, None]), axis=1)
        # Far above focus the ring tells the depth; elsewhere images differ little.
        assert np.abs(found.z_nm[nearest] - z)[z >= 500].max() < 200
        assert (found.snr >= threshold).all()


def test_the_correlation_is_the_ratio_of_signal_to_noise(detector: MatchedDetector) -> None:
    """Of an emitter that is faint beside its background: photons times the norm of its image, over the noise."""
    values, background, light = [], 1600.0, 1600.0
    for seed in range(30):
        frame = frame_of(np.array([80.0]), np.array([80.0]), np.zeros(1), np.array([light]), background, seed)
        found = detector.detect(frame, RESPONSE, 3.0)
        near = _nearest(found, np.array([80.0]), np.array([80.0]))[0] < 2
        values.append(found.snr[np.argmin(np.hypot(found.x - 80, found.y - 80))] if near else 0.0)
    pixel = np.arange(-7, 8)
    image = ring_image(np.hypot(pixel[:, None], pixel), 0.0)
    expected = light * np.sqrt(np.sum(image**2)) / np.sqrt(background + 1.5**2)
    # The largest of several places and depths is somewhat more than the one at the truth; filters lose a few percent.
    assert 0.9 * expected < np.median(values) < expected + 1.5


def test_crowded_frames_do_not_raise_the_threshold(detector: MatchedDetector) -> None:
    """Where emitters are everywhere, still many are found: the noise is not taken from the emitters themselves."""
    rng = np.random.default_rng(5)
    count = round(SIDE**2 * 0.11**2)  # one per square micrometre at 110 nm
    x, y, z = rng.uniform(0, SIDE, count), rng.uniform(0, SIDE, count), rng.uniform(-300, 300, count)
    frame = frame_of(x, y, z, np.full(count, 2000.0), 30.0, 5)
    assert len(detector.detect(frame, RESPONSE, detector.threshold(0.1, (SIDE, SIDE)))) > count / 4


def test_what_is_explained_is_not_found_again(detector: MatchedDetector) -> None:
    x, y, z, photons = _scattered(7)
    frame, threshold = frame_of(x, y, z, photons, 30.0, 7), detector.threshold(0.1, (SIDE, SIDE))
    row, column = np.mgrid[:SIDE, :SIDE]
    light = sum(
        n * ring_image(np.hypot(column - a, row - b), c) for a, b, c, n in list(zip(x, y, z, photons, strict=True))[1:]
    )
    known = np.asarray(light, np.float32)
    found = detector.detect(frame, RESPONSE, threshold, known=known, error=known)
    assert len(found) == 1
    assert _nearest(found, x[:1], y[:1])[0] < 1.5


def test_pixels_of_their_own_gain_and_noise_raise_no_false_alarms(detector: MatchedDetector) -> None:
    rng = np.random.default_rng(8)
    shape = (SIDE, SIDE)
    pixels = PixelResponse(
        rng.normal(100, 8, shape).astype(np.float32),
        np.where(rng.random(shape) < 0.03, 15.0, 1.2).astype(np.float32),
        rng.normal(0.5, 0.03, shape).astype(np.float32),
    )
    threshold = detector.threshold(0.5, shape)
    x, y, z, photons = _scattered(9)
    row, column = np.mgrid[:SIDE, :SIDE]
    light = 30.0 + sum(
        n * ring_image(np.hypot(column - a, row - b), c) for a, b, c, n in zip(x, y, z, photons, strict=True)
    )
    counts = (rng.poisson(light) + rng.normal(0, 1, shape) * pixels.read_noise_e) / pixels.electrons_per_adu
    frame = np.rint(counts + pixels.baseline_adu).clip(0, 65535).astype(np.uint16)
    mapped, flat = (detector.detect(frame, response, threshold) for response in (pixels, RESPONSE))
    assert _nearest(mapped, x, y).max() < 1.5
    assert len(mapped) <= len(x) + 4
    assert len(flat) > len(mapped)


@pytest.mark.parametrize("shape", [(64, 48), (37, 53), (16, 31), (5, 3), (1, 1)])
def test_the_background_of_a_tile_is_the_median_of_what_is_not_known(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    known = rng.uniform(0, 500, shape).astype(np.float32)
    noise = rng.normal(0, 10, shape).astype(np.float32)
    noise[rng.random(shape) < 0.05] += 3000
    tiles = max(shape[0] // TILE_PX, 1), max(shape[1] // TILE_PX, 1)
    medians = np.full(tiles, np.nan, np.float32)
    tile_medians(known + noise + 160, known, medians, np.empty_like(medians))
    for i, rows in enumerate(np.array_split(noise, tiles[0])):
        for j, part in enumerate(np.array_split(rows, tiles[1], axis=1)):
            seen = min(part.size, SAMPLES**2)
            assert abs(medians[i, j] - 160 - np.median(part)) < 5 * 1.25 * 10 / np.sqrt(seen)


def _background(detector: MatchedDetector, light: float | F64, shape: tuple[int, int] = (SIDE, SIDE)) -> F64:
    """Background of emitters in a few frames, and its uncertainty, shape (n, 2); and their places."""
    found = []
    for seed in range(8):
        frame = frame_of(*_scattered(seed), np.broadcast_to(light, (SIDE, SIDE)), seed)[: shape[0], : shape[1]]
        found.append(detector.detect(frame, RESPONSE, detector.threshold(0.01, shape)))
    return np.concatenate([np.column_stack([one.background, one.x]) for one in found])


def test_an_even_background_is_known_and_an_uneven_one_is_known_to_be_uncertain(detector: MatchedDetector) -> None:
    even = _background(detector, 30.0)
    # The light of emitters, in a tenth of the pixels, moves a median by less than its noise.
    assert np.abs(even[:, 0] - 30).max() < 2
    assert 0.1 < np.median(even[:, 1]) < 1.0
    assert np.mean(np.abs(even[:, 0] - 30) < 2 * even[:, 1]) > 0.9
    slope: F64 = 30 + 0.3 * np.arange(SIDE, dtype=np.float64)
    uneven = _background(detector, slope)
    true = 30 + 0.3 * uneven[:, 2]
    assert np.median(uneven[:, 1]) > 5
    inside = np.abs(uneven[:, 2] - SIDE / 2) < SIDE / 4
    assert np.mean(np.abs(uneven[:, 0] - true)[inside] < 2 * uneven[inside, 1]) > 0.95


def test_a_frame_of_hardly_more_than_a_tile_says_nothing_of_the_background(detector: MatchedDetector) -> None:
    small = _background(detector, 30.0, (40, 110))
    assert len(small)
    assert np.isinf(small[:, 1]).all()


def test_training_is_told_of_the_background_what_frames_say(detector: MatchedDetector) -> None:
    one = np.array([80.0]), np.array([80.0]), np.zeros(1), np.array([3000.0])
    found = [detector.detect(frame_of(*one, 30.0, seed), RESPONSE, 8.0).background for seed in range(60)]
    frames, drawn = np.concatenate(found), levels_around(np.full(4000, 30.0), RESPONSE.read_noise_e**2, 0)
    assert len(frames) == 60
    assert np.median(drawn[:, 1]) == pytest.approx(np.median(frames[:, 1]), rel=0.05)
    assert np.std(drawn[:, 0]) == pytest.approx(np.std(frames[:, 0]), rel=0.35)
    for levels in (frames, drawn):
        assert np.mean(np.abs(levels[:, 0] - 30) < 2 * levels[:, 1]) > 0.9


@pytest.mark.parametrize("light", ["slope", "beam"])
def test_light_that_falls_off_towards_the_edge_of_a_frame_is_no_molecule(detector: MatchedDetector, light: str) -> None:
    row, column = (np.arange(256) - 127.5 for _ in range(2))
    slope: F64 = np.tile(10 + 90 * np.arange(256) / 255, (256, 1))
    beam: F64 = 60 * np.exp(-(row[:, None] ** 2 + column**2) / (2 * 150.0**2))
    threshold, false = detector.threshold(0.05, (256, 256)), 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        counts = (rng.poisson(slope if light == "slope" else beam) + rng.normal(0, 1.5, (256, 256))) / 0.5 + 100
        false += len(detector.detect(np.rint(counts).astype(np.uint16), RESPONSE, threshold))
    # 1.5 are stated; of twice that, 10 or more come once in a thousand times.
    assert false < 10


def test_the_background_between_tiles_follows_light_that_bends() -> None:
    middle = 16 * np.arange(9) + 7.5
    across, down = np.meshgrid(middle, middle)
    bent = (across / 20 - 3) ** 2 + (down / 30) ** 2
    # A tile says the mean over its width.
    tiles = bent + 16**2 / 12 * (1 / 20**2 + 1 / 30**2)
    place = 16 * (np.arange(9 * FINER) + 0.5) / FINER - 0.5
    right, below = np.meshgrid(place, place)
    away = np.abs(finer(tiles.astype(np.float32)) - ((right / 20 - 3) ** 2 + (below / 30) ** 2))
    inner = slice(2 * FINER, -2 * FINER)
    assert away[inner, inner].max() < 0.01
    slope = (2 * across + down).astype(np.float32)
    assert np.abs(finer(slope) - np.maximum(2 * right + below, 0)).max() < 1e-3


@pytest.mark.parametrize(("unevenness", "apart_px"), [(0.15, 20.0), (0.3, 40.0), (0.5, 80.0)])
def test_light_as_of_a_cell_is_not_taken_for_molecules(
    detector: MatchedDetector, unevenness: float, apart_px: float
) -> None:
    """The background rises and falls by a part of its mean within so many pixels; molecules in focus stand out."""
    threshold, found, false = detector.threshold(0.05, (SIDE, SIDE)), 0, 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        light = gaussian_filter(rng.normal(size=(SIDE, SIDE)), apart_px / 4.44, mode="wrap")
        background = 40 * np.maximum(1 + unevenness / 2 * light / light.std(), 0.1)
        x, y, z, photons = (values[::3] for values in _scattered(seed))
        z = np.resize([-200.0, 0.0, 200.0, 400.0], len(x))
        seen = detector.detect(frame_of(x, y, z, photons, background, seed), RESPONSE, threshold)
        away = np.hypot(seen.x[:, None] - x, seen.y[:, None] - y)
        found += int((away.min(axis=0, initial=np.inf) < 2).sum())
        false += int((away.min(axis=1, initial=np.inf) > 4).sum())
    assert found >= 0.95 * 6 * 9
    assert false <= 3


def test_of_an_even_background_that_tiles_agree_on_a_wide_image_keeps_its_signal(detector: MatchedDetector) -> None:
    """A template that is blind to the level of the background loses what its image has in common with it."""
    ratios = []
    for seed in range(4):
        x, y, _, photons = _scattered(seed, photons=4000.0)
        frame = _larger(frame_of(x[::3], y[::3], np.full(9, -850.0), photons[::3], 40.0, seed), seed)
        known, blind = detector.detect(frame, RESPONSE, 4.0), detector.detect(frame, RESPONSE, 4.0, light=EVEN)
        assert known.light == KNOWN
        snr = [
            one.snr[np.argmin(np.hypot(one.x - x[:, None], one.y - y[:, None]), axis=1)][::3] for one in (known, blind)
        ]
        ratios.append(np.median(snr[0] / snr[1]))
    pixel = np.arange(-9, 10)
    image = ring_image(np.hypot(pixel[:, None], pixel), -850.0)
    lost = np.sqrt(1 - image.sum() ** 2 / np.sum(image**2) / 30**2)
    assert np.mean(ratios) > 1 + (1 / lost - 1) / 2


@pytest.mark.parametrize("kind", ["bright corner", "few counts", "coarse counts"])
def test_a_background_is_known_only_where_tiles_agree_and_counts_are_fine(detector: MatchedDetector, kind: str) -> None:
    background, gain = np.full((SIDE, SIDE), 1.0 if kind == "few counts" else 30.0), 0.5
    if kind == "bright corner":
        background[:64, :64] += 10.0
    if kind == "coarse counts":
        gain = 12.0
    response = CameraResponse(baseline_adu=100.0, electrons_per_adu=gain, read_noise_e=0.5)
    lights = [
        detector.detect(frame_of(NONE, NONE, NONE, NONE, background, seed, gain, 0.5), response, 5.0).light
        for seed in range(3)
    ]
    assert KNOWN not in lights


def _larger(frame: U16, seed: int) -> U16:
    """Return a frame with three of nothing but the same background beside it."""
    others = [_noise(40.0, 0.5, 1.5, 100 * seed + k) for k in range(3)]
    return np.block([[frame, others[0]], [others[1], others[2]]])


@pytest.mark.parametrize("kind", ["slope", "beam"])
def test_light_that_falls_off_slowly_is_not_taken_for_molecules(detector: MatchedDetector, kind: str) -> None:
    """Whether or not the background passes for known, noise gives no more false alarms than are stated."""
    row, column = np.mgrid[: 2 * SIDE, : 2 * SIDE] - SIDE
    light = 40 * (1 + 0.2 * column / SIDE) if kind == "slope" else 40 * np.exp(-(row**2 + column**2) / (2 * 200**2))
    threshold, frames = detector.threshold(4.0, (2 * SIDE, 2 * SIDE)), 16
    found = 0
    for seed in range(frames):
        quarters = [
            [
                frame_of(NONE, NONE, NONE, NONE, light[SIDE * a :, SIDE * b :][:SIDE, :SIDE], 4 * seed + 2 * a + b)
                for b in (0, 1)
            ]
            for a in (0, 1)
        ]
        found += len(detector.detect(np.block(quarters), RESPONSE, threshold))
    assert found < 4.0 * frames + 4 * np.sqrt(4.0 * frames)
