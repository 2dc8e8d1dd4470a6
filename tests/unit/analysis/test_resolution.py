"""Resolution: against what was put in, and against Picasso."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from easyzloc_mm._picasso import picasso
from easyzloc_mm.analysis.fourier import crossing, fourier_correlation
from easyzloc_mm.analysis.resolution import alternating_halves, measure_resolution, nena_axis
from easyzloc_mm.analysis.resolution_output import resolution_run
from easyzloc_mm.benchmarks.fixtures.tables import PIXEL_SIZE_NM, drifting_table
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.io.tables.registry import write_table
from easyzloc_mm.locs.locs import Locs


def blinking(sigma: tuple[float, float, float], *, molecules: int = 6000, seed: int = 0) -> pd.DataFrame:
    """Molecules that each stay on for three frames, all over 20 µm."""
    rng = np.random.default_rng(seed)
    place = np.column_stack([rng.uniform(0, 20_000, (molecules, 2)), rng.uniform(-300, 300, molecules)])
    first = rng.integers(0, 1997, molecules)
    rows = np.repeat(np.arange(molecules), 3)
    frame = np.repeat(first, 3) + np.tile(np.arange(3), molecules)
    x, y, z = (place[rows] + rng.normal(size=(len(rows), 3)) * sigma).T
    return pd.DataFrame(
        {"frame": frame, "x_nm": x, "y_nm": y, "z": z, "lpx_nm": sigma[0], "lpy_nm": sigma[1], "lpz": sigma[2]}
    )


@pytest.mark.parametrize("guess", [0.7, 1.0, 1.5])
def test_nena_finds_the_precision_of_each_axis(guess: float) -> None:
    table = blinking((9.0, 12.0, 28.0))
    for axis, truth in (("x", 9.0), ("y", 12.0), ("z", 28.0)):
        found = nena_axis(table, axis, guess * truth, guess * 10.5)
        assert found == pytest.approx(truth, rel=0.06), axis


def test_nena_agrees_with_picasso() -> None:
    table = blinking((10.0, 10.0, 25.0), seed=1)
    locs = pd.DataFrame({"frame": table["frame"].astype(np.uint32), "x": table["x_nm"] / 100, "y": table["y_nm"] / 100,
                         "lpx": 0.1, "lpy": 0.1})  # fmt: skip
    theirs = picasso("postprocess").nena(locs, [{"Pixelsize": 100}])[1] * 100
    assert nena_axis(table, "x", 10.0, 10.0) == pytest.approx(theirs, rel=0.1)


def test_nena_says_nothing_where_nothing_stays_on() -> None:
    rng = np.random.default_rng(0)
    lonely = blinking((10.0, 10.0, 25.0)).iloc[::3].assign(frame=rng.permutation(6000) * 2)
    assert nena_axis(lonely, "x", 10.0, 10.0) is None


def lines(sigma: float, *, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Localisations of random points, each seen many times, in a 4 µm window, and halves."""
    rng = np.random.default_rng(seed)
    sites = rng.uniform(0, 4000, (400, 2))
    place = sites[rng.integers(0, 400, count)] + rng.normal(0, sigma, (count, 2))
    keep = ((place > 0) & (place < 4000)).all(axis=1)
    return place[keep], (np.arange(count) % 2 == 0)[keep]


@pytest.mark.parametrize("sigma", [10.0, 20.0, 40.0])
def test_ring_correlation_is_what_theory_says(sigma: float) -> None:
    place, first = lines(sigma, count=40_000)
    found = fourier_correlation([place], [first], np.array([4000.0, 4000.0]), 5.0, 1)
    crossed = crossing(found)
    resolution, limits = crossed.nm, crossed.ci_nm
    assert resolution is not None
    # Half as many localisations n per site: FRC = n exp(-(2 pi q s)^2) / (1 + n exp(-(2 pi q s)^2)) = 1/7.
    per_site = 40_000 / 400 / 2
    expected = 2 * np.pi * sigma / np.sqrt(np.log(6 * per_site))
    assert resolution == pytest.approx(expected, rel=0.08)
    assert resolution is not None
    assert limits is not None
    assert None not in limits
    assert limits[0] <= resolution <= limits[1]
    assert limits[1] - limits[0] < 0.2 * resolution


def test_halves_are_blocks_of_frames() -> None:
    first, block = alternating_halves(np.arange(4000), 4000)
    assert block == 100
    assert first.sum() == 2000
    assert (np.diff(np.flatnonzero(np.diff(first.astype(int)))) == 100).all()


def test_blinks_do_not_feign_resolution() -> None:
    """Molecules that never come back: rows at random would correlate, blocks of frames must not."""
    table = blinking((5.0, 5.0, 10.0), molecules=20_000)
    place = table[["x_nm", "y_nm"]].to_numpy().clip(0, 19_999)
    span = np.array([20_000.0, 20_000.0])
    blocks, _ = alternating_halves(table["frame"].to_numpy(), 2000)
    rows = np.random.default_rng(0).random(len(table)) < 0.5
    honest = fourier_correlation([place], [blocks], span, 20.0, 50).curve()[20:300].mean()
    feigned = fourier_correlation([place], [rows], span, 20.0, 50).curve()[20:300].mean()
    assert feigned > 0.4
    assert abs(honest) < 0.08


def test_resolution_is_worse_along_z_and_better_without_drift() -> None:
    known = drifting_table(frames=3000, per_frame=25, edge_px=110, drift_nm=(200.0, 200.0, 1.0), sigma_z_nm=35.0)
    metadata = RunMetadata(
        pixel_size_nm=PIXEL_SIZE_NM, height_px=known.edge_px, width_px=known.edge_px, frames=known.frames
    )
    table, shift = known.table, known.drift_nm[known.table["frame"]] / PIXEL_SIZE_NM
    still = table.assign(x=table["x"].astype(float) - shift[:, 0], y=table["y"].astype(float) - shift[:, 1])
    moved = measure_resolution(Locs(table, metadata)).as_dict()
    result = measure_resolution(Locs(still, metadata))
    found = result.as_dict()
    assert found["frc_nm"] < moved["frc_nm"]
    assert found["fsc_z_nm"] > 1.3 * max(found["fsc_x_nm"], found["fsc_y_nm"])
    assert set(result.curves) == {"FRC, xy", "FSC, all directions", "FSC around x", "FSC around y", "FSC around z"}
    for name in ("frc", "fsc", "fsc_z"):
        low, high = found[f"{name}_ci_nm"]
        assert low <= found[f"{name}_nm"] <= high
    assert found["nena_x_nm"] == pytest.approx(10, rel=0.2)
    assert found["nena_z_nm"] == pytest.approx(35, rel=0.2)


def test_resolution_run_on_real_tables(shared_data: Path, tmp_path: Path) -> None:
    result = resolution_run(shared_data / "thunderstorm_3d_table.csv", tmp_path / "r.png")
    assert result["localizations"] == 11_195
    assert result["median_lpz_nm"] == pytest.approx(7.28)
    assert 20 < result["frc_nm"] < 200
    assert (tmp_path / "r.png").stat().st_size > 20_000


def test_too_few_rows(tmp_path: Path) -> None:
    table = drifting_table(frames=30, per_frame=5).table
    write_table(
        tmp_path / "r.zarr",
        table,
        RunMetadata(pixel_size_nm=110, width_px=200, height_px=200),
    )
    with pytest.raises(InputError, match="1000 or more"):
        resolution_run(tmp_path / "r.zarr")
