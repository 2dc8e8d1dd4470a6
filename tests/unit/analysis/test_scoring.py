"""Matching and counting against the truth: beside every possible matching, counts by hand, and the known answer."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import easyzloc_mm as ez
from easyzloc_mm.analysis.scoring.compare import compare
from easyzloc_mm.analysis.scoring.figures import ScoreRules
from easyzloc_mm.analysis.scoring.matching import AXIAL_NM, LATERAL_NM, Points, crowding, match
from easyzloc_mm.analysis.scoring.run import compare_locs
from easyzloc_mm.analysis.scoring.score import score
from easyzloc_mm.cli import main
from easyzloc_mm.io.runs.ground_truth import write_records
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.io.tables.registry import write_table
from easyzloc_mm.locs.locs import Locs

PIXEL_NM = 100.0


def scattered(rng: np.random.Generator, count: int, frames: int, size_nm: float) -> Points:
    return Points(
        rng.integers(0, frames, count),
        rng.uniform(0, size_nm, count),
        rng.uniform(0, size_nm, count),
        rng.uniform(-600, 600, count),
    )


def best_by_trying(found: Points, true: Points) -> tuple[int, float]:
    """Most pairs, and their smallest sum of costs, among all ways to pair the points of one frame."""
    assert found.z_nm is not None
    assert true.z_nm is not None
    cost = np.full((len(found), len(true)), np.inf)
    for i, j in itertools.product(range(len(found)), range(len(true))):
        lateral = np.hypot(found.x_nm[i] - true.x_nm[j], found.y_nm[i] - true.y_nm[j])
        axial = abs(found.z_nm[i] - true.z_nm[j])
        if lateral <= LATERAL_NM and axial <= AXIAL_NM:
            cost[i, j] = (lateral / LATERAL_NM) ** 2 + (axial / AXIAL_NM) ** 2
    if len(found) > len(true):
        cost = cost.T
    best = (0, 0.0)
    for columns in itertools.permutations(range(cost.shape[1]), cost.shape[0]):
        taken = cost[np.arange(cost.shape[0]), list(columns)]
        possible = taken[np.isfinite(taken)]
        best = min(best, (-len(possible), float(possible.sum())))
    return -best[0], best[1]


@pytest.mark.parametrize("seed", range(40))
def test_matching_is_the_best_of_all_possible_ones(seed: int) -> None:
    rng = np.random.default_rng(seed)
    found, true = (scattered(rng, int(rng.integers(0, 12)), 2, 700.0) for _ in range(2))
    rows, columns = match(found, true)
    assert len(set(rows)) == len(rows)
    assert len(set(columns)) == len(columns)
    assert (found.frame[rows] == true.frame[columns]).all()
    for frame in range(2):
        here = found.frame[rows] == frame
        assert found.z_nm is not None
        assert true.z_nm is not None
        own_rows, own_columns = rows[here], columns[here]
        lateral = np.hypot(found.x_nm[own_rows] - true.x_nm[own_columns], found.y_nm[own_rows] - true.y_nm[own_columns])
        axial = np.abs(found.z_nm[own_rows] - true.z_nm[own_columns])
        pairs, cost = best_by_trying(found[found.frame == frame], true[true.frame == frame])
        assert here.sum() == pairs
        assert np.sum((lateral / LATERAL_NM) ** 2 + (axial / AXIAL_NM) ** 2) == pytest.approx(cost)


def test_a_greedy_choice_would_make_fewer_pairs() -> None:
    # The nearest pair of all leaves both others alone; the rules want as many pairs as possible.
    found = Points(np.zeros(2, int), np.array([0.0, 200.0]), np.zeros(2), np.zeros(2))
    true = Points(np.zeros(2, int), np.array([190.0, 400.0]), np.zeros(2), np.zeros(2))
    rows, columns = match(found, true)
    assert rows.tolist() == [0, 1]
    assert columns.tolist() == [0, 1]


def test_crowding_counts_neighbours_of_the_same_frame() -> None:
    rng = np.random.default_rng(1)
    at, of = scattered(rng, 30, 3, 2000.0), scattered(rng, 50, 3, 2000.0)
    expected = [
        sum(of.frame[j] == at.frame[i] and np.hypot(of.x_nm[j] - at.x_nm[i], of.y_nm[j] - at.y_nm[i]) <= 400
            for j in range(50))
        for i in range(30)
    ]  # fmt: skip
    assert crowding(at, of, 400.0).tolist() == expected


def grid_truth(frames: int = 40) -> pd.DataFrame:
    """Molecules 2 um apart, of all depths and brightnesses."""
    x, y = (axis.ravel() for axis in np.meshgrid(np.arange(10.0, 90, 20), np.arange(10.0, 90, 20)))
    truth = pd.concat([pd.DataFrame({"frame": frame, "x": x, "y": y}) for frame in range(frames)], ignore_index=True)
    rng = np.random.default_rng(2)
    return truth.assign(
        z=rng.uniform(-500, 500, len(truth)), photons=rng.uniform(300, 3000, len(truth)), background=20.0
    )


def localized(truth: pd.DataFrame, sigma_nm: float, seed: int = 3) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    table = truth[["frame", "x", "y", "z", "photons"]].copy()
    for axis in "xy":
        table[axis] += rng.normal(0, sigma_nm / PIXEL_NM, len(table))
    table["z"] += rng.normal(0, 2 * sigma_nm, len(table))
    return table.assign(lpz=2 * sigma_nm, z_flag=np.zeros(len(table), np.uint8))


def test_counts_and_errors_of_a_made_up_table() -> None:
    truth = grid_truth()
    table = localized(truth, 10.0)
    missed, false = 64, 30
    table = table.iloc[missed:]
    # False ones half-way between the molecules.
    wrong = table.iloc[:false].assign(x=table["x"].iloc[:false] + 10, y=table["y"].iloc[:false] + 10)
    table = pd.concat([table, wrong], ignore_index=True)
    result = score(compare(table, truth, pixel_size_nm=PIXEL_NM))
    total, found = len(truth), len(truth) - missed
    assert (result.molecules, result.found, result.false) == (total, found, false)
    assert result.recall == found / total
    assert result.precision == found / (found + false)
    assert result.jaccard == found / (total + false)
    assert result.rmse_lateral_nm is not None
    assert result.rmse_axial_nm is not None
    spread = 4 / np.sqrt(2 * found)
    assert result.rmse_lateral_nm == pytest.approx(10 * np.sqrt(2), rel=spread)
    assert result.rmse_axial_nm == pytest.approx(20, rel=spread)
    missing = 100 * (1 - result.jaccard)
    sides = (np.hypot(missing, result.rmse_lateral_nm), np.hypot(missing, 0.5 * result.rmse_axial_nm))
    assert result.e3d == pytest.approx(100 - np.mean(sides))
    assert result.coverage_68 == pytest.approx(0.683, abs=4 * np.sqrt(0.22 / found))
    assert sum(item.molecules for item in result.bins) == total
    assert sum(item.false for item in result.bins) == false
    assert sum(item.molecules for item in result.by_photons) == total
    assert sum(item.found for item in result.by_density) == found
    assert sum(item.false for item in result.by_density) == sum(item.false for item in result.by_photons) == false


def test_an_offset_is_taken_out_and_said() -> None:
    truth = grid_truth()
    table = localized(truth, 10.0).assign(x=lambda t: t["x"] + 0.6, y=lambda t: t["y"] - 0.4, z=lambda t: t["z"] + 700)
    result = score(compare(table, truth, pixel_size_nm=PIXEL_NM))
    assert result.recall == 1.0
    sd = 4 * 1.25 * 20 / np.sqrt(len(truth))
    assert result.offset_x_nm == pytest.approx(60, abs=sd)
    assert result.offset_y_nm == pytest.approx(-40, abs=sd)
    assert result.offset_z_nm == pytest.approx(700, abs=sd)
    as_it_is = score(compare(table, truth, pixel_size_nm=PIXEL_NM, rules=ScoreRules(remove_offset=False)))
    assert as_it_is.found == 0
    assert as_it_is.offset_z_nm == result.offset_z_nm


def test_bias_and_slope_by_depth() -> None:
    truth = grid_truth(frames=200)
    table = localized(truth, 10.0)
    # Above the focus z is short by a fifth, below it is right.
    table["z"] -= 0.2 * truth["z"].clip(lower=0)
    result = score(compare(table, truth, pixel_size_nm=PIXEL_NM))
    assert result.offset_z_nm is not None
    for item in result.bins:
        middle = (item.z_from_nm + item.z_to_nm) / 2
        expected = -0.2 * max(middle, 0) - result.offset_z_nm
        assert item.bias_nm == pytest.approx(expected, abs=4 * 1.25 * 21 / np.sqrt(item.found))
        if abs(middle) > 150:
            assert item.slope == pytest.approx(0.8 if middle > 0 else 1, abs=4 * 20 / (50 * np.sqrt(item.found)))


def test_faint_molecules_and_the_border_do_not_count() -> None:
    truth = grid_truth()
    table = localized(truth, 10.0)
    rules = ScoreRules(faintest_photons=1000.0, border_nm=2000.0)
    result = score(compare(table, truth, pixel_size_nm=PIXEL_NM, rules=rules, size_px=(100, 100)))
    counted = (truth["photons"] >= 1000) & truth["x"].between(19.5, 79.5) & truth["y"].between(19.5, 79.5)
    assert (result.molecules, result.found, result.false) == (counted.sum(), counted.sum(), 0)


def test_flagged_localisations_are_counted_apart() -> None:
    truth = grid_truth()
    table = localized(truth, 10.0)
    bad = np.arange(len(table)) % 4 == 0
    # A wrong sign of z, and a flag that says so.
    table = table.assign(z=np.where(bad, -table["z"], table["z"]), z_flag=np.where(bad, 2, 0).astype(np.uint8))
    result = score(compare(table, truth, pixel_size_nm=PIXEL_NM))
    assert result.unflagged is not None
    assert result.unflagged.recall == 0.75
    assert result.unflagged.precision == 1.0
    assert result.rmse_z_nm == pytest.approx(20, rel=4 / np.sqrt(2 * 0.75 * len(truth)))


def test_a_table_in_two_dimensions() -> None:
    truth = grid_truth()
    result = score(compare(localized(truth, 10.0).drop(columns=["z", "lpz"]), truth, pixel_size_nm=PIXEL_NM))
    assert result.recall == 1.0
    assert result.rmse_axial_nm is None
    assert result.e3d is None
    assert result.bins == ()


def test_an_axis_that_points_the_other_way_is_said() -> None:
    truth = grid_truth()
    with pytest.warns(ez.EasyZlocWarning, match="other way"):
        compare(localized(truth, 10.0).assign(z=lambda table: -table["z"]), truth, pixel_size_nm=PIXEL_NM)


def test_nothing_found_and_nothing_there() -> None:
    truth = grid_truth()
    table = localized(truth, 10.0)
    empty = score(compare(table.iloc[:0], truth, pixel_size_nm=PIXEL_NM))
    assert (empty.recall, empty.precision, empty.jaccard) == (0.0, None, 0.0)
    nothing = score(compare(table, truth.iloc[:0], pixel_size_nm=PIXEL_NM))
    assert (nothing.recall, nothing.precision, nothing.false) == (None, 0.0, len(table))


@pytest.mark.parametrize("name", ["table.csv", "table.parquet", "table.zarr", "table.hdf5"])
def test_tables_of_every_format_have_the_same_score(tmp_path: Path, name: str) -> None:
    truth = grid_truth()
    metadata = RunMetadata(pixel_size_nm=PIXEL_NM, height_px=100, width_px=100, frames=40)
    table = localized(truth, 10.0).assign(sx=1.0, sy=1.0, bg=20.0, lpx=0.1, lpy=0.1, ellipticity=0.0, net_gradient=1.0)
    write_table(tmp_path / name, table, metadata)
    truth.to_parquet(tmp_path / "movie.truth.parquet")
    result = ez.score(tmp_path / name, tmp_path / "movie.truth.parquet", pixel_size_nm=PIXEL_NM)
    assert result.recall == result.precision == 1.0
    assert result.rmse_axial_nm == pytest.approx(20, rel=4 / np.sqrt(2 * len(truth)))


def test_truth_beside_a_run_is_found_and_a_missing_one_is_said(tmp_path: Path) -> None:
    truth = grid_truth()
    metadata = RunMetadata(pixel_size_nm=PIXEL_NM, height_px=100, width_px=100, frames=40)
    table = localized(truth, 10.0).assign(sx=1.0, sy=1.0, bg=20.0, lpx=0.1, lpy=0.1, ellipticity=0.0, net_gradient=1.0)
    write_table(tmp_path / "run.zarr", table, metadata)
    with pytest.raises(ez.InputError, match="no truth lies beside"):
        ez.score(tmp_path / "run.zarr")
    write_records(tmp_path / "run.zarr", {"emitters": truth.assign(structure="pore")})
    assert ez.score(tmp_path / "run.zarr").recall == 1.0
    assert ez.score(tmp_path / "run.zarr", tmp_path / "run.records").recall == 1.0


def test_a_csv_without_its_pixel_size_is_not_compared_with_pixels(tmp_path: Path) -> None:
    truth = grid_truth()
    metadata = RunMetadata(pixel_size_nm=PIXEL_NM, height_px=100, width_px=100)
    write_table(tmp_path / "table.csv", localized(truth, 10.0), metadata)
    truth.to_parquet(tmp_path / "movie.truth.parquet")
    with pytest.raises(ez.InputError, match="`pixel_size_nm`"):
        ez.score(tmp_path / "table.csv", tmp_path / "movie.truth.parquet")
    write_table(tmp_path / "truth.csv", truth, metadata)
    assert ez.score(tmp_path / "table.csv", tmp_path / "truth.csv").recall == 1.0


@pytest.mark.parametrize("change", [{"drift_corrected": True}, {"linked": {"nm": 30.0, "dark_frames": 1}}])
def test_a_table_that_was_changed_since_is_doubted(change: dict[str, Any]) -> None:
    truth = grid_truth()
    metadata = RunMetadata(pixel_size_nm=PIXEL_NM, height_px=100, width_px=100).changed(**change)
    with pytest.warns(ez.EasyZlocWarning, match="not as it was localised"):
        compare_locs(Locs(localized(truth, 10.0), metadata), truth)


def test_an_impossible_truth_is_refused(tmp_path: Path) -> None:
    truth = grid_truth()
    truth.loc[3, "z"] = np.nan
    truth.to_parquet(tmp_path / "movie.truth.parquet")
    localized(grid_truth(), 10.0).to_parquet(tmp_path / "table.parquet")
    with pytest.raises(ez.InputError, match="column z of row 4"):
        ez.score(tmp_path / "table.parquet", tmp_path / "movie.truth.parquet", pixel_size_nm=PIXEL_NM)


def test_a_truth_of_the_challenge_is_read(tmp_path: Path) -> None:
    truth = grid_truth()
    lines = ["Ground-truth,frame,xnano,ynano,znano,intensity"]
    for number, row in truth.iterrows():
        place = ",".join(f"{PIXEL_NM * (row[axis] + 0.5):.3f}" for axis in "xy")
        lines.append(f"{number},{row['frame'] + 1:.0f},{place},{row['z']:.3f},{row['photons']:.1f}")
    (tmp_path / "activations.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    metadata = RunMetadata(pixel_size_nm=PIXEL_NM, height_px=100, width_px=100)
    write_table(tmp_path / "table.csv", localized(truth, 10.0), metadata)
    result = ez.score(tmp_path / "table.csv", tmp_path / "activations.csv", pixel_size_nm=PIXEL_NM)
    assert result.recall == result.precision == 1.0
    assert result.offset_x_nm == pytest.approx(0, abs=4 * 1.25 * 10 / np.sqrt(len(truth)))


def test_the_command_prints_what_it_found_by_depth_and_draws_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = grid_truth()
    metadata = RunMetadata(pixel_size_nm=PIXEL_NM, height_px=100, width_px=100)
    write_table(tmp_path / "table.parquet", localized(truth, 10.0), metadata)
    truth.to_parquet(tmp_path / "movie.truth.parquet")
    command = ["score", str(tmp_path / "table.parquet"), str(tmp_path / "movie.truth.parquet")]
    assert main([*command, "--plot", str(tmp_path / "score.png")]) == 0
    said = capsys.readouterr().out
    assert "-500..-400" in said
    assert "photons" in said
    assert (tmp_path / "score.png").stat().st_size > 1000
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    for name in ("recall", "precision", "jaccard", "rmse_lateral_nm", "rmse_axial_nm", "e3d"):
        assert isinstance(found[name], float)
    assert {"z_from_nm", "z_to_nm", "recall", "bias_nm", "slope", "flagged"} <= found["bins"][0].keys()
