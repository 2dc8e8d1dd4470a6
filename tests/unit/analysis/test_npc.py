"""Nuclear pores: found, measured against truth, and held against blobs without rings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import gaussian_kde

from easyzloc_mm.analysis.npc.find import find_pores, pores_at, ring_sizes
from easyzloc_mm.analysis.npc.measure import find_in_locs
from easyzloc_mm.analysis.npc.outputs import figure_run, npc_run
from easyzloc_mm.analysis.npc.published import count_by_paper, kernel_density, paper_peaks, scan_bandwidths
from easyzloc_mm.analysis.npc.rings.data import pore_data
from easyzloc_mm.analysis.npc.rings.single import fit_pore
from easyzloc_mm.analysis.npc.rings.spacing import measure_rings
from easyzloc_mm.benchmarks.npc import CONTROLS, judge_field, pore_field
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.tables.registry import read_table, write_table
from easyzloc_mm.locs.locs import Locs
from tests.helpers.pores import FACTS, PIXEL_NM, as_table


@pytest.fixture(scope="module")
def field() -> pd.DataFrame:
    return pore_field("two rings", pores=120, per_pore=120, sigma_z_nm=15, seed=1)


def test_pores_are_found_where_they_are(field: pd.DataFrame) -> None:
    rng = np.random.default_rng(0)
    line = np.column_stack([np.linspace(0, 5000, 4000), 2600 + rng.normal(0, 12, 4000)])
    blob = rng.normal([5600, 2000], 30, (300, 2))
    clutter = pd.DataFrame(np.concatenate([line, blob]), columns=["x_nm", "y_nm"]).assign(
        frame=0, z=0.0, lpx_nm=8.0, lpy_nm=8.0, lpz=20.0
    )
    found = find_pores(pd.concat([field, clutter], ignore_index=True))
    row, column = np.divmod(np.arange(120), 11)
    grid = np.column_stack([column, row]) * 500.0
    distance = np.hypot(*(found.centres[:, None] - grid[None]).transpose(2, 0, 1))
    assert (distance.min(axis=1) < 95).mean() > 0.97, "what is found is a pore"
    assert (distance.min(axis=0) < 95).sum() >= 105, "and few are missed"
    assert np.hypot(*(found.centres - [5600, 2000]).T).min() > 100, "a blob is no ring"
    assert sum(found.rejected.values()) > 0


def test_diameter(field: pd.DataFrame) -> None:
    sizes = ring_sizes(find_pores(field))
    assert sizes["diameter_nm"].median() == pytest.approx(107, abs=2)
    off = (sizes["diameter_nm"] - 107) / sizes["diameter_error_nm"]
    assert 0.5 < off.std() < 2.0


def test_other_diameters_are_found_by_asking() -> None:
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, 300)
    place = np.column_stack([np.cos(angle), np.sin(angle)]) * 125 + 1000 + rng.normal(0, 6, (300, 2))
    table = pd.DataFrame(place, columns=["x_nm", "y_nm"]).assign(z=0.0, lpz=20.0)
    assert len(find_pores(table).centres) == 0
    found = find_pores(table, radius_nm=125)
    assert found.centres == pytest.approx(np.array([[1000, 1000]]), abs=4)
    assert ring_sizes(found)["diameter_nm"].iloc[0] == pytest.approx(250, abs=3)


def test_kernel_density_is_that_of_scipy() -> None:
    z = np.random.default_rng(1).normal(0, 40, 80)
    for width in (5.0, 15.0, 30.0):
        grid, density = kernel_density(z, width)
        reference = gaussian_kde(z, bw_method=width / z.std(ddof=1))(grid)
        np.testing.assert_allclose(density, reference, atol=2e-3 * reference.max())


def test_the_papers_rule() -> None:
    two = np.concatenate([np.full(50, -25.0), np.full(50, 25.0)]) + np.tile(np.linspace(-5, 5, 50), 2)
    peaks = paper_peaks(two)
    assert peaks.success
    assert peaks.spacing_nm == pytest.approx(50, abs=2.5)
    assert peaks.threshold == pytest.approx((peaks.heights.mean() + peaks.dip) / 2)
    assert not paper_peaks(two * 1.6).success, "80 nm apart"
    assert not paper_peaks(two * 0.3).success, "one peak"
    # The two most prominent, not the two highest: a shoulder of the highest is not a ring.
    three = np.concatenate([two, np.full(30, 200.0)])
    assert paper_peaks(three).peaks_nm.max() < 60


def test_the_papers_rule_does_not_depend_on_rounding() -> None:
    rng = np.random.default_rng(5)
    two = np.concatenate([np.full(50, -25.0), np.full(50, 25.0)]) + np.tile(np.linspace(-5, 5, 50), 2)
    # Equal heights beside a lesser peak, three equal ones, and a top between two points of the grid.
    for z in (np.concatenate([two, np.full(30, 200.0)]), np.repeat([-60.0, 0.0, 60.0], 20), two + 0.25, two * 0.7):
        exact = paper_peaks(z)
        for _ in range(50):
            noisy = z * (1 + 4e-16 * rng.integers(-1, 2, len(z)))
            shuffled = paper_peaks(rng.permutation(noisy))
            assert shuffled.peaks_nm == pytest.approx(exact.peaks_nm, abs=1e-6)
            assert shuffled.success is exact.success
    assert paper_peaks(np.repeat([-60.0, 0.0, 60.0], 20)).peaks_nm == pytest.approx([-60, 0]), "the lower depths first"


def test_blobs_pass_the_papers_rule_and_the_null_says_so() -> None:
    rng = np.random.default_rng(2)
    blobs = [rng.normal(0, 60, 100) for _ in range(300)]
    count = count_by_paper(blobs)
    assert 0.10 < count.successes / count.pores < 0.30, "notes: .19 for a single normal distribution"
    assert abs(count.successes - count.null_mean) < 0.07 * count.pores
    assert count.p_value > 0.02
    scan = scan_bandwidths(blobs[:100])
    assert (scan["bandwidth_nm"].min(), scan["bandwidth_nm"].max()) == (5, 30)
    assert np.abs(scan["successes"] - scan["null_successes"]).max() < 20


@pytest.mark.parametrize(
    "sigma_z_nm", [pytest.param(sigma, marks=[] if sigma == 30 else pytest.mark.slow) for sigma in (10.0, 20.0, 30.0)]
)
def test_spacing_is_within_two_nm_of_the_truth(sigma_z_nm: float) -> None:
    found = find_pores(pore_field("two rings", pores=150, per_pore=110, sigma_z_nm=sigma_z_nm, seed=3))
    data = pore_data(found.table)
    rings = measure_rings(data).rings
    assert rings.spacing_nm == pytest.approx(50, abs=2)
    assert rings.resolved
    assert rings.spacing_nm is not None
    low, high = rings.ci_nm or (np.nan, np.nan)
    assert low < rings.spacing_nm < high
    assert count_by_paper(data.groups()).p_value < 0.05


def test_other_spacings_are_not_pulled_to_fifty() -> None:
    found = find_pores(pore_field("two rings", pores=49, per_pore=110, sigma_z_nm=15, spacing_nm=70, seed=4))
    assert measure_rings(pore_data(found.table)).rings.spacing_nm == pytest.approx(70, abs=2)


@pytest.mark.parametrize(
    "control", [pytest.param(name, marks=[] if name == "slab" else pytest.mark.slow) for name in CONTROLS]
)
def test_controls_are_not_called_two_rings(control: str) -> None:
    share, pores, resolved = 0.0, 0, []
    for seed, sigma in ((5, 15.0), (6, 25.0)):
        case = judge_field(pore_field(control, pores=150, per_pore=80, sigma_z_nm=sigma, seed=seed))
        share += case["two_ring_share"] * case["pores"]
        pores += case["pores"]
        resolved.append(case["rings_resolved"])
    # 5 %, and two standard errors of a count of so many pores.
    assert share / pores <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / pores)
    assert not any(resolved)


def test_a_single_pore_with_errors() -> None:
    rng = np.random.default_rng(7)
    measured = []
    for _ in range(80):
        angle = rng.uniform(0, 2 * np.pi, 160)
        dx, dy = 53.5 * np.cos(angle), 53.5 * np.sin(angle)
        lpz = rng.uniform(8, 18, 160)
        z = 300 + 50 * (rng.integers(0, 2, 160) - 0.5) + 0.12 * dx - 0.05 * dy + rng.normal(0, np.hypot(lpz, 6))
        fit = fit_pore(z, lpz, dx, dy)
        measured.append(
            [
                (fit.middle_nm - 300) / fit.errors["middle"],
                (fit.slope[0] - 0.12) / fit.errors["slope_x"],
                (fit.spacing_nm - 50 * np.cos(np.arctan(0.13))) / fit.errors["spacing"],
            ]
        )
        assert fit.tilt_degrees < 20
    pulls = np.array(measured)
    assert np.abs(pulls.mean(axis=0)).max() < 0.5
    assert (pulls.std(axis=0) < 1.4).all()
    assert (pulls.std(axis=0) > 0.6).all()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("npc") / "r.zarr"
    write_table(path, as_table(pore_field("two rings", pores=36, per_pore=100, sigma_z_nm=15, seed=1)), FACTS)
    return path


def test_npc_writes_tables_and_figures(run: Path, tmp_path: Path) -> None:
    result = npc_run(run, tmp_path / "npc")
    pores = pd.read_csv(tmp_path / "npc" / "pores.csv")
    assert len(pores) == result["pores_found"] > 30
    assert result["ring_spacing_nm"] == pytest.approx(50, abs=2)
    assert pores["two_rings"].astype(float).sum() == result["two_ring_pores"] > 0
    assert pores["paper_success"].astype(float).sum() == result["paper_successes"]
    assert pores["tilt_degrees"].median() < 12
    names = {path.name for path in (tmp_path / "npc").iterdir()}
    assert names == {"pores.csv", "bandwidths.csv", "average_pore.png", "single_pore.png", "figure_4.png",
                     "figure_5.png", "figure_6.png"}  # fmt: skip


@pytest.mark.parametrize("figure", [4, 5, 6])
def test_each_figure_by_one_call(run: Path, tmp_path: Path, figure: int) -> None:
    result = figure_run(run, tmp_path / "f.png", figure, where="x < 20")
    assert result["pores"] > 15
    assert (tmp_path / "f.png").read_bytes()[:4] == b"\x89PNG"


def test_picks_and_groups(run: Path, tmp_path: Path) -> None:
    table, facts = read_table(run)
    centres = find_in_locs(Locs(table, facts)).centres[:8] / PIXEL_NM
    picks = tmp_path / "picks.yaml"
    lines = "".join(f"- - {x}\n  - {y}\n" for x, y in centres)
    picks.write_text(f"Centers:\n{lines}Diameter: 1.8\nShape: Circle\n", encoding="utf-8")
    assert figure_run(run, tmp_path / "picked.png", 4, picks=picks)["pores"] == 8
    group = np.full(len(table), -1, np.int32)
    place = table[["x", "y"]].to_numpy(float)
    for number, centre in enumerate(centres):
        group[np.hypot(*(place - centre).T) < 0.9] = number
    write_table(tmp_path / "g.hdf5", table.assign(group=group)[group >= 0], facts)
    assert figure_run(tmp_path / "g.hdf5", tmp_path / "grouped.png", 4, by_group=True)["pores"] == 8
    picked = find_in_locs(Locs.load(run), picks=picks)
    grouped = find_in_locs(Locs.load(tmp_path / "g.hdf5"), by_group=True)
    assert grouped.centres == pytest.approx(picked.centres, abs=0.01)
    one, other = (found.table.sort_values(["pore", "z", "dx"], ignore_index=True) for found in (grouped, picked))
    pd.testing.assert_frame_equal(one, other, atol=0.01)
    with pytest.raises(InputError, match="group"):
        npc_run(run, tmp_path / "never", by_group=True)
    assert not (tmp_path / "never").exists()


def test_nothing_to_find_is_no_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    scatter = pd.DataFrame({"frame": 0, "x_nm": rng.uniform(0, 5000, 500), "y_nm": rng.uniform(0, 5000, 500), "z": 0.0,
                            "lpx_nm": 8.0, "lpy_nm": 8.0, "lpz": 20.0})  # fmt: skip
    write_table(tmp_path / "r.zarr", as_table(scatter), FACTS)
    result = npc_run(tmp_path / "r.zarr", tmp_path / "npc")
    assert result["pores"] == 0
    assert result["ring_spacing_nm"] is None
    with pytest.raises(InputError, match="no pore"):
        figure_run(tmp_path / "r.zarr", tmp_path / "f.png", 4)


def test_pores_at_keeps_a_pick_without_a_ring_in_place() -> None:
    rng = np.random.default_rng(0)
    place = rng.normal([500, 500], 10, (60, 2))
    table = pd.DataFrame(place, columns=["x_nm", "y_nm"]).assign(z=0.0, lpz=20.0)
    found = pores_at(table, centres=np.array([[500.0, 500.0]]))
    assert np.hypot(*(found.centres[0] - 500)) < 54
    assert len(pore_data(found.table)) == 1
