"""The rivals of `bench accuracy` are Picasso's own code, given its best."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from easyzloc_mm.benchmarks.accuracy.recall import bench_recall
from easyzloc_mm.benchmarks.accuracy.rivals import PLANES_NM, fit_picasso, mean_bead, picasso_spline
from easyzloc_mm.benchmarks.fixtures.embedded import EmbeddedBeads, EmitterMaker, embedded_beads
from easyzloc_mm.benchmarks.second_optics.study import movie_conditions
from easyzloc_mm.io.profiles import load_profile


@pytest.fixture(scope="module")
def beads() -> EmbeddedBeads:
    return embedded_beads(load_profile("demo").replace(beads={"z_step_nm": 50.0}), 30, 3)


def test_the_mean_bead_is_centred_and_sharpest_in_the_middle(beads: EmbeddedBeads) -> None:
    mean = mean_bead(beads.train, np.arange(len(beads.train)))
    assert mean.shape == (len(PLANES_NM), *beads.train.rois.shape[2:])
    focus = np.argmax(mean.max(axis=(1, 2)))
    assert abs(PLANES_NM[focus]) <= 100
    middle = mean.shape[1] // 2
    sharp = mean[len(PLANES_NM) // 2, middle - 2 : middle + 3, middle - 2 : middle + 3]
    offset = np.arange(-2, 3)
    assert abs((sharp.sum(axis=0) * offset).sum() / sharp.sum()) < 0.15
    assert abs((sharp.sum(axis=1) * offset).sum() / sharp.sum()) < 0.15


@pytest.mark.slow
def test_picassos_spline_gives_z_of_the_right_sign_and_scale(beads: EmbeddedBeads) -> None:
    near = np.argsort(np.hypot(beads.train.x - beads.true_x[0], beads.train.y - beads.true_y[0]))[:6]
    calibration = picasso_spline(beads.train, near)
    maker = EmitterMaker(load_profile("demo"), beads.true_x[:1], beads.true_y[:1], 300, 600.0, 0)
    molecules = maker.light((5000, 5000), (20, 20), 1)
    z_nm, sigma_nm = fit_picasso(molecules.crops, calibration)
    error = z_nm - molecules.z_nm
    error -= np.median(error)
    assert np.corrcoef(z_nm, molecules.z_nm)[0, 1] > 0.8
    assert np.median(np.abs(error)) < 60
    assert np.polyfit(molecules.z_nm[np.abs(error) < 150], z_nm[np.abs(error) < 150], 1)[0] == pytest.approx(1, abs=0.1)
    assert np.median(sigma_nm) < 60


@pytest.mark.slow
@pytest.mark.filterwarnings("default::DeprecationWarning", "default::FutureWarning")  # Keras' and its exporter's
def test_recall_is_measured_for_both_from_frames_to_table(tmp_path: Path) -> None:
    result = bench_recall(tmp_path / "study", minutes=0.2, quick=True)
    assert set(result["movies"]) == set(movie_conditions())
    sparse = result["movies"]["sparse"]
    assert sparse["recall"] > 0.3
    assert sparse["picasso"]["recall"] > 0.3
    in_focus = [item for item in sparse["picasso"]["bins"] if abs(item["z_from_nm"] + 50) < 200]
    assert min(item["recall"] for item in in_focus) > 0.8
