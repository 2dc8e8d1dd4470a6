"""Uncertainties widened where the sample's PSF is not the beads': as much as errors are larger, in one step, once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import easyzloc_mm as ez
from easyzloc_mm.io.runs.localizations import COLUMNS_2D, COLUMNS_Z, LocalizationWriter, read_localizations
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.io.sample_aberrations import Widening
from easyzloc_mm.localization.sample.widening import is_widened, widen, widening
from easyzloc_mm.typing import F64

ROWS, FRAMES = 1000, 50
OFF = np.array([0.2, -0.1, 30.0])
ADDED = Widening(
    z_nm=(-500.0, 500.0), added_nm=(0.0, 100.0), molecules=900, covered=0.4,
    added_x_px=(0.0, 0.2), added_y_px=(0.3, 0.3),
)  # fmt: skip


def missing_nm(z_nm: F64) -> F64:
    """What z's uncertainty lacks, by depth."""
    return 20 + 0.08 * np.abs(z_nm)


def errors(seed: int) -> tuple[F64, F64, F64]:
    """Errors of x, y (px) and z (nm), all off, what is said of them, and depths; what is said of y is right."""
    rng = np.random.default_rng(seed)
    z_nm = rng.uniform(-800, 800, 20000)
    sigma = np.column_stack([rng.uniform(0.02, 0.2, (20000, 2)), rng.uniform(10, 60, 20000)])
    lacking = np.column_stack([np.full(20000, 0.1), np.zeros(20000), missing_nm(z_nm)])
    return rng.normal(OFF, np.hypot(sigma, lacking)), sigma, z_nm


def test_as_many_errors_lie_within_as_should() -> None:
    added = widening(*errors(1))
    error, sigma, z_nm = errors(2)
    wider = np.column_stack([added.widened_xy(sigma[:, :2], z_nm), added.widened(sigma[:, 2], z_nm)])
    before, after = (np.mean(np.abs(error - OFF) <= said, axis=0) for said in (sigma, wider))
    assert (before[[0, 2]] < 0.6).all()
    assert after == pytest.approx(0.683, abs=0.02)
    assert np.array(added.added_x_px) == pytest.approx(0.1, rel=0.2)
    assert np.array(added.added_nm) == pytest.approx(missing_nm(np.array(added.z_nm)), rel=0.2)
    assert added.covered == pytest.approx(before[2], abs=0.02)


def test_x_and_y_that_were_not_fitted_are_left_alone() -> None:
    error, sigma, z_nm = errors(1)
    error[:, :2] = sigma[:, :2] = np.nan
    added = widening(error, sigma, z_nm)
    assert added.added_x_px == added.added_y_px == ()
    assert added.added_nm == widening(*errors(1)).added_nm
    assert np.array_equal(added.widened_xy(sigma[:, :2], z_nm), sigma[:, :2], equal_nan=True)


def write_run(folder: Path, factor: float = 1.0) -> tuple[Path, pd.DataFrame]:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({name: rng.uniform(1, 2, ROWS).astype(np.float32) for name in (*COLUMNS_2D, *COLUMNS_Z)})
    table = table.assign(
        frame=np.repeat(np.arange(FRAMES), ROWS // FRAMES).astype(np.uint32),
        z=factor * rng.choice([-500.0, 0.0, 500.0], ROWS).astype(np.float32),
        lpz=np.float32(factor * 50.0), z_flag=np.zeros(ROWS, np.uint8),
    )  # fmt: skip
    metadata = RunMetadata(
        pixel_size_nm=110.0, height_px=64, width_px=64, frames=FRAMES, complete=True, focal_shift_factor=factor
    )
    with LocalizationWriter.create(folder / "run.zarr", metadata) as writer:
        writer.append(table, frames_done=FRAMES)
    return folder / "run.zarr", table


def test_a_table_is_widened_once_and_the_rest_of_it_stays(tmp_path: Path) -> None:
    run, before = write_run(tmp_path, factor=0.5)
    assert not is_widened(run)
    for _ in range(2):
        widen(run, ADDED)
    after, metadata = read_localizations(run)
    expected = 0.5 * np.hypot(50.0, np.select([before["z"] < -1, before["z"] < 1], [0.0, 50.0], 100.0))
    assert after["lpz"].to_numpy() == pytest.approx(expected, rel=1e-5)
    x_px = np.select([before["z"] < -1, before["z"] < 1], [0.0, 0.1], 0.2)
    assert after["lpx"].to_numpy() == pytest.approx(np.hypot(before["lpx"], x_px), rel=1e-5)
    assert after["lpy"].to_numpy() == pytest.approx(np.hypot(before["lpy"], 0.3), rel=1e-5)
    others = [name for name in before if name not in {"lpx", "lpy", "lpz"}]
    pd.testing.assert_frame_equal(after[others], before[others])
    assert metadata.sample_widening == ADDED
    assert is_widened(run)
    assert ez.verify(run).whole


def test_rows_of_the_samples_own_model_stay(tmp_path: Path) -> None:
    run, before = write_run(tmp_path)
    widen(run, ADDED, before_frame=20)
    after, late = read_localizations(run)[0], before["frame"].to_numpy() >= 20
    pd.testing.assert_frame_equal(after[late], before[late])
    assert (after["lpz"][~late & (before["z"] > 0)] > 100).all()
    assert (after["lpy"][~late] > before["lpy"][~late]).all()


def test_a_run_that_was_cut_off_in_between_is_mended(tmp_path: Path) -> None:
    """The table has its mark, the metadata do not know of it yet."""
    run, _ = write_run(tmp_path)
    unaware = (run / "zarr.json").read_bytes()
    widen(run, ADDED)
    once = read_localizations(run)[0]
    (run / "zarr.json").write_bytes(unaware)
    assert is_widened(run)
    widen(run, ADDED)
    table, metadata = read_localizations(run)
    pd.testing.assert_frame_equal(table, once)
    assert metadata.sample_widening == ADDED
