"""Detection and fits, held against Picasso's own on the same pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from easyzloc_mm._picasso import picasso
from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.localization.detection.background import RunningBackground, median_frame
from easyzloc_mm.localization.detection.detect import detect
from easyzloc_mm.localization.detection.gaussian_fit import detect_frames, fit_gaussians
from easyzloc_mm.localization.detection.threshold import automatic_threshold
from easyzloc_mm.profile.detection import Fit
from tests.helpers.localize_bench import BASELINE, GAIN, spots_movie

RESPONSE = CameraResponse(baseline_adu=BASELINE, electrons_per_adu=GAIN, read_noise_e=1.5)


def noise(shape: tuple[int, int], seed: int, *, level: float = 150.0, spread: float = 20.0) -> NDArray[np.uint16]:
    return np.random.default_rng(seed).normal(level, spread, shape).clip(0, 65535).astype(np.uint16)


def frames_of_every_kind() -> dict[str, NDArray[np.uint16]]:
    rng = np.random.default_rng(5)
    movie, _ = spots_movie(1, (97, 131), spots=12, seed=1)
    edge = noise((64, 80), 2)
    for y, x in ((0, 0), (0, 40), (30, 0), (63, 79), (3, 3), (4, 75), (60, 76), (59, 3), (3, 40), (32, 3)):
        edge[y, x] += 3000  # on and beside every border, where Picasso's gradient wraps around
    ties = rng.integers(100, 104, (70, 90)).astype(np.uint16)  # plateaus: every box has several equal maxima
    ties[20:23, 30:33] = 4000
    ties[50, 60:70] = 3000
    full = noise((60, 60), 7, level=63500, spread=1000)  # up to the last of the 16 bits
    return {
        "spots": movie[0],
        "edge": edge,
        "ties": ties,
        "saturated": full,
        "flat": np.full((40, 50), 100, np.uint16),
        "dark": np.zeros((40, 50), np.uint16),
        "noise": noise((111, 67), 3),
    }


@pytest.mark.parametrize("box", [3, 5, 7, 9, 13])
@pytest.mark.parametrize("kind", list(frames_of_every_kind()))
def test_the_same_spots_as_picasso(kind: str, box: int) -> None:
    frame = frames_of_every_kind()[kind]
    identify = picasso("localize").identify_in_frame
    found = 0
    for threshold in (-1e9, -1.0, 0.0, 50.0, 400.0, 2500.0):
        expected, ours = identify(frame, threshold, box), detect(frame, threshold, box)
        for picassos, detected in zip(expected, ours, strict=True):
            assert np.array_equal(np.asarray(picassos), np.asarray(detected))
        found += len(ours[0])
    assert found or kind in ("flat", "dark")


def test_thresholds_at_the_very_gradient_of_a_spot_decide_as_picasso_does() -> None:
    """The quick estimate must never decide where rounding could: thresholds equal to, and one bit beside, gradients."""
    frame = frames_of_every_kind()["noise"]
    identify = picasso("localize").identify_in_frame
    gradients = detect(frame, -1e9, 7)[2]
    for gradient in np.sort(gradients)[:: max(1, len(gradients) // 25)]:
        for threshold in (
            gradient,
            np.nextafter(gradient, np.float32(-np.inf)),
            np.nextafter(gradient, np.float32(np.inf)),
        ):
            expected, ours = identify(frame, float(threshold), 7), detect(frame, float(threshold), 7)
            assert np.array_equal(expected[0], ours[0])
            assert np.array_equal(expected[2], ours[2])


@pytest.mark.parametrize("shape", [(7, 7), (8, 8), (9, 8), (8, 40), (40, 8), (6, 30), (17, 16), (31, 33), (24, 25)])
def test_small_and_odd_frames(shape: tuple[int, int]) -> None:
    identify = picasso("localize").identify_in_frame
    frame = noise(shape, shape[0] * 100 + shape[1])
    for picassos, detected in zip(identify(frame, -1e9, 7), detect(frame, -1e9, 7), strict=True):
        assert np.array_equal(np.asarray(picassos), np.asarray(detected))


def test_rows_that_are_not_contiguous_and_wrong_types() -> None:
    frame = noise((60, 64), 8)
    wide = np.zeros((60, 128), np.uint16)
    wide[:, ::2] = frame
    for straight, strided in zip(detect(frame, 100.0, 7), detect(wide[:, ::2], 100.0, 7), strict=True):
        assert np.array_equal(np.asarray(straight), np.asarray(strided))
    with pytest.raises(ValueError, match="uint16"):
        detect(frame.astype(np.float32), 100.0, 7)


@pytest.mark.parametrize("method", [Fit.LQ, Fit.MLE])
def test_the_same_fits_as_picasso(method: Fit) -> None:
    movie, _ = spots_movie(6, (96, 128), seed=4)
    spots = detect_frames(movie, 1500.0, 7)
    table, rejected = fit_gaussians(movie, spots, 7, RESPONSE, method)
    localize = picasso("localize")
    camera = {"Baseline": BASELINE, "Sensitivity": GAIN, "Gain": 1, "Pixelsize": 110}
    cut = localize.get_spots(movie, spots, 7, camera)
    likelihood = method is Fit.MLE
    theta = localize.fit_spots_gauss(cut, mle=likelihood)
    expected = localize.locs_from_fits_gauss(spots, theta, 7, em=False, mle=likelihood)
    assert len(table) + rejected == len(expected) == len(spots)
    assert len(table) > 40
    merged = table.merge(expected, on=["frame", "x", "y"], suffixes=("", "_theirs"))
    assert len(merged) == len(table)
    for name in ("photons", "sx", "sy", "bg", "lpx", "lpy", "net_gradient"):
        assert np.allclose(merged[name], merged[f"{name}_theirs"], rtol=1e-6)


def test_fits_find_the_true_places() -> None:
    movie, places = spots_movie(20, (96, 128), spots=6, seed=9)
    threshold = automatic_threshold(movie, 7)
    table, _ = fit_gaussians(movie, detect_frames(movie, threshold, 7), 7, RESPONSE)
    errors, matched = [], 0
    for t, truth in enumerate(places):
        rows = table[table["frame"] == t][["x", "y"]].to_numpy(float)
        for place in truth:
            apart = np.hypot(*(truth - place).T)
            if np.sort(apart)[1] < 12:
                continue  # has a neighbour
            distance = np.hypot(*(rows - place).T) if len(rows) else np.array([np.inf])
            matched += 1
            errors.append(distance.min())
    errors_px = np.array(errors)
    assert matched > 60
    assert (errors_px < 0.5).mean() > 0.97
    expected = float(np.hypot(table["lpx"].median(), table["lpy"].median()))
    assert np.median(errors_px) < 1.5 * expected


def test_the_automatic_threshold_lets_noise_pass_hardly_ever() -> None:
    empty, _ = spots_movie(30, (128, 128), spots=0, seed=2)
    busy, places = spots_movie(30, (128, 128), spots=8, seed=2)
    threshold = automatic_threshold(busy, 7)
    assert threshold == pytest.approx(automatic_threshold(empty, 7), rel=0.15)
    assert sum(len(detect(frame, threshold, 7)[0]) for frame in empty) <= 3
    found = sum(len(detect(frame, threshold, 7)[0]) for frame in busy)
    assert found > 0.85 * places.shape[0] * places.shape[1]
    assert automatic_threshold(np.full((3, 40, 40), 100, np.uint16), 7) > 0


def test_median_frame_is_the_lower_median() -> None:
    rng = np.random.default_rng(0)
    for count in (1, 2, 5, 8, 21):
        frames = rng.integers(0, 65536, (count, 9, 11)).astype(np.uint16)
        assert np.array_equal(median_frame(frames), np.sort(frames, axis=0)[(count - 1) // 2])


def test_the_running_background_removes_what_stands_still() -> None:
    movie, places = spots_movie(60, (96, 96), spots=3, seed=3)
    lamp = np.zeros((96, 96), np.uint16)
    lamp[40:44, 50:54] = 5000
    lit = movie + lamp
    numbers = np.arange(60)
    background = RunningBackground(20, 60, lambda chosen: lit[chosen])
    cleared = background.subtract(lit, numbers)
    without = [set(zip(*detect(frame, 2500.0, 7)[:2], strict=True)) for frame in cleared]
    near_lamp = sum(36 <= y <= 47 and 46 <= x <= 57 for spots in without for y, x in spots)
    with_lamp = sum(
        36 <= y <= 47 and 46 <= x <= 57 for frame in lit for y, x in zip(*detect(frame, 2500.0, 7)[:2], strict=True)
    )
    really = sum(36 <= y <= 47 and 46 <= x <= 57 for x, y in places.reshape(-1, 2))
    assert with_lamp > 55
    assert near_lamp <= really + 3
    assert sum(map(len, without)) > 0.85 * places.shape[0] * places.shape[1]
    # Nothing but the frame's number decides: alone, in a block, or in another order.
    alone = RunningBackground(20, 60, lambda chosen: lit[chosen]).subtract(lit[47:48], numbers[47:48])
    assert np.array_equal(alone[0], cleared[47])


def test_what_is_compiled_of_picasso_is_kept() -> None:
    """Else `beads`, `calibrate` and `link` compile it for seconds, each time."""
    compiled: Any = picasso("localize")
    assert compiled.identify_in_image.stats.cache_path is not None
