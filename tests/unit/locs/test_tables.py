"""Conditions on tables, and linking of blinks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from easyzloc_mm._picasso import picasso
from easyzloc_mm.benchmarks.fixtures.tables import PIXEL_SIZE_NM, drifting_table
from easyzloc_mm.cli.app import main
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.io.tables.registry import read_table, write_table
from easyzloc_mm.locs.linking import link, link_run
from easyzloc_mm.locs.query import select


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    made = drifting_table(frames=400, per_frame=8, edge_px=120, drift_nm=(1.0, 1.0, 1.0)).table
    made["z_flag"] = (np.arange(len(made)) % 5 == 0).astype(np.uint8)
    return made


@pytest.mark.parametrize(
    ("condition", "same"),
    [
        ("lpz < 40 and z_flag == 0", lambda t: (t.lpz < 40) & (t.z_flag == 0)),
        ("(lpz < 40) & ~(z_flag == 0)", lambda t: (t.lpz < 40) & (t.z_flag != 0)),
        ("-100 < z <= 50.5 or not photons >= 2000", lambda t: ((t.z > -100) & (t.z <= 50.5)) | (t.photons < 2000)),
        ("z_flag - 1 < 0", lambda t: t.z_flag == 0),
        ("abs(z) + 2 * lpz < 1e2 | frame % 2 == 1", lambda t: None),
    ],
)
def test_conditions_mean_what_they_say(table: pd.DataFrame, condition: str, same: object) -> None:
    wanted = same(table)  # type: ignore[operator]
    if wanted is None:  # as in Python, | binds closer than < does: refused, not guessed
        with pytest.raises(InputError):
            select(table, condition)
        return
    pd.testing.assert_frame_equal(select(table, condition), table[wanted].reset_index(drop=True))


@pytest.mark.parametrize(
    "condition",
    [
        "lpz", "lpz <", "nothing < 3", "__import__('os').system('true')", "z.real < 3", "z < '3'", "[z] < 3",
        "(lambda: 1)() < z", "open('x') < z", "z < 1 if z else 2", "exec(1) < z", "9**9**9**9 < z or", "x := 3", "True",
        "(" * 500 + "z" + ")" * 500, "z < 1" + " " * 2000,
    ],
)  # fmt: skip
def test_conditions_that_are_none_are_refused_in_one_line(table: pd.DataFrame, condition: str) -> None:
    with pytest.raises(InputError, match="`where`"):
        select(table, condition)


def test_a_bad_condition_ends_with_code_2(
    table: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_table(
        tmp_path / "r.zarr",
        table,
        RunMetadata(pixel_size_nm=110, width_px=120, height_px=120),
    )
    for command in (["render", "--out", "p.png"], ["export", "--out", "t.csv"], ["npc", "--out", "n"],
                    ["link", "--out", "l.csv"], ["resolution"]):  # fmt: skip
        arguments = [command[0], str(tmp_path / "r.zarr"), "--where", "wrong < 3"]
        arguments += [str(tmp_path / a) if "." in a or a == "n" else a for a in command[1:]]
        assert main(arguments) == 2, command
        said = capsys.readouterr().err.strip()
        assert "wrong" in said
        assert len([line for line in said.splitlines() if line.startswith("easyzloc-mm:")]) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.zarr"]


def test_linking_agrees_with_picasso(table: pd.DataFrame) -> None:
    flat = table.drop(columns="z_flag")
    info = [{"Width": 120, "Height": 120, "Frames": 400, "Pixelsize": PIXEL_SIZE_NM}]
    theirs = picasso("postprocess").link(flat, info, r_max=0.4, max_dark_time=1, remove_ambiguous_lengths=False)
    ours = link(flat, 0.4, 1)
    assert len(ours) == len(theirs) < len(table)
    keys = ["frame", "x"]
    theirs, ours = theirs.sort_values(keys), ours.sort_values(keys)
    for name in ("frame", "x", "y", "z", "photons", "lpx", "lpz", "len", "n", "sx"):
        np.testing.assert_allclose(
            ours[name].to_numpy(float), theirs[name].to_numpy(float), rtol=2e-5, atol=1e-4, err_msg=name
        )


def test_a_flagged_depth_does_not_spoil_an_event() -> None:
    rows = {
        "frame": [0, 1, 2, 50, 51], "x": [5.0] * 5, "y": [5.0] * 5, "photons": [100.0] * 5, "lpx": [0.1] * 5,
        "lpy": [0.1] * 5, "z": [10.0, 20.0, 900.0, 30.0, 50.0], "lpz": [10.0] * 5, "z_flag": [0, 0, 2, 1, 2],
    }  # fmt: skip
    linked = link(pd.DataFrame(rows), 0.5, 1)
    assert linked["z"].tolist() == pytest.approx([15.0, 40.0])
    assert linked["z_flag"].tolist() == [0, 3]
    assert linked["lpz"].tolist() == pytest.approx([10 / np.sqrt(2)] * 2)
    assert linked["photons"].tolist() == [300.0, 200.0]
    assert linked["n"].tolist() == [3, 2]


def test_link_writes_any_format(table: pd.DataFrame, tmp_path: Path) -> None:
    write_table(
        tmp_path / "r.zarr",
        table,
        RunMetadata(pixel_size_nm=110, width_px=120, height_px=120),
    )
    result = link_run(tmp_path / "r.zarr", tmp_path / "l.hdf5", where="z_flag == 0")
    linked, facts = read_table(tmp_path / "l.hdf5")
    assert result["rows_in"] == int((table["z_flag"] == 0).sum())
    assert len(linked) == result["rows"]
    assert linked["n"].sum() == result["rows_in"]
    assert facts.pixel_size_nm == 110
