"""Camera and noise of the embedded microscope: statistics, units, reproducibility."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.simulator.camera import Points, VirtualCamera
from easyzloc_mm.simulator.optics import kernels
from easyzloc_mm.simulator.optics.objective import embedded_optics
from easyzloc_mm.simulator.optics.psf_table import psf_table


@pytest.fixture(scope="module")
def profile() -> Profile:
    return load_profile("demo").replace(camera={"width_px": 100, "height_px": 96})


@pytest.fixture(scope="module")
def camera(profile: Profile) -> VirtualCamera:
    model = embedded_optics(profile)
    return VirtualCamera(profile, model, psf_table(model), seed=3)


def points(*rows: tuple[float, float, float, float]) -> Points:
    return Points(*np.array(rows, dtype=float).reshape(-1, 4).T)


@pytest.mark.parametrize("mean", [0.02, 0.7, 5.0, 9.99, 10.01, 60.0, 3000.0])
def test_counts_are_poisson(mean: float) -> None:
    state = kernels.random_state(1, round(100 * mean))
    counts = np.array([kernels.poisson(mean, state) for _ in range(40_000)])
    edges = np.unique(stats.poisson.ppf(np.linspace(0.02, 0.98, 15), mean))
    observed = np.histogram(counts, np.concatenate([[-1], edges, [np.inf]]) + 0.5)[0]
    cumulative = np.concatenate([[0], stats.poisson.cdf(edges, mean), [1]])
    expected = np.diff(cumulative) * len(counts)
    kept = expected > 5
    chi2 = float(((observed - expected)[kept] ** 2 / expected[kept]).sum())
    assert chi2 < stats.chi2.ppf(0.9999, kept.sum())


def test_photon_transfer_recovers_the_camera_units(camera: VirtualCamera, profile: Profile) -> None:
    response = profile.camera
    means, variances = [], []
    for background in (0.0, 20.0, 60.0, 150.0, 400.0):
        frames = np.stack([camera.photograph(points(), background, 0.0, k) for k in range(100)]).astype(float)
        means.append(frames.mean())
        variances.append(frames.var(axis=0, ddof=1).mean())
    slope = np.polyfit(means, variances, 1)[0]
    assert 1 / slope == pytest.approx(response.electrons_per_adu, rel=0.01)
    assert means[0] == pytest.approx(response.baseline_adu, abs=0.1)
    read_noise = np.sqrt(variances[0] - 1 / 12) * response.electrons_per_adu
    assert read_noise == pytest.approx(response.read_noise_e, rel=0.01)


def test_background_is_smooth_and_known(camera: VirtualCamera, profile: Profile) -> None:
    response = profile.camera
    mean = np.mean([camera.photograph(points(), 40.0, 0.03, k) for k in range(200)], axis=0)
    electrons = (mean - response.baseline_adu) * response.electrons_per_adu
    y, x = np.mgrid[4 : response.height_px : 8, 4 : response.width_px : 8]
    truth = camera.background_at(x.ravel().astype(float), y.ravel().astype(float), 40.0)
    seen = electrons[y.ravel(), x.ravel()]
    cool = np.abs(seen - truth) < 8  # not a hot pixel
    assert cool.mean() > 0.97
    assert np.abs((seen - truth)[cool]).mean() < 0.6  # standard error 0.47
    assert np.ptp(truth) > 10


def test_emitters_give_their_photons_where_they_are(camera: VirtualCamera, profile: Profile) -> None:
    response = profile.camera
    x, y, photons = 41.3, 52.8, 30_000.0
    dark = np.mean([camera.photograph(points(), 0.0, 0.03, k) for k in range(40)], axis=0)
    lit = np.mean([camera.photograph(points((x, y, 0.0, photons)), 0.0, 0.03, k) for k in range(40)], axis=0)
    electrons = (lit - dark) * response.electrons_per_adu
    assert 0.93 < electrons.sum() / photons < 0.99  # the rest falls beyond the tabulated patch
    box = electrons[53 - 7 : 53 + 8, 41 - 7 : 41 + 8]
    at = {"x_px": x, "y_px": y, "dx_px": x - 41, "dy_px": y - 53, "z_nm": 0.0}
    place = {name: np.array([value]) for name, value in at.items()}
    exact = embedded_optics(profile).psf_with_derivatives(**place, size=15)[0][0]
    assert box.sum() == pytest.approx(photons * exact.sum(), rel=0.01)
    assert np.abs(box - photons * exact).max() < 0.02 * photons * exact.max() + 5


def test_sum_of_counts_has_poisson_variance(camera: VirtualCamera, profile: Profile) -> None:
    emitter = points((48.2, 47.6, 120.0, 2500.0))
    frames = np.stack([camera.photograph(emitter, 40.0, 0.03, k) for k in range(400)]).astype(float)
    electrons = (frames[:, 41:56, 41:56] - profile.camera.baseline_adu) * profile.camera.electrons_per_adu
    total = electrons.sum(axis=(1, 2))
    noise = total.var(ddof=1)
    expected = total.mean() + 225 * (profile.camera.read_noise_e**2 + profile.camera.electrons_per_adu**2 / 12)
    assert noise == pytest.approx(expected, rel=4 * np.sqrt(2 / 400))


def test_em_gain_doubles_the_variance_of_emitters_and_background(profile: Profile) -> None:
    em = profile.replace(camera={"excess_noise": 2.0, "electrons_per_adu": 0.05, "read_noise_e": 0.1})
    model = embedded_optics(em)
    camera = VirtualCamera(em, model, psf_table(model), seed=4)
    emitter = points((48.2, 47.6, 120.0, 2500.0))
    frames = np.stack([camera.photograph(emitter, 20.0, 0.03, k) for k in range(400)]).astype(float)
    electrons = (frames - em.camera.baseline_adu) * em.camera.electrons_per_adu
    for part in (electrons[:, 41:56, 41:56], electrons[:, 4:19, 4:19]):
        total = part.sum(axis=(1, 2))
        expected = 2 * total.mean() + 225 * em.camera.read_noise_e**2
        assert total.var(ddof=1) == pytest.approx(expected, rel=4 * np.sqrt(2 / 400))


def test_emitters_beyond_the_edge_shine_in(camera: VirtualCamera) -> None:
    dark = np.mean([camera.photograph(points(), 0.0, 0.03, k) for k in range(20)], axis=0)
    outside = points((-2.0, 40.0, 0.0, 50_000.0), (103.0, 99.0, 0.0, 50_000.0), (-60.0, 40.0, 0.0, 1e6))
    lit = np.mean([camera.photograph(outside, 0.0, 0.03, k) for k in range(20)], axis=0)
    assert (lit - dark)[40, 0] > 500
    assert (lit - dark)[95, 99] > 50
    assert abs((lit - dark)[30:60, 40:60].mean()) < 2


def test_some_pixels_are_hot(camera: VirtualCamera) -> None:
    short = np.mean([camera.photograph(points(), 0.0, 0.03, k) for k in range(60)], axis=0)
    long = np.mean([camera.photograph(points(), 0.0, 0.6, k) for k in range(60)], axis=0)
    hot = long > np.median(long) + 20
    assert 1 <= hot.sum() <= 6
    assert ((long - np.median(long))[hot] / (short - np.median(short))[hot]).mean() == pytest.approx(20, rel=0.5)


def test_counts_stop_at_the_bit_depth(profile: Profile) -> None:
    small = profile.replace(camera={"bit_depth": 12})
    model = embedded_optics(small)
    bright = VirtualCamera(small, model, psf_table(model)).photograph(points((50, 48, 0, 1e6)), 50.0, 0.03, 0)
    assert bright.max() == 4095


def test_a_frame_follows_from_its_seed(camera: VirtualCamera) -> None:
    what = points((30.0, 60.0, -300.0, 4000.0), (70.0, 20.0, 400.0, 4000.0))
    first = camera.photograph(what, 40.0, 0.03, 7)
    assert not np.array_equal(first, camera.photograph(what, 40.0, 0.03, 8))
    assert np.array_equal(first, camera.photograph(what, 40.0, 0.03, 7))
