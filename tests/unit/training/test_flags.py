"""When z is to be believed: mixtures, the likelihood's maxima, and the threshold of the ambiguity flag."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from easyzloc_mm.benchmarks.fixtures.embedded import EmitterMaker, embedded_beads, true_table
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.model.emitter_prior import EmitterPrior
from easyzloc_mm.model.likelihood_refinement import maxima
from easyzloc_mm.model.mixture import MAIN_SHARE, MODE_MIN_NM, MODE_SIGMAS, MODE_START_NM, ROUNDS, Mixture
from easyzloc_mm.model.uncertainty import COST_SHARE, ambiguity
from easyzloc_mm.psf.bead_psf import BeadPsfs
from easyzloc_mm.psf.mle import fit_psf
from easyzloc_mm.simulator.optics.objective import embedded_optics


def _mixtures() -> Mixture:
    rng = np.random.default_rng(4)
    weight = rng.dirichlet(np.ones(4), 60)
    return Mixture(weight, rng.uniform(-900, 900, (60, 4)), rng.uniform(15, 150, (60, 4)))


def test_the_main_mode_is_the_most_probable_one_on_a_fine_grid() -> None:
    mixture = _mixtures()
    z = np.arange(-1800.0, 1800.0, 0.5)
    said_z, said_sd = mixture.main_mode()
    reach = 200.0
    far = mixture.beyond(said_z, np.full(60, reach))
    for i in range(60):
        pull = (z[:, None] - mixture.mean_nm[i]) / mixture.sd_nm[i]
        density = np.sum(mixture.weight[i] / mixture.sd_nm[i] * np.exp(-0.5 * pull**2), axis=1)
        density /= density.sum()
        assert far[i] == pytest.approx(density[np.abs(z - said_z[i]) > reach].sum(), abs=2e-3)
        # The same by sums: from every component, mean and spread of what lies within reach, over and over.
        modes = [_settled(z, density, mean) for mean in mixture.mean_nm[i]]
        highest = modes[np.argmax(np.interp(mixture.mean_nm[i], z, density))]
        mean, sd, share = highest if highest[2] >= MAIN_SHARE else max(modes, key=lambda mode: mode[2])
        if mean != pytest.approx(said_z[i], abs=2.0):  # two modes may hold the same to the sums' last digit
            mean, sd, other = min(modes, key=lambda mode: abs(mode[0] - said_z[i]))
            assert other == pytest.approx(share, abs=1e-3)
        assert said_z[i] == pytest.approx(mean, abs=2.0)
        assert said_sd[i] == pytest.approx(sd, abs=2.0)


def _settled(z: np.ndarray, density: np.ndarray, mean: float) -> tuple[float, float, float]:
    sd, total = MODE_START_NM, 0.0
    for _ in range(ROUNDS):
        inside = np.abs(z - mean) <= max(MODE_SIGMAS * sd, MODE_MIN_NM)
        total = density[inside].sum()
        mean = np.sum(density[inside] * z[inside]) / total
        sd = np.sqrt(np.sum(density[inside] * (z[inside] - mean) ** 2) / total)
    return mean, sd, total


def test_of_two_depths_the_likelier_one_is_said_however_broad() -> None:
    torn = Mixture(np.array([[0.35, 0.65]]), np.array([[300.0, -400.0]]), np.array([[10.0, 90.0]]))
    z, sd = torn.main_mode()
    assert z[0] == pytest.approx(-400, abs=2)
    assert sd[0] == pytest.approx(90, rel=0.1)


def test_what_one_of_two_opinions_holds_possible_stays_possible() -> None:
    def one(z_nm: float) -> Mixture:
        return Mixture(np.ones((1, 1)), np.full((1, 1), z_nm), np.full((1, 1), 20.0))

    agreed = one(300).pool(one(310))
    z, sd = agreed.main_mode()
    assert z[0] == pytest.approx(305, abs=1)
    assert agreed.beyond(z, 4 * sd)[0] < 1e-3
    torn = one(300).pool(one(-300))
    assert torn.beyond(*torn.main_mode())[0] > 0.4


def test_probabilities_of_the_likelihoods_maxima_are_how_often_they_are_right() -> None:
    profile = load_profile("demo")
    x, y = np.array([120.0, 300.0, 420.0]), np.array([400.0, 90.0, 250.0])
    table = true_table(embedded_optics(profile), x, y, 900.0)
    molecules = EmitterMaker(profile, x, y, 500, 800.0, 0).light((800, 1500), (30, 60), 1)
    prior = EmitterPrior().prior(molecules.x, molecules.y)
    fit = fit_psf(molecules.crops, table, molecules.bead, np.linspace(-850, 850, 10), 1.5, prior)
    opinion = Mixture(maxima(fit, -900, 900), fit.z_nm, np.maximum(fit.sigma_nm, 3))
    some = opinion.weight.any(axis=1)
    assert some.mean() > 0.95
    assert np.allclose(opinion.weight[some].sum(axis=1), 1)
    best = opinion.weight.argmax(axis=1)
    z = opinion.mean_nm[np.arange(500), best]
    far = opinion.beyond(z, np.full(500, 300.0))
    wrong = np.abs(z - molecules.z_nm) > 300
    # Without the prior, a spot of next to no photons fits anywhere, and twice as many are wrong.
    free = fit_psf(molecules.crops, table, molecules.bead, np.linspace(-850, 850, 10), 1.5)
    z_free = free.z_nm[np.arange(500), np.argmin(free.deviance, axis=1)]
    assert wrong.sum() < 0.7 * np.sum(np.abs(z_free - molecules.z_nm) > 300)
    assert 0.4 < wrong.sum() / far.sum() < 2.5
    doubted = far > np.quantile(far, 0.7)
    assert wrong[doubted].mean() > 3 * wrong[~doubted].mean()


def test_the_threshold_makes_the_trade_off_that_it_states() -> None:
    rng = np.random.default_rng(0)
    p_outlier = rng.beta(0.08, 4, 40000)
    error = np.where(rng.random(40000) < p_outlier, 900.0, rng.normal(0, 20, 40000))
    measured = ambiguity(p_outlier, error, np.full(40000, 30.0))
    assert measured.threshold is not None
    assert measured.cost is not None
    assert measured.caught is not None
    flagged, outlier = p_outlier > measured.threshold, np.abs(error) > 120
    assert flagged[~outlier].mean() == pytest.approx(measured.cost, abs=1e-9)
    assert flagged[outlier].mean() == pytest.approx(measured.caught, abs=1e-9)
    assert measured.cost <= COST_SHARE + 1e-3
    assert measured.caught > 0.5
    # Where mistakes stand out, little is paid for them.
    clear = np.where(np.arange(40000) % 100 == 0, rng.uniform(0.1, 0.5, 40000), rng.uniform(0, 0.01, 40000))
    error = np.where(np.arange(40000) % 100 == 0, 900.0, 0.0)
    cheap = ambiguity(clear, error, np.full(40000, 30.0))
    assert cheap.cost == 0
    assert cheap.caught is not None
    assert cheap.caught > 0.95
    assert ambiguity(np.zeros(100), np.zeros(100), np.ones(100)).caught is None


def test_a_bleaching_bead_does_not_tell_its_z_by_its_brightness() -> None:
    profile = load_profile("demo").replace(beads={"z_step_nm": 100.0})
    beads = embedded_beads(profile, 30, 2).held_out
    adu = beads.rois.astype(float)
    level = np.median(np.concatenate([adu[:, :, 0], adu[:, :, -1]], axis=2), axis=(1, 2))[:, None, None, None]
    light = np.geomspace(1, 0.5, adu.shape[1])[None] * np.ones((len(beads), 1))
    middle = np.nanargmin(np.abs(beads.z_nm), axis=1)
    light /= light[np.arange(len(beads)), middle][:, None]
    bleached = replace(
        beads,
        rois=np.rint(level + (adu - level) * light[:, :, None, None]).clip(0, 65535).astype(np.uint16),
        light=light.astype(np.float32),
    )
    everyone = np.arange(len(beads))
    truth_table = BeadPsfs.from_beads(beads, everyone).table
    truth, told, untold = (
        BeadPsfs.from_beads(which, everyone).table.coefficients.sum(axis=(2, 3))
        for which in (beads, bleached, replace(bleached, light=np.ones_like(bleached.light)))
    )
    # Where the light halves over 3 um, 500 nm from focus a tenth is missing, or too much.
    z_nm = truth_table.z_start_nm + truth_table.z_pitch_nm * np.arange(truth.shape[1])
    away = (np.abs(z_nm) > 400) & (np.abs(z_nm) < 700)
    error, naive = (np.abs(np.median(found / truth, axis=0) - 1)[away].mean() for found in (told, untold))
    assert naive > 0.08
    assert error < 0.2 * naive
