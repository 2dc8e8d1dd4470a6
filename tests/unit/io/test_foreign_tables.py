"""Tables of other programs: every one's headings, units and counting give the same molecules, and that is said."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest

from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.tables.complete import read_2d_table
from easyzloc_mm.io.tables.registry import read_table, write_table

PIXEL_NM = 110.0


def truth(rows: int = 40) -> pd.DataFrame:
    """Frames from 0; x, y in pixels, 0 at the centre of the first one, x the column; z, lpz in nm."""
    random = np.random.default_rng(6)
    return pd.DataFrame(
        {
            "frame": np.sort(random.integers(3, 90, rows)),
            "x": random.uniform(2, 60, rows).round(4),
            "y": random.uniform(2, 30, rows).round(4),
            "z": random.normal(0, 300, rows).round(2),
            "photons": random.uniform(300, 9000, rows).round(1),
            "lpx": random.uniform(0.05, 0.3, rows).round(4),
        }
    )


def smap(path: Path, t: pd.DataFrame) -> None:
    """MATLAB counts from 1: frames, and the centre of the first pixel."""
    out = {"xnm": (t.x + 1) * PIXEL_NM, "ynm": (t.y + 1) * PIXEL_NM, "znm": t.z, "frame": t.frame + 1,
           "locprecnm": t.lpx * PIXEL_NM, "phot": t.photons, "bg": 3.0, "layer": 1}  # fmt: skip
    pd.DataFrame(out).to_csv(path, index=False)


def decode_columns(t: pd.DataFrame, scale: float) -> dict[str, object]:
    """DECODE's x is the row."""
    missing = np.full(len(t), np.nan)
    return {"x": t.y * scale, "y": t.x * scale, "z": t.z, "phot": t.photons, "frame_ix": t.frame, "id": -1,
            "prob": 0.9, "bg": 3.0, "x_cr": missing, "y_cr": missing, "z_cr": missing, "x_sig": t.lpx * scale,
            "y_sig": t.lpx * scale, "z_sig": t.lpx * 300}  # fmt: skip


def decode_csv(path: Path, t: pd.DataFrame) -> None:
    meta = {"xy_unit": "px", "px_size": [PIXEL_NM, PIXEL_NM]}
    with path.open("w", encoding="utf-8") as file:
        file.write(f'# DECODE EmitterSet\n# {{"version": "v0.10.2"}}\n# {json.dumps(meta)}\n')
        pd.DataFrame(decode_columns(t, 1.0)).to_csv(file, index=False)


def decode_csv_nm(path: Path, t: pd.DataFrame) -> None:
    meta = {"xy_unit": "nm", "px_size": [PIXEL_NM, PIXEL_NM]}
    with path.open("w", encoding="utf-8") as file:
        file.write(f'# DECODE EmitterSet\n# {{"version": "v0.11"}}\n# {json.dumps(meta)}\n# fields not set/null: []\n')
        pd.DataFrame(decode_columns(t, PIXEL_NM)).to_csv(file, index=False)


def decode_h5(path: Path, t: pd.DataFrame) -> None:
    columns = pd.DataFrame(decode_columns(t, 1.0))
    with h5py.File(path, "w") as file:
        file.create_group("meta").attrs.update({"xy_unit": "px", "px_size": np.array([PIXEL_NM, PIXEL_NM], np.float32)})
        data = file.create_group("data")
        data["xyz"] = columns[["x", "y", "z"]].to_numpy(np.float32)
        data["xyz_sig"] = columns[["x_sig", "y_sig", "z_sig"]].to_numpy(np.float32)
        data.create_dataset("xyz_cr", data=h5py.Empty("f"))
        data["phot"] = columns["phot"].to_numpy(np.float32)
        data["frame_ix"] = t.frame.to_numpy(np.int64)


def challenge(path: Path, t: pd.DataFrame) -> None:
    out = {"Ground-truth": np.arange(1, len(t) + 1), "frame": t.frame + 1, "xnano": (t.x + 0.5) * PIXEL_NM,
           "ynano": (t.y + 0.5) * PIXEL_NM, "znano": t.z, "intensity ": t.photons}  # fmt: skip
    pd.DataFrame(out).to_csv(path, index=False)


def rapidstorm(path: Path, t: pd.DataFrame) -> None:
    fields = {"Position-0-0": "nanometer", "Position-1-0": "nanometer", "Position-2-0": "nanometer",
              "ImageNumber-0-0": "frame", "Amplitude-0-0": "A/D count", "PSFWidth-0-0": "nanometer",
              "Position-0-0-uncertainty": "nanometer", "Position-1-0-uncertainty": "nanometer"}  # fmt: skip
    xml = "".join(
        f'<field identifier="{name}" syntax="s" semantic="m" unit="{unit}" />' for name, unit in fields.items()
    )
    lines = [f'# <localizations insequence="true" repetitions="variable">{xml}</localizations>']
    for x, y, z, frame, precision in t.assign(lpx=t.lpx * PIXEL_NM)[["x", "y", "z", "frame", "lpx"]].to_numpy():
        lines.append(f"{x * PIXEL_NM} {y * PIXEL_NM} {z} {frame:.0f} 5000 235.48 {precision} {precision}")
        lines.append(f"# No localizations in image {frame + 1:.0f}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def rapidstorm_in_metres(path: Path, t: pd.DataFrame) -> None:
    rapidstorm(path, t.assign(x=t.x * 1e-9, y=t.y * 1e-9, z=t.z * 1e-9, lpx=t.lpx * 1e-9))
    path.write_text(path.read_text("utf-8").replace('unit="nanometer"', 'unit="meter"'), encoding="utf-8")


def oldest_rapidstorm(path: Path, t: pd.DataFrame) -> None:
    rows = t[["x", "y", "frame", "photons"]].to_csv(index=False, header=False, sep=" ")
    path.write_text(f"63 31 100 0\n{rows}", encoding="utf-8")


def picasso_csv(path: Path, t: pd.DataFrame) -> None:
    t.assign(lpy=t.lpx, sx=1.1, sy=1.2, bg=3.0).to_csv(path, index=False)


def headings_with_units(path: Path, t: pd.DataFrame) -> None:
    out = {"Frame": t.frame, "Position X (µm)": (t.x + 0.5) * PIXEL_NM / 1000, "Position Y [um]": (t.y + 0.5) * PIXEL_NM
           / 1000, "Position Z [nm]": t.z, "Photons": t.photons, "Precision [nm]": t.lpx * PIXEL_NM}  # fmt: skip
    pd.DataFrame(out).to_csv(path, index=False, encoding="latin-1")


WRITERS: dict[str, tuple[str, Callable[[Path, pd.DataFrame], None]]] = {
    "SMAP": ("s.csv", smap),
    "DECODE": ("d.csv", decode_csv),
    "DECODE nm": ("n.csv", decode_csv_nm),
    "DECODE h5": ("d.h5", decode_h5),
    "SMLM Challenge": ("c.csv", challenge),
    "rapidSTORM": ("r.txt", rapidstorm),
    "rapidSTORM m": ("m.txt", rapidstorm_in_metres),
    "rapidSTORM, without headings": ("o.txt", oldest_rapidstorm),
    "Picasso": ("p.csv", picasso_csv),
}


@pytest.mark.parametrize("program", WRITERS)
def test_the_same_molecules_come_from_every_program(tmp_path: Path, program: str) -> None:
    name, write = WRITERS[program]
    wanted = truth()
    write(tmp_path / name, wanted)
    ignored = ["x_cr"] if program in ("DECODE", "DECODE nm") else []
    if ignored:  # DECODE writes columns of NaN for what it did not determine
        with pytest.warns(EasyZlocWarning, match=r"x_cr, y_cr, z_cr .*left out"):
            found, metadata = read_table(tmp_path / name, pixel_size_nm=PIXEL_NM)
    else:
        found, metadata = read_table(tmp_path / name, pixel_size_nm=PIXEL_NM)
    assert found["frame"].dtype == np.uint32
    assert found["frame"].tolist() == wanted["frame"].tolist()
    for axis, within in (("x", 1e-5), ("y", 1e-5), ("z", 1e-3)):
        if axis in found or axis != "z":
            np.testing.assert_allclose(found[axis], wanted[axis], atol=within, rtol=1e-6, err_msg=axis)
    assert ("z" in found) is (program != "rapidSTORM, without headings")
    if program not in ("SMLM Challenge", "rapidSTORM, without headings"):
        np.testing.assert_allclose(found["lpx"], wanted["lpx"], rtol=1e-5)
    if not program.startswith("rapidSTORM"):  # its amplitudes are counts of the camera
        np.testing.assert_allclose(found["photons"], wanted["photons"], rtol=1e-6)
    assert metadata.pixel_size_nm == PIXEL_NM
    assert metadata.counting is not None
    assert metadata.counting.startswith(program.removesuffix(" h5").removesuffix(" nm").removesuffix(" m"))
    # Through the format that keeps most, and as the 2D table that assign-z reads: the same.
    write_table(tmp_path / "again.zarr", found, metadata)
    assert read_table(tmp_path / "again.zarr")[1].counting == metadata.counting


def test_widths_of_rapidstorm_are_full_widths(tmp_path: Path) -> None:
    rapidstorm(tmp_path / "r.txt", truth())
    found, _ = read_table(tmp_path / "r.txt", pixel_size_nm=100.0)
    np.testing.assert_allclose(found["sx"], 1.0, rtol=1e-4)


def test_a_table_of_abbelight_neo_is_one_of_thunderstorm_with_both_widths(tmp_path: Path) -> None:
    wanted = truth()
    out = {"id": np.arange(1, len(wanted) + 1), "frame": wanted.frame + 1, "x [nm]": (wanted.x + 0.5) * PIXEL_NM,
           "y [nm]": (wanted.y + 0.5) * PIXEL_NM, "z [nm]": wanted.z, "sigma [nm]": 150.0,
           "intensity [photon]": wanted.photons, "amplitude [photon]": 80.0, "offset [photon]": 12.0,
           "bkgstd [photon]": 3.0, "uncertainty_xy [nm]": wanted.lpx * PIXEL_NM, "intDemixing [photon]": 70.0,
           "sigma_x [nm]": 130.0, "sigma_y [nm]": 170.0, "detections": 1, "ratio_demixing": 0.4}  # fmt: skip
    pd.DataFrame(out).to_csv(tmp_path / "neo.csv", index=False, quoting=csv.QUOTE_NONNUMERIC)
    found, metadata = read_table(tmp_path / "neo.csv", pixel_size_nm=PIXEL_NM)
    assert metadata.counting is not None
    assert metadata.counting.startswith("ThunderSTORM")
    assert found["frame"].tolist() == wanted["frame"].tolist()
    for name, expected in (("x", wanted.x), ("z", wanted.z), ("lpx", wanted.lpx), ("photons", wanted.photons)):
        np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        found[["sx", "sy"]].to_numpy(), np.tile([130 / PIXEL_NM, 170 / PIXEL_NM], (len(found), 1)), rtol=1e-5
    )
    assert found["ratio_demixing"].eq(0.4).all()


def test_assign_z_reads_them_through_the_same_registry(tmp_path: Path) -> None:
    wanted = truth()
    smap(tmp_path / "s.csv", wanted)
    found = read_2d_table(tmp_path / "s.csv", PIXEL_NM)
    assert found["frame"].tolist() == wanted["frame"].tolist()
    np.testing.assert_allclose(found["x"], wanted["x"], atol=1e-5)
    np.testing.assert_allclose(found["lpx"], wanted["lpx"], rtol=1e-5)


def test_headings_with_units_are_read_and_the_counting_is_doubted(tmp_path: Path) -> None:
    wanted = truth().assign(frame=lambda t: t.frame - t.frame.min())
    headings_with_units(tmp_path / "t.csv", wanted)
    with pytest.warns(EasyZlocWarning, match="frames are taken to count from 0, .* corner"):
        found, _ = read_table(tmp_path / "t.csv", pixel_size_nm=PIXEL_NM)
    assert found["frame"].tolist() == wanted["frame"].tolist()
    np.testing.assert_allclose(found["x"], wanted["x"], atol=1e-6)
    np.testing.assert_allclose(found["z"], wanted["z"])
    np.testing.assert_allclose(found["lpy"], wanted["lpx"], rtol=1e-6)


@pytest.mark.parametrize("table_format", ["fixed", "table"])
@pytest.mark.parametrize("key", ["locs", "df"])
def test_data_frames_that_pandas_saved(tmp_path: Path, table_format: str, key: str) -> None:
    """As `DataFrame.to_hdf` lays them out: see `write_pandas`."""
    wanted = truth()
    write_pandas(tmp_path / "t.hdf5", wanted, key, table_format)
    with pytest.raises(InputError, match=r"t\.yaml is missing"):
        read_table(tmp_path / "t.hdf5")
    (tmp_path / "t.yaml").write_text("Frames: 100\nHeight: 64\nWidth: 64\nPixelsize: 110\n", encoding="utf-8")
    found, metadata = read_table(tmp_path / "t.hdf5")
    pd.testing.assert_frame_equal(found[wanted.columns], wanted.astype({"frame": np.uint32}), check_dtype=False)
    assert (metadata.frames, metadata.width_px, metadata.pixel_size_nm) == (100, 64, PIXEL_NM)


def write_pandas(path: Path, table: pd.DataFrame, key: str, table_format: str) -> None:
    """Write the two layouts of PyTables: a block per type, or rows with blocks side by side."""
    import pickle

    names = {"f": [str(name) for name in table if table[name].dtype.kind == "f"], "i": ["frame"]}
    blocks = [table[block].to_numpy() for block in names.values()]
    with h5py.File(path, "w") as file:
        group = file.create_group(key)
        group.attrs["pandas_type"] = "frame" if table_format == "fixed" else "frame_table"
        if table_format == "fixed":
            group["axis0"] = np.array([str(name).encode() for name in table])
            for number, (block, values) in enumerate(zip(names.values(), blocks, strict=True)):
                group[f"block{number}_items"] = np.array([name.encode() for name in block])
                group[f"block{number}_values"] = values
            return
        layout: list[Any] = [("index", "i8")]
        layout += [(f"values_block_{n}", values.dtype, (values.shape[1],)) for n, values in enumerate(blocks)]
        rows = np.zeros(len(table), layout)
        for number, values in enumerate(blocks):
            rows[f"values_block_{number}"] = values
        group["table"] = rows
        for number, block in enumerate(names.values()):
            group["table"].attrs[f"values_block_{number}_kind"] = np.bytes_(pickle.dumps(block, protocol=0))


def test_one_block_without_names_of_its_own(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "t.hdf5", "w") as file:
        group = file.create_group("locs")
        group.attrs["pandas_type"] = "frame"
        group["axis0"] = np.array([b"frame", b"x", b"y"])
        group["block0_values"] = np.array([[0, 3.5, 4.5], [7, 5.5, 6.5]])
    (tmp_path / "t.yaml").write_text("Frames: 9\nHeight: 64\nWidth: 64\nPixelsize: 110\n", encoding="utf-8")
    found, _ = read_table(tmp_path / "t.hdf5")
    assert found.to_dict("list") == {"frame": [0, 7], "x": [3.5, 5.5], "y": [4.5, 6.5]}


@pytest.mark.parametrize(
    ("name", "content", "hint"),
    [
        ("t.csv", "frame_ix,x,y,z,phot\n1,2,3,4,5\n", "does not state the unit of x, y, z"),
        ("t.csv", "frame,xnm\n1,2\n", "no column x, y"),
        ("t.csv", "Frame,X (nm),Y (nm),x [um],y [um]\n1,2,3,4,5\n", "several columns for x, y"),
        ("t.csv", "frame,x [furlong],y [furlong]\n1,2,3\n", "does not state the unit of x"),
        ("t.txt", "1 2 3 4\n5 6 7 8\n", "no headings"),
        ("t.txt", '# <localizations><field identifier="Position-0-0"\n1 2\n', "damaged"),
        ("t.txt", '# <localizations><field identifier="Position-0-0" unit="m"/></localizations>\n1 2\n', "1 columns"),
        ("t.txt", "# <localizations><localizations/></localizations>\n1 2\n", "tracks"),
    ],
)
def test_what_is_not_known_is_refused_in_one_sentence(tmp_path: Path, name: str, content: str, hint: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=hint) as caught:
        read_table(tmp_path / name, pixel_size_nm=PIXEL_NM)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)
