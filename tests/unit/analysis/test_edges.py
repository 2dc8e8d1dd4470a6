"""Every command of tables on next to nothing: a right result, one clear sentence, or a warning; no internal error."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import easyzloc_mm as ez
from easyzloc_mm.analysis.drift.estimate import estimate_drift
from easyzloc_mm.benchmarks.fixtures.tables import PIXEL_SIZE_NM, drifting_table
from easyzloc_mm.cli.app import main
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.io.tables.registry import read_table, write_table
from easyzloc_mm.rendering.napari_view import layer_of

EDGE_PX = 60


def table_of(rows: int, frames: int = 200, first: int = 0) -> pd.DataFrame:
    """Localisations around 12 places."""
    random = np.random.default_rng(7)
    place = random.uniform(5, EDGE_PX - 5, (12, 2))[random.integers(0, 12, rows)]
    table = pd.DataFrame({"frame": np.sort(random.integers(first, first + frames, rows)).astype(np.uint32)})
    for number, axis in enumerate("xy"):
        table[axis] = (place[:, number] + random.normal(0, 0.2, rows)).astype(np.float32)
    usual = {"photons": 1000, "sx": 1.2, "sy": 1.3, "bg": 20, "lpx": 0.1, "lpy": 0.1, "ellipticity": 0.1,
             "net_gradient": 5000, "lpz": 25}  # fmt: skip
    for name, value in usual.items():
        table[name] = (value * random.uniform(0.8, 1.2, rows)).astype(np.float32)
    return table.assign(z=random.normal(0, 100, rows).astype(np.float32), z_flag=np.uint8(0))


def set_to(**values: float) -> Callable[[], pd.DataFrame]:
    return lambda: table_of(150).assign(**{name: np.float32(value) for name, value in values.items()})


TABLES: dict[str, Callable[[], pd.DataFrame]] = {
    "0 rows": lambda: table_of(0),
    "1 row": lambda: table_of(1),
    "2 rows": lambda: table_of(2),
    "20 rows": lambda: table_of(20),
    "1 frame": lambda: table_of(150, 1),
    "20 frames": lambda: table_of(800, 20).assign(x=lambda t: t.x + np.arange(800) % 40, y=lambda t: t.y + 20),
    "late": lambda: table_of(150, 40, 50_000),
    "late, 1 frame": lambda: table_of(30, 1, 50_000),
    "one x": set_to(x=5),
    "one depth": set_to(z=0),
    "one place": set_to(x=5, y=6, z=7),
    "precise beyond measure": set_to(lpx=0, lpy=0, lpz=0),
    "all flagged": lambda: table_of(150).assign(z_flag=np.uint8(4)),
    "wide": lambda: table_of(150).assign(x=lambda t: t.x * 1e4, y=lambda t: t.y * 1e4),
    "deep": lambda: table_of(150).assign(z=lambda t: t.z * 1e4),
    "outside": lambda: table_of(150).assign(x=lambda t: t.x - 1000, y=lambda t: t.y - 1000),
    "one row again and again": lambda: pd.concat([table_of(1)] * 300, ignore_index=True),
    "2D": lambda: table_of(150).drop(columns=["z", "lpz", "z_flag"]),
    "only places": lambda: table_of(150)[["frame", "x", "y", "z"]],
}
COMMANDS = {
    "undrift": ["--out", "u.zarr"],
    "link": ["--out", "l.parquet"],
    "render": ["--out", "p.png", "--view", "isometric"],
    "resolution": [],
    "npc": ["--out", "n"],
    "export": ["--out", "e.csv"],
    "score": ["TRUTH"],
}
TRUTH = "20 frames"


FEW = ("0 rows", "1 row", "1 frame", "late, 1 frame", "one depth", "one place", "all flagged", "deep", "2D")
"""Tables on which what takes seconds is tried: drawing, and fits of pores."""
CASES = [
    pytest.param(name, command, marks=[] if name in FEW or command not in ("render", "npc") else pytest.mark.slow)
    for name in TABLES
    for command in COMMANDS
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("runs")

    def written(name: str) -> Path:
        path = folder / f"{name}.zarr"
        if not path.exists():
            write_run(path, name)
        return path

    return written


def write_run(path: Path, name: str) -> None:
    table = TABLES[name]()
    edge = 600_000 if name == "wide" else EDGE_PX
    frames = int(table["frame"].max()) + 1 if len(table) else 200
    metadata = RunMetadata(pixel_size_nm=110, width_px=edge, height_px=edge, frames=frames)
    write_table(path, table, metadata)


def finite(value: Any) -> bool:
    if isinstance(value, dict | list):
        return all(map(finite, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, float) or math.isfinite(value)


@pytest.mark.filterwarnings("default::easyzloc_mm.errors.EasyZlocWarning")
@pytest.mark.parametrize(("name", "command"), CASES)
def test_a_result_or_one_sentence(
    runs: Callable[[str], Path],
    name: str,
    command: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    # Lines of progress come on a slow machine, and say nothing of the table.
    for interval in ("PLAIN_INTERVAL_S", "STAGE_INTERVAL_S"):
        monkeypatch.setattr(f"easyzloc_mm.cli.progress.{interval}", math.inf)
    options = [str(runs(TRUTH)) if option == "TRUTH" else option for option in COMMANDS[command]]
    code = main([command, str(runs(name)), *options, "--json"])
    said = capsys.readouterr()
    assert code in (0, 2), said.err
    if code == 2:
        assert len([line for line in said.err.splitlines() if line.startswith("easyzloc-mm:")]) == 1
        assert list(tmp_path.iterdir()) == []
        return
    assert all(line.startswith("warning: ") for line in said.err.splitlines())
    assert finite(json.loads(said.out.splitlines()[-1]))
    for output in {"undrift": ["u.zarr"], "link": ["l.parquet"], "export": ["e.csv"]}.get(command, []):
        table, _ = read_table(tmp_path / output, pixel_size_nm=110)
        assert np.isfinite(table.to_numpy(float)).all()


@pytest.mark.parametrize("name", ["1 row", "20 rows", "1 frame", "20 frames"])
def test_a_drift_that_cannot_be_known_is_said(name: str) -> None:
    locs = ez.Locs(TABLES[name](), RunMetadata(pixel_size_nm=110, width_px=EDGE_PX, height_px=EDGE_PX))
    with pytest.warns(ez.EasyZlocWarning, match="x, y and z not corrected: too few"):
        corrected = ez.undrift(locs)
    pd.testing.assert_frame_equal(corrected.table, locs.table)


@pytest.mark.parametrize("method", ["rcc", "aim", "overlap", "fiducials"])
def test_a_method_that_was_asked_for_and_cannot_says_why(method: str) -> None:
    for name in ("0 rows", "1 row", "1 frame"):
        locs = ez.Locs(TABLES[name](), RunMetadata(pixel_size_nm=110, width_px=EDGE_PX, height_px=EDGE_PX))
        with pytest.raises(ez.InputError, match=f"no drift by {method}"):
            ez.undrift(locs, method=method, z_method="none")


def test_a_run_that_begins_late_has_the_same_drift() -> None:
    """Frames before the first localisation hold nothing, and change nothing."""
    known = drifting_table(frames=400, per_frame=12, edge_px=60, drift_nm=(60.0, 60.0, 50.0), seed=5)
    first = int(known.table["frame"].min())
    later = known.table.assign(frame=known.table["frame"] + 50_000)
    plain = estimate_drift(known.table, known.frames, (60, 60), PIXEL_SIZE_NM, method_xy="aim", method_z="paper")
    late = estimate_drift(later, known.frames + 50_000, (60, 60), PIXEL_SIZE_NM, method_xy="aim", method_z="paper")
    assert first == 0
    pd.testing.assert_frame_equal(
        late.table.iloc[50_000:].reset_index(drop=True).drop(columns="frame"), plain.table.drop(columns="frame")
    )
    assert late.table["frame"].tolist() == list(range(len(late.table)))
    assert late.record == plain.record


@pytest.mark.parametrize("change", [{"x": 5.0, "y": 6.0}, {"z": 1e6}, {"x": 9e5}])
def test_resolution_of_odd_places_is_not_known(change: dict[str, float]) -> None:
    table = table_of(1200)
    spread = {name: np.where(np.arange(len(table)) % 2, value, table[name]) for name, value in change.items()}
    odd = change if len(change) == 2 else spread
    found = ez.resolution(ez.Locs(table.assign(**odd), RunMetadata(pixel_size_nm=110, width_px=60, height_px=60)))
    assert finite(found.as_dict())
    if len(change) == 2:
        assert found.frc.nm is None


def test_frame_numbers_that_are_mistakes_are_not_worked_through() -> None:
    table = table_of(100).assign(frame=lambda t: t.frame.astype(np.uint32) * np.uint32(70_000))
    with pytest.raises(ez.InputError, match="frame numbers up to"):
        ez.undrift(ez.Locs(table, RunMetadata(pixel_size_nm=110, width_px=60, height_px=60)))


@pytest.mark.parametrize("name", TABLES)
def test_view_shows_what_there_is(runs: Callable[[str], Path], name: str) -> None:
    run = runs(name)
    locs = ez.load_locs(run)
    if not locs.is_3d or not len(locs.nm):
        with pytest.raises(ez.InputError, match="z"):
            layer_of(run)
        return
    points, options = layer_of(run)
    assert np.isfinite(points).all()
    assert np.isfinite(options["size"]).all()
    assert len(options["face_color"]) == len(points) > 0
