"""A scan before it begins: the order of its fields, their focus, and what it will need."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from easyzloc_mm.acquire.plans.plan import ScanField, ScanPlan
from easyzloc_mm.acquire.plans.travel import short_order, travel_um
from easyzloc_mm.acquire.scans.scan import field_profiles, forecast_scan
from easyzloc_mm.cli.app import main
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.profile.schema import Profile
from tests.helpers.localize_bench import small_bundle


@pytest.fixture(scope="module")
def profile() -> Profile:
    return load_profile("demo")


def test_a_short_way_begins_with_the_first_field_and_finds_the_shortest_where_it_is_known() -> None:
    rng = np.random.default_rng(4)
    turn = np.sort(rng.uniform(0, 2 * np.pi, 40))
    known = {"line": np.c_[np.arange(30.0), 2 * np.arange(30.0)], "arc": np.c_[np.cos(0.9 * turn), np.sin(0.9 * turn)]}
    for places in known.values():
        mixed = places[[0, *rng.permutation(np.arange(1, len(places)))]]
        order = short_order(mixed)
        assert sorted(order) == list(range(len(places)))
        assert order[0] == 0
        assert travel_um(mixed[order]) == pytest.approx(travel_um(places))
    given = rng.uniform(0, 1000, (150, 2))
    assert travel_um(given[short_order(given)]) < travel_um(given)
    snake = np.array([(x if y % 2 == 0 else 9 - x, y) for y in range(6) for x in range(10)], float)
    assert travel_um(snake[short_order(snake)]) <= travel_um(snake)


def test_fields_lie_in_the_plane_of_three_points(profile: Profile) -> None:
    plan = ScanPlan(
        name="plate",
        focus_points_um=((0, 0, 40.0), (9000, 0, 43.0), (0, 9000, 38.5)),
        fields=(
            ScanField(name="A1", position_um=(0, 0)),
            ScanField(name="A2", position_um=(9000, 9000), z_offset_um=0.5),
            ScanField(name="A3", position_um=(4500, 0), focus_um=47.0),
        ),
    )
    z = [field.imaging.focus_um for field in field_profiles(profile, plan, None).values()]
    assert z == pytest.approx([40.0, 42.0, 47.0])
    for points in (((0, 0, 1), (1, 1, 1)), ((0, 0, 1), (10, 10, 2), (30, 30, 3))):
        with pytest.raises(ValueError, match="a plane needs three points"):
            ScanPlan(name="p", focus_points_um=points, positions_um=((0, 0),))


def test_a_field_says_what_is_its_own(profile: Profile) -> None:
    plan = ScanPlan(
        name="n",
        frames=100,
        skip=("B*",),
        light_budget_ms=1000.0,
        fields=(
            ScanField(name="A1", position_um=(0, 0), frames=5, exposure_ms=12.0, illumination="Low"),
            ScanField(name="B1", position_um=(10, 0)),
            ScanField(name="C1", position_um=(20, 0), z_offset_um=-1.0),
        ),
    )
    a1, c1 = (field.imaging for field in field_profiles(profile, plan, None).values())
    assert (a1.frames, a1.exposure_ms, a1.illumination, a1.light_budget_ms) == (5, 12.0, "Low", 1000.0)
    assert (c1.frames, c1.exposure_ms, c1.illumination) == (100, profile.imaging.exposure_ms, "High")
    assert c1.focus_um == pytest.approx((profile.imaging.focus_um or 0.0) - 1.0)
    with pytest.raises(InputError, match="leaves out all of its fields"):
        field_profiles(profile, plan.model_copy(update={"skip": ("*",)}), None)
    with pytest.raises(InputError, match="no field is called 'D\\*'"):
        field_profiles(profile, plan.model_copy(update={"skip": ("B*", "D*")}), None)


def test_a_grid_that_nobody_can_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(
        'name = "s"\n[grid]\nfirst_um = [0, 0]\ncolumns = 100000\nrows = 2\nspacing_um = 1', encoding="utf-8"
    )
    with pytest.raises(InputError, match="more than 100,000 fields"):
        ScanPlan.from_file(tmp_path / "plan.toml")


def test_a_forecast_counts_what_the_scan_needs_and_draws_its_way(
    profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = ((0.0, 0.0), (3000.0, 4000.0), (20_000.0, 0.0))
    plan = ScanPlan(name="n", frames=1000, positions_um=places[:2])
    found = forecast_scan(profile, plan, tmp_path / "not_yet" / "scan", picture=tmp_path / "map.png")
    assert (found.fields, found.frames, found.travel_mm, found.problems) == (2, 2000, 5.0, ())
    assert found.light_s == pytest.approx(2 * 1000 * profile.imaging.exposure_ms / 1000)
    assert found.disk_gb == pytest.approx(2 * 1000 * 2 * 512 * 512 / 1e9)
    assert found.hours > (found.light_s + 5.0) / 3600
    with Image.open(tmp_path / "map.png") as drawn:
        assert drawn.size[0] > 500
    assert forecast_scan(profile, plan, tmp_path / "scan", keep_raw=False).disk_gb == 0.0
    far = forecast_scan(profile, ScanPlan(name="n", frames=10, positions_um=places), tmp_path / "scan")
    assert far.problems[0].startswith("field_002: x = 20000.000 um is outside the profile's limits")
    full = type("Usage", (), {"free": 10**8})
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: full)
    with pytest.raises(InputError, match="is no scan"):  # as the scan itself would say
        forecast_scan(profile, plan, tmp_path)
    (problem,) = forecast_scan(profile, plan, tmp_path / "scan").problems
    assert "take up to 1.0 GB" in problem


def test_a_dry_run_says_it_on_the_terminal_and_moves_nothing(
    profile: Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    camera = profile.camera
    model = small_bundle(tmp_path / "model", field=(camera.width_px, camera.height_px))
    (tmp_path / "list.csv").write_text("name,x,y,z\nA1,0,0,50\nA2,0,20000,50\n", encoding="utf-8")
    asked = ["scan", "--profile", "demo", "--model", str(model), "--out", str(tmp_path / "scan"), "--dry-run", "--json"]
    assert main([*asked, "--plan", str(tmp_path / "list.csv")]) == 2
    told = capsys.readouterr()
    assert json.loads(told.out.splitlines()[-1])["fields"] == 2
    assert "A2: y = 20000.000 um is outside the profile's limits" in told.err
    assert (tmp_path / "scan.png").is_file()
    assert not (tmp_path / "scan").exists()
