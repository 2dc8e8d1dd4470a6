"""Scans on the real MMCore: places, limits, the ledger, and what a cut-off or failing scan leaves.

What happens to the frames of a field is another room's business: here they are only counted, while stages,
camera and ledger are the real ones.
"""

# ruff: noqa: PT012, PT031  what must fail is a whole session, with what leads up to the failure

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from easyzloc_mm._log import FILE as LOG
from easyzloc_mm.acquire.plans.plan import Grid, ScanField, ScanPlan
from easyzloc_mm.acquire.plans.rules import BeadCheck, FieldRule
from easyzloc_mm.acquire.scans import field as field_of_scan
from easyzloc_mm.acquire.scans.ledger import read_ledger
from easyzloc_mm.acquire.scans.scan import run_scan
from easyzloc_mm.cli.app import main
from easyzloc_mm.errors import EasyZlocWarning, HardwareError, InputError
from easyzloc_mm.io.runs.localizations import COLUMNS_2D, COLUMNS_Z, LocalizationWriter
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.io.runs.status import FILE as STATUS
from easyzloc_mm.io.writing.kinds import LEDGER
from easyzloc_mm.localization.run_report import RunReport
from easyzloc_mm.microscope.connect import connect
from easyzloc_mm.profile.schema import Profile
from tests.helpers.microscope_bench import SAFE, LastState, bench_profile, running_core
from tests.helpers.paths import ROOT
from tests.helpers.patience import PATIENCE_S


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return bench_profile(tmp_path_factory.mktemp("bench")).replace(imaging={"focus_um": 20.0, "frames": 5})


class Model:
    """A model card as far as a scan looks at it."""

    has_psf = False

    def __init__(self, name: str = "a") -> None:
        self.digest, self.path = name, Path(name)


@pytest.fixture(autouse=True)
def visited(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float, float, float]]:
    """Go to the sample and take the frames as `run_live` does, without localising; note where that was."""
    places: list[tuple[str, float, float, float]] = []

    def take(microscope: Any, profile: Profile, _card: Any, out: Path, *, frames: int, **_rest: Any) -> RunReport:
        out.mkdir()
        assert profile.imaging.start_position_um is not None
        assert profile.imaging.focus_um is not None
        microscope.move_xy(*profile.imaging.start_position_um)
        microscope.move_z(profile.imaging.focus_um)
        here = microscope.position()
        places.append((out.stem, round(here.x_um), round(here.y_um), round(here.z_um, 3)))
        got = sum(1 for _ in microscope.stream(frames))
        with LocalizationWriter.create(
            out, RunMetadata(pixel_size_nm=110.0, height_px=1, width_px=1, complete=True)
        ) as table:
            table.append(pd.DataFrame({name: np.zeros(10 * got, np.float32) for name in (*COLUMNS_2D, *COLUMNS_Z)}))
        return RunReport(
            out=out, frames=got, frames_lost=frames - got, frames_per_s=1.0, localizations=10 * got, p95_latency_s=0.1
        )

    monkeypatch.setattr(field_of_scan, "run_live", take)
    return places


PLAN = ScanPlan(name="t", grid=Grid(first_um=(100, 200), columns=3, rows=2, spacing_um=50), safe_z_um=5.0)


def test_a_grid_is_walked_in_turns_and_z_waits_in_safety(profile: Profile, tmp_path: Path, visited: list[Any]) -> None:
    with connect(profile) as microscope:
        state, core = LastState(), running_core()
        z_while_moving: list[float] = []
        move = core.set_xy_position

        def watched(*arguments: Any) -> None:
            z_while_moving.append(core.get_position("Z"))
            move(*arguments)

        core.set_xy_position = watched
        report = run_scan(microscope, profile, PLAN, Model(), tmp_path / "scan")  # type: ignore[arg-type]
    assert [place[1:3] for place in visited] == [
        (100, 200),
        (150, 200),
        (200, 200),
        (200, 250),
        (150, 250),
        (100, 250),
    ]
    assert {place[3] for place in visited} == {20.0}
    assert z_while_moving[:6] == [5.0] * 6
    assert (report.fields, report.done, report.already_done, report.frames, report.localizations) == (
        6,
        6,
        0,
        30,
        300,
    )
    assert {key: state.seen[key] for key in SAFE} == {**SAFE, "xy": pytest.approx((0.0, 0.0))}
    ledger = json.loads((tmp_path / "scan" / LEDGER).read_text(encoding="utf-8"))
    assert {field["status"] for field in ledger["fields"].values()} == {"done"}
    assert (ledger["kind"], ledger["schema_version"]) == ("scan", 5)
    assert "interruptions" not in ledger
    log = (tmp_path / "scan" / LOG).read_text(encoding="utf-8")
    assert any(line.startswith("# plan: ") and '"columns": 3' in line for line in log.splitlines())
    assert log.count(": done") == 6
    assert "moving z to 20.000 um: " in log  # a device call, and how long it took


def test_a_cut_off_scan_goes_on_where_it_stopped(
    profile: Profile, tmp_path: Path, visited: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "scan"
    take: Callable[..., RunReport] = vars(field_of_scan)["run_live"]

    def interrupted(*arguments: Any, **options: Any) -> RunReport:
        report = take(*arguments, **options)
        if len(visited) == 3:
            raise KeyboardInterrupt
        return report

    monkeypatch.setattr(field_of_scan, "run_live", interrupted)
    with pytest.raises(KeyboardInterrupt), connect(profile) as microscope:
        run_scan(microscope, profile, PLAN, Model(), out)  # type: ignore[arg-type]
    ledger = json.loads((out / LEDGER).read_text(encoding="utf-8"))
    assert [field["status"] for field in ledger["fields"].values()] == ["done", "done", "interrupted"]
    # Killed outright, the field would still stand as "running": the same as far as going on is concerned.
    ledger["fields"]["row00_col02"]["status"] = "running"
    for state in ledger["fields"].values():
        state["time_s"] -= 1000.0
    (out / LEDGER).write_text(json.dumps(ledger), encoding="utf-8")
    visited.clear()
    monkeypatch.setattr(field_of_scan, "run_live", take)
    # The last that was heard of that run was its status.
    (out / "row00_col02.zarr" / STATUS).write_text("{}", encoding="utf-8")
    killed_s = time.time() - 100.0
    os.utime(out / "row00_col02.zarr" / STATUS, (killed_s, killed_s))
    with connect(profile) as microscope:
        report = run_scan(microscope, profile, PLAN, Model(), out)  # type: ignore[arg-type]
    assert [place[0] for place in visited] == ["row00_col02", "row01_col02", "row01_col01", "row01_col00"]
    assert (report.done, report.already_done) == (4, 2)
    assert (out / "row00_col02.partial-1.zarr").is_dir()
    (between,) = read_ledger(out).interruptions
    assert between.since_s == pytest.approx(killed_s, abs=1e-3)
    assert 100.0 <= between.seconds < 100.0 + PATIENCE_S
    page = (out / "report" / "index.html").read_text(encoding="utf-8").replace("\N{NO-BREAK SPACE}", " ")
    assert f"once, {between.seconds:,.0f} s" in page


def test_a_preset_that_is_not_there_is_found_before_the_night(
    profile: Profile, tmp_path: Path, visited: list[Any]
) -> None:
    fields = ({"name": "a", "position_um": (0, 0)}, {"name": "b", "position_um": (9, 0), "illumination": "Hihg"})
    plan = ScanPlan.model_validate({"name": "t", "fields": fields})
    with connect(profile) as microscope, pytest.raises(InputError, match="no illumination preset 'Hihg'; there is: "):
        run_scan(microscope, profile, plan, Model(), tmp_path / "scan")  # type: ignore[arg-type]
    assert visited == []
    assert not (tmp_path / "scan").exists()


def test_a_field_that_fails_is_written_down_and_the_rest_is_imaged(
    profile: Profile, tmp_path: Path, visited: list[Any]
) -> None:
    out = tmp_path / "scan"
    with (
        pytest.raises(HardwareError, match=r"1 of 6 fields failed \(row00_col01: .*no trigger"),
        connect(profile) as microscope,
    ):
        core = running_core()
        start, starts = core.start_sequence_acquisition, []

        def sometimes(*arguments: Any) -> None:
            starts.append(1)
            # The first start warms the buffer, then comes one for each field.
            if len(starts) == 3:
                raise RuntimeError("no trigger (12)")
            start(*arguments)

        core.start_sequence_acquisition = sometimes
        run_scan(microscope, profile, PLAN, Model(), out)  # type: ignore[arg-type]
    assert len(visited) == 6
    statuses = {n: f["status"] for n, f in json.loads((out / LEDGER).read_text(encoding="utf-8"))["fields"].items()}
    assert statuses.pop("row00_col01") == "failed"
    assert set(statuses.values()) == {"done"}
    visited.clear()
    with connect(profile) as microscope:
        run_scan(microscope, profile, PLAN, Model(), out)  # type: ignore[arg-type]
    assert [place[0] for place in visited] == ["row00_col01"]


def test_a_dead_microscope_ends_the_scan(profile: Profile, tmp_path: Path, visited: list[Any]) -> None:
    def dead(*_arguments: object) -> None:
        raise RuntimeError("USB gone (19)")

    with (
        pytest.warns(EasyZlocWarning, match="USB gone"),
        pytest.raises(HardwareError, match="USB gone"),
        connect(profile) as microscope,
    ):
        core = running_core()
        start, starts = core.start_sequence_acquisition, []

        def until_it_dies(*arguments: Any) -> None:
            starts.append(1)
            if len(starts) == 3:
                for name in ("get_position", "set_position", "get_x_position", "set_xy_position"):
                    setattr(core, name, dead)
                dead()
            start(*arguments)

        core.start_sequence_acquisition = until_it_dies
        run_scan(microscope, profile, PLAN, Model(), tmp_path / "scan")  # type: ignore[arg-type]
    assert len(visited) == 2
    ledger = json.loads((tmp_path / "scan" / LEDGER).read_text(encoding="utf-8"))
    assert [field["status"] for field in ledger["fields"].values()] == ["done", "failed"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"grid": Grid(first_um=(900, 0), columns=4, rows=1, spacing_um=50)}, r"x = 1050\.000 um is outside"),
        ({"focus_um": 600.0}, r"z = 600\.000 um is outside"),
        ({"safe_z_um": -60.0}, r"z = -60\.000 um is outside"),
    ],
)
def test_a_plan_outside_the_limits_moves_nothing(
    profile: Profile, tmp_path: Path, change: dict[str, Any], words: str, visited: list[Any]
) -> None:
    with connect(profile) as microscope, pytest.raises(InputError, match=words):
        run_scan(microscope, profile, PLAN.model_copy(update=change), Model(), tmp_path / "scan")  # type: ignore[arg-type]
    assert visited == []
    assert list(tmp_path.iterdir()) == []


def test_another_scan_or_folder_is_never_touched(profile: Profile, tmp_path: Path, visited: list[Any]) -> None:
    out = tmp_path / "scan"
    one = PLAN.model_copy(update={"grid": Grid(first_um=(0, 0), columns=1, rows=1, spacing_um=50)})
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("years of work")
    with connect(profile) as microscope:
        run_scan(microscope, profile, one, Model(), out)  # type: ignore[arg-type]
        with pytest.raises(InputError, match="belongs to another plan"):
            run_scan(microscope, profile, PLAN, Model(), out)  # type: ignore[arg-type]
        with pytest.raises(InputError, match="belongs to another model"):
            run_scan(microscope, profile, one, Model("b"), out)  # type: ignore[arg-type]
        for if_exists in ("resume", "overwrite"):
            with pytest.raises(InputError, match="is no scan"):
                run_scan(microscope, profile, one, Model(), tmp_path / "thesis", if_exists=if_exists)  # type: ignore[arg-type]
        run_scan(microscope, profile, one, Model("b"), out, if_exists="overwrite")  # type: ignore[arg-type]
    assert len(visited) == 2
    assert (tmp_path / "thesis" / "chapter1.txt").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('name = "a"', "exactly one of positions_um"),
        ('name = "a"\npositions_um = [[0, 0]]\nspeed = 3', "speed"),
        ('name = "a"\n[grid]\nfirst_um = [0, 0]\ncolumns = 0\nrows = 1\nspacing_um = 10', r"grid\.columns"),
        ('name = "a"\n[[fields]]\nname = "../a"\nposition_um = [0, 0]', "use letters"),
        ('name = "a"\nframes = "many"\npositions_um = [[0, 0]]', "frames"),
        ("name = ", "cannot be read as TOML"),
    ],
)
def test_a_bad_plan_names_its_fault(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "plan.toml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=words):
        ScanPlan.from_file(tmp_path / "plan.toml")
    with pytest.raises(InputError, match="does not exist"):
        ScanPlan.from_file(tmp_path / "none.toml")


def test_the_template_is_a_plan_and_names_every_key(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    assert main(["scan", "--template", str(path)]) == 0
    assert ScanPlan.from_file(path).grid is not None
    text, page = path.read_text(encoding="utf-8"), (ROOT / "docs" / "scan.md").read_text(encoding="utf-8")
    for model in (ScanPlan, Grid, ScanField, FieldRule, BeadCheck):
        for key in model.model_fields.keys() - {"grid", "fields", "rules", "bead_check"}:
            assert re.search(rf"^(# )?{key} = ", text, re.MULTILINE), key
            assert f"`{key}`" in page, key
    assert main(["scan", "--template", str(path)]) == 2
    assert main(["scan", "--profile", "demo"]) == 2


def test_a_plan_of_wells_is_read(tmp_path: Path) -> None:
    wells = """
name = "plate"
frames = 100
safe_z_um = 0

[[fields]]
name = "B2"
position_um = [0, 0]

[[fields]]
name = "B3"
position_um = [9000, 0]
z_offset_um = 2.5
"""
    (tmp_path / "plan.toml").write_text(wells, encoding="utf-8")
    b2, b3 = ScanPlan.from_file(tmp_path / "plan.toml").places()
    assert (b2.name, b3.name, b3.z_offset_um, b3.position_um) == ("B2", "B3", 2.5, (9000.0, 0.0))
