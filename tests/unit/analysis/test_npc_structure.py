"""Two rings only where there are two: outliers, tables without structure, real pores, and the scale of z."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from easyzloc_mm.analysis.npc.find import find_pores
from easyzloc_mm.analysis.npc.measure import find_in_locs, measure_pores
from easyzloc_mm.analysis.npc.rings.data import pore_data
from easyzloc_mm.analysis.npc.rings.marginal import sample_of
from easyzloc_mm.analysis.npc.rings.spacing import RingSpacing, measure_rings, spacing_interval
from easyzloc_mm.analysis.npc.rings.two_rings import fit_two_rings
from easyzloc_mm.analysis.npc.rings.verdicts import judge_pores
from easyzloc_mm.analysis.npc.z_scale import SPACING_ERROR_NM, SPACINGS_NM, z_scale
from easyzloc_mm.benchmarks.fixtures.tables import PORE_SPACING_NM
from easyzloc_mm.benchmarks.npc import pore_field
from easyzloc_mm.benchmarks.npc_draws import (
    STRUCTURELESS,
    false_discoveries,
    ring_table,
    spacing_draws,
    structureless_table,
)
from easyzloc_mm.cli.app import app
from easyzloc_mm.errors import InputError
from easyzloc_mm.locs.locs import Locs
from tests.helpers.paths import DATA, SHARED_DATA


def test_the_interval_holds_the_truth_whatever_lies_off_the_rings() -> None:
    draws = 2
    for share, found in spacing_draws(draws, seed=4).items():
        assert abs(found["mean_error_nm"]) < 1 + found["mean_margin_nm"] / np.sqrt(draws), share
        # Twice the 95 % interval: 1 in 10,000 misses it.
        assert found["rms_error_nm"] < 2 * found["mean_margin_nm"], share


def test_two_molecules_at_once_do_not_draw_the_rings_together() -> None:
    """One in five localisations is of two labels of its pore, half of them of both rings."""
    apart, merged = (
        fit_two_rings(sample_of(pore_data(ring_table(outliers=0.05, merged=share, pores=120, seed=6))))
        for share in (0.0, 0.2)
    )
    for rings in (apart, merged):
        _, low, high = spacing_interval(rings)
        assert low < PORE_SPACING_NM < high
    assert apart.between_share < 0.02 < 0.05 < merged.between_share < 0.15


def test_the_interval_widens_with_the_error_of_the_scale_of_z() -> None:
    data = pore_data(ring_table(outliers=0.1, pores=40, seed=1))
    study = measure_rings(data, z_scale_error=0.1)
    wider = study.rings
    assert study.two is not None
    spacing, *plain = spacing_interval(study.two)
    assert wider.spacing_nm == spacing
    assert wider.ci_nm is not None
    extra = np.ptp(wider.ci_nm) ** 2 - np.ptp(plain) ** 2
    assert np.sqrt(extra) == pytest.approx(2 * 0.1 * spacing * 2.02, rel=0.01), "Student's t of 40 pores"
    with pytest.raises(InputError, match="z_scale_error"):
        measure_pores(find_pores(pd.DataFrame({"x_nm": [], "y_nm": [], "z": [], "lpz": []})), z_scale_error=-1)


def test_no_rings_are_seen_where_there_are_none() -> None:
    result = false_discoveries(len(STRUCTURELESS), seed=3)
    assert result["false_discoveries"] == 0, result["by_kind"]


def test_what_is_not_shown_is_not_given() -> None:
    data = pore_data(structureless_table("normal", seed=5))
    rings = measure_rings(data).rings
    assert (rings.spacing_nm, rings.ci_nm, rings.resolved) == (None, None, False)
    assert rings.why
    few = measure_rings(pore_data(ring_table(outliers=0.0, pores=10))).rings
    assert "too few" in (few.why or "")


def test_single_pores_need_rings_that_are_apart() -> None:
    """A pore of 15 localisations in one layer may fit two rings 3 nm apart: evidence of nearly 0, error of 1000 nm."""
    verdicts = judge_pores(pore_data(structureless_table("one ring", seed=2)))
    for fit, two in zip(verdicts.fits, verdicts.two_rings, strict=True):
        assert not two or (
            fit.evidence > 1 and 2 * fit.width_nm < fit.spacing_nm and np.isfinite(fit.errors["spacing"])
        )
    assert verdicts.two_rings.mean() <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / len(verdicts.fits))


def test_places_without_rings_are_no_pores() -> None:
    """As dense as a table may be: clumps at random, of which a template finds many that look like a ring."""
    rng = np.random.default_rng(0)
    clump = rng.uniform(0, 4000, (1500, 2))
    place = np.repeat(clump, 12, axis=0) + rng.normal(0, 12, (18_000, 2))
    table = pd.DataFrame(place, columns=["x_nm", "y_nm"]).assign(z=rng.normal(0, 60, 18_000), lpz=20.0)
    found = find_pores(table)
    assert len(found.centres) == 0
    assert sum(found.rejected.values()) > 20


def test_clear_pores_are_believed_where_chance_makes_as_many_faint_rings() -> None:
    """Pores of 120 localisations, and beside them so many clumps that chance makes more rings than there are pores."""
    pores = pore_field("two rings", pores=60, per_pore=120, sigma_z_nm=15, seed=1)[["x_nm", "y_nm", "z", "lpz"]]
    rng = np.random.default_rng(0)
    clump = np.array([8000.0, 0.0]) + rng.uniform(0, 6000, (6000, 2))
    place = np.repeat(clump, 6, axis=0) + rng.normal(0, 10, (36_000, 2))
    clutter = pd.DataFrame(place, columns=["x_nm", "y_nm"]).assign(z=rng.normal(0, 60, 36_000), lpz=20.0)
    found = find_pores(pd.concat([pores, clutter], ignore_index=True))
    assert (found.centres[:, 0] < 7000).sum() > 50
    assert (found.centres[:, 0] > 7000).mean() < 1 / 3
    assert found.by_chance is not None
    assert 0 < found.by_chance < len(found.centres) / 3
    assert found.rejected["no more rings than chance makes"] > 0


def test_a_table_without_pores_is_answered_not_refused(tmp_path: Path) -> None:
    table = DATA / "thunderstorm_3d_table.csv"
    command = [
        "npc",
        str(table),
        "--out",
        str(tmp_path / "n"),
        "--pixel-size-nm",
        "100",
        "--z-scale",
        "nup96",
        "--json",
    ]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout.splitlines()[-1])
    assert (answer["pores_found"], answer["two_ring_pores"], answer["rings_resolved"]) == (0, 0, False)
    assert answer["ring_spacing_nm"] is None
    assert answer["z_scale"] is None
    assert "no nuclear pores here" in answer["alarms"][0]


@pytest.mark.parametrize("name", ["thunderstorm_3d_table.csv", "picasso_3d_origami.hdf5"])
def test_real_tables_without_pores(name: str) -> None:
    path = SHARED_DATA / name
    if not path.exists():
        pytest.skip(f"{path} is not on this machine")
    found = find_in_locs(Locs.load(path, pixel_size_nm=100.0 if path.suffix == ".csv" else None))
    result = measure_pores(found)
    assert not result.rings.resolved
    assert result.as_dict()["two_ring_pores"] == 0
    assert result.why_not


def test_real_pores_have_the_spacing_that_independent_fits_give() -> None:
    path = SHARED_DATA / "real_nup107_pores_356.hdf5"
    if not path.exists():
        pytest.skip(f"{path} is not on this machine")
    found = find_in_locs(Locs.load(path), by_group=True)
    _, low, high = spacing_interval(fit_two_rings(sample_of(pore_data(found.table))))
    assert low < 57.3
    assert high > 56.4


def test_the_scale_of_z_is_offered() -> None:
    rings = RingSpacing(100, spacing_nm=47.5, ci_nm=[47.0, 48.0])
    found = z_scale(rings, "Nup96", focal_shift_factor=0.8)
    assert found["z_scale"] == pytest.approx(SPACINGS_NM["nup96"] / 47.5)
    assert found["suggested_focal_shift_factor"] == pytest.approx(0.8 * SPACINGS_NM["nup96"] / 47.5)
    low, high = found["z_scale_ci"]
    assert (high - low) / 2 > 1.96 * SPACING_ERROR_NM / 47.5
    own = z_scale(rings, "57.5")
    assert own["z_scale"] == pytest.approx(57.5 / 47.5)
    assert np.ptp(own["z_scale_ci"]) / own["z_scale"] == pytest.approx(1.0 / 47.5)
    assert z_scale(RingSpacing(100, why="none"), "nup107")["z_scale"] is None
    for nonsense in ("nup1", "5000", "nan"):
        with pytest.raises(InputError, match="nup96"):
            z_scale(rings, nonsense)
