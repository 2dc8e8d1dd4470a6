"""Mixtures: the main mode, pooled opinions, and the weight of the likelihood's maxima."""

from __future__ import annotations

import numpy as np
import pytest

from easyzloc_mm.benchmarks.fixtures.embedded import EmitterMaker, true_table
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.model.emitter_prior import EmitterPrior
from easyzloc_mm.model.likelihood_refinement import maxima
from easyzloc_mm.model.mixture import MAIN_SHARE, MODE_MIN_NM, MODE_SIGMAS, MODE_START_NM, ROUNDS, Mixture
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
