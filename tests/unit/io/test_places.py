"""Lists of positions that other programs write, against what those programs say they mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from easyzloc_mm.acquire.plans.plan import ScanPlan
from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.places.place import Place
from easyzloc_mm.io.places.read import read_places
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.profile.schema import Profile


@pytest.fixture(scope="module")
def profile() -> Profile:
    return load_profile("demo").replace(focus_lock={"device": "PFS", "offset_device": "PFSOffset"})


def typed(kind: str, value: Any) -> dict[str, Any]:
    return {"type": kind, "array" if isinstance(value, list) else "scalar": value}


def position_list_2(entries: list[tuple[str, dict[str, list[float]]]]) -> dict[str, Any]:
    """A property map as Micro-Manager 2 writes it."""
    positions = [
        {
            "DefaultXYStage": typed("STRING", "XY"),
            "DefaultZStage": typed("STRING", "Z"),
            "DevicePositions": typed(
                "PROPERTY_MAP",
                [
                    {"Device": typed("STRING", device), "Position_um": typed("DOUBLE", where)}
                    for device, where in stages.items()
                ],
            ),
            "GridCol": typed("INTEGER", 0),
            "GridRow": typed("INTEGER", 0),
            "Label": typed("STRING", label),
            "Properties": typed("PROPERTY_MAP", {}),
        }
        for label, stages in entries
    ]
    head = {"encoding": "UTF-8", "format": "Micro-Manager Property Map", "major_version": 2, "minor_version": 0}
    return {**head, "map": {"StagePositions": typed("PROPERTY_MAP", positions)}}


def position_list_1(entries: list[tuple[str, dict[str, list[float]]]]) -> dict[str, Any]:
    """As Micro-Manager 1.4 writes it."""
    positions = [
        {
            "GRID_COL": 0, "GRID_ROW": 0, "LABEL": label, "PROPERTIES": {}, "DEFAULT_XY_STAGE": "XY",
            "DEFAULT_Z_STAGE": "Z",
            "DEVICES": [
                {"DEVICE": device, "AXES": len(where), "X": where[0], "Y": (*where, 0)[1], "Z": 0}
                for device, where in stages.items()
            ],
        }
        for label, stages in entries
    ]  # fmt: skip
    return {"VERSION": 3, "ID": "Micro-Manager XY-position list", "POSITIONS": positions}


ENTRIES = [
    ("Pos-000", {"Z": [50.25], "XY": [10.5, -20.0]}),
    ("cell 1/a", {"XY": [1e3, 2e3]}),
    ("Pos-000", {"XY": [0.0, 0.0], "Z": [49.0]}),
]


@pytest.mark.parametrize("write", [position_list_2, position_list_1], ids=["2.0", "1.4"])
def test_position_lists_of_micromanager(tmp_path: Path, profile: Profile, write: Any) -> None:
    path = tmp_path / "list.pos"
    path.write_text(json.dumps(write(ENTRIES)), encoding="utf-8")
    assert read_places(path, profile) == [
        Place("Pos-000", 10.5, -20.0, 50.25),
        Place("cell_1_a", 1000.0, 2000.0, None),
        Place("Pos-000_2", 0.0, 0.0, 49.0),
    ]
    fields = ScanPlan.from_file(path, profile).places()
    assert (fields[0].name, fields[0].focus_um) == ("Pos-000", 50.25)


def test_a_list_of_another_microscope_is_refused_or_mapped(tmp_path: Path, profile: Profile) -> None:
    path = tmp_path / "list.pos"
    entries = [("a", {"TIXYDrive": [5.0, 6.0], "TIZDrive": [3000.0], "PFSOffset": [120.0]})]
    path.write_text(json.dumps(position_list_2(entries)), encoding="utf-8")
    with pytest.raises(InputError, match=r"made with stage 'TIXYDrive'.*xy_stage 'XY'.*device_map"):
        read_places(path, profile)
    plan = 'name = "n"\npositions_file = "list.pos"\nframes = 7\ndevice_map = { TIXYDrive = "XY", TIZDrive = "" }\n'
    (tmp_path / "plan.toml").write_text(plan, encoding="utf-8")
    with pytest.warns(EasyZlocWarning, match="'PFSOffset', which is the focus lock's offset and not z"):
        read = ScanPlan.from_file(tmp_path / "plan.toml", profile)
    assert (read.frames, [(f.name, f.position_um, f.focus_um) for f in read.places()]) == (7, [("a", (5.0, 6.0), None)])


@pytest.mark.parametrize(
    "text",
    [
        "name,x,y,z\nA1,1.5,2,50\n,3,4,\n",
        "Field;X [um];Y (um);Z_um\nA1;1,5;2;50\n\n;3;4;\n",
        "\ufeffz\ty (µm)\tx\tlabel\n50\t2\t1.5\tA1\n\t4\t3\t\n",
    ],
)
def test_spreadsheets(tmp_path: Path, text: str) -> None:
    (tmp_path / "list.csv").write_text(text, encoding="utf-8")
    assert read_places(tmp_path / "list.csv") == [Place("A1", 1.5, 2.0, 50.0), Place("field_001", 3.0, 4.0, None)]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "name,x\nA,1\n", "x and y .* are needed"),
        ("a.csv", "x,y\n1,two\n", "line 2: y = 'two' is no number"),
        ("a.csv", "x,y\n1,\n", "line 2: x or y is missing"),
        ("a.csv", "x,y\nnan,1\n", "position 1 .* no number"),
        ("a.csv", "x,y\n", "has no position"),
        ("a.csv", "", "is empty"),
        ("a.pos", "{", "cannot be read as Micro-Manager position list"),
        ("a.pos", '{"map": {}}', "it lacks 'StagePositions'"),
        ("a.json", "[1]", "is no plan of useq-schema"),
        ("a.json", '{"stage_positions": [{"x": "left"}]}', "cannot be read as useq plan"),
        ("a.json", '{"grid_plan": {"num_points": 3, "max_width": 9}}', "random points without `random_seed`"),
        ("a.xls", "", "is no list of positions"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=words):
        read_places(tmp_path / name)


@pytest.mark.parametrize("inside", ["a sequence", "alone"])
def test_depths_of_wells_are_not_left_out_in_silence(tmp_path: Path, profile: Profile, inside: str) -> None:
    """A plate says no depth that z of its points could count from: the wells come without, and a warning says so."""
    plate = {"plate": "96-well", "a1_center_xy": [0.0, 0.0], "selected_wells": [[0], [1]],
             "well_points_plan": {"x": 0.0, "y": 0.0, "z": 5.0}}  # fmt: skip
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plate if inside == "alone" else {"stage_positions": plate}), encoding="utf-8")
    with pytest.warns(EasyZlocWarning, match=r"z of its wells \(5 um"):
        (well,) = read_places(path, profile)
    assert well.z_um is None


def test_a_useq_plate_with_rotation(tmp_path: Path, profile: Profile) -> None:
    """Wells of a 96-well plate are 9 mm apart; turned by 90 degrees, columns run along y."""
    plan = {"plate": "96-well", "a1_center_xy": [100.0, 200.0], "selected_wells": [[0, 1], [0, 2]]}
    for rotation in (None, 90):
        (tmp_path / "plate.json").write_text(json.dumps({**plan, "rotation": rotation}), encoding="utf-8")
        a1, b3 = read_places(tmp_path / "plate.json", profile)
        assert (a1.name, b3.name) == ("A1", "B3")
        assert (a1.z_um, b3.z_um) == (None, None)  # useq gives them 0, which no plate says
        assert (a1.x_um, a1.y_um) == pytest.approx((100.0, 200.0))
        away = np.abs([b3.x_um - a1.x_um, b3.y_um - a1.y_um])
        assert away.tolist() == pytest.approx([18000.0, 9000.0] if rotation is None else [9000.0, 18000.0])


def test_wells_of_a_sequence_have_the_depth_of_the_plan_that_names_them(tmp_path: Path, profile: Profile) -> None:
    plate = {"plate": "96-well", "a1_center_xy": [0.0, 0.0], "selected_wells": [[0], [1]]}
    (tmp_path / "mda.json").write_text(json.dumps({"stage_positions": plate}), encoding="utf-8")
    (tmp_path / "plan.toml").write_text('name = "n"\nfocus_um = 47.5\npositions_file = "mda.json"\n', encoding="utf-8")
    plan = ScanPlan.from_file(tmp_path / "plan.toml", profile)
    assert [(place.name, plan.focus_at(place)) for place in plan.places()] == [("A2", 47.5)]


def test_random_points_with_a_seed_are_where_they_were(tmp_path: Path) -> None:
    points = {"num_points": 3, "max_width": 500, "max_height": 500, "random_seed": 4}
    plate = {"plate": "96-well", "a1_center_xy": [0, 0], "selected_wells": [[0], [0]], "well_points_plan": points}
    (tmp_path / "plate.json").write_text(json.dumps(plate), encoding="utf-8")
    first, again = read_places(tmp_path / "plate.json"), read_places(tmp_path / "plate.json")
    assert first == again
    assert len({(place.x_um, place.y_um) for place in first}) == 3


def test_a_useq_sequence_keeps_places_and_leaves_light_to_the_profile(tmp_path: Path, profile: Profile) -> None:
    sequence = {
        "stage_positions": [{"x": 0, "y": 0, "z": 49, "name": "cell"}, {"x": 5000, "y": 10}],
        "grid_plan": {"rows": 1, "columns": 2, "relative_to": "top_left"},
        "channels": [{"config": "DAPI", "exposure": 5}],
        "z_plan": {"range": 4, "step": 0.5},
    }
    (tmp_path / "mda.json").write_text(json.dumps(sequence), encoding="utf-8")
    with pytest.warns(EasyZlocWarning, match="channels, z_plan are left out"):
        places = read_places(tmp_path / "mda.json", profile)
    field_um = profile.camera.width_px * profile.optics.pixel_size_nm / 1000
    assert len(places) == 4
    assert places[1].x_um - places[0].x_um == pytest.approx(field_um)  # the grid's step is this camera's field
    assert [place.z_um for place in places] == [49.0, 49.0, None, None]
    assert places[0].name == "cell_0000"
    assert len({place.name for place in places}) == 4
