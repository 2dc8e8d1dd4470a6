"""The threshold of the ambiguity flag, and beads that bleach."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from easyzloc_mm.benchmarks.fixtures.embedded import embedded_beads
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.model.uncertainty import COST_SHARE, ambiguity
from easyzloc_mm.psf.bead_psf import BeadPsfs


def test_the_threshold_makes_the_trade_off_that_it_states() -> None:
    rng = np.random.default_rng(0)
    p_outlier = rng.beta(0.08, 4, 40000)
    error = np.where(rng.random(40000) < p_outlier, 900.0, rng.normal(0, 20, 40000))
    measured = ambiguity(p_outlier, error, np.full(40000, 120.0))
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
    cheap = ambiguity(clear, error, np.full(40000, 120.0))
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
