"""Small whole files of every kind that is read, to be damaged."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import tifffile

from easyzloc_mm.io.beads.dataset import read_bead_set, write_bead_set
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.io.tables.registry import write_table
from tests.helpers.paths import DATA, DEMO_PROFILE

V1 = DATA / "stores" / "v1"
PLAN = """name = "t"
[grid]
first_um = [100, 200]
columns = 2
rows = 2
spacing_um = 50.0
"""
POSITIONS = {
    "positions.csv": "name,x,y,z\nA1,1.5,2,50\nA2,3,4,\n",
    "positions.pos": (
        '{"format": "Micro-Manager Property Map", "map": {"StagePositions": {"type": "PROPERTY_MAP", "array": '
        '[{"DevicePositions": {"type": "PROPERTY_MAP", "array": [{"Device": {"type": "STRING", "scalar": "XY"}, '
        '"Position_um": {"type": "DOUBLE", "array": [1.5, 2.5]}}]}, "Label": {"type": "STRING", "scalar": "a"}}]}}}'
    ),
    "positions.json": (
        '{"stage_positions": [{"x": 1, "y": 2, "z": 3, "name": "a"}, {"x": 5, "y": 6}], '
        '"grid_plan": {"rows": 2, "columns": 1, "fov_width": 50, "fov_height": 50}}'
    ),
}
PICKS = "Centers:\n- [10.5, 12.0]\n- [20.0, 33.5]\nDiameter: 1.5\nShape: Circle\n"


@dataclass(frozen=True)
class Seed:
    """A whole file, or folder, that `readers` of `tests.fuzz.victim` read without complaint.

    Attributes
    ----------
    path : Path
        What is read.
    readers : tuple of str
    beside : tuple of Path
        Files that belong to it, and are damaged too.
    """

    path: Path
    readers: tuple[str, ...]
    beside: tuple[Path, ...] = ()


def write_seeds(folder: Path) -> list[Seed]:
    """Write all of them below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    return [*_tables(folder), *_images(folder), *_stores(folder), *_settings(folder)]


def _table(rows: int = 60) -> pd.DataFrame:
    random = np.random.default_rng(3)
    table = pd.DataFrame({"frame": np.sort(random.integers(0, 50, rows)).astype(np.uint32)})
    for name in ("x", "y", "photons", "sx", "sy", "bg", "lpx", "lpy", "z", "lpz"):
        table[name] = random.uniform(1, 40, rows).astype(np.float32)
    return table.assign(z_flag=np.uint8(0))


def _tables(folder: Path) -> list[Seed]:
    table, metadata = _table(), RunMetadata(pixel_size_nm=110, width_px=64, height_px=64, frames=50)
    both = ("table", "2d")
    seeds = []
    for ending in (".csv", ".parquet", ".hdf5"):
        path = folder / f"table{ending}"
        write_table(path, table, metadata)
        beside = (path.with_suffix(".yaml"),) if ending == ".hdf5" else ()
        seeds.append(Seed(path, (*both, "truth") if ending == ".parquet" else both, beside))
    in_nm = table.assign(xnm=table.x * 110, ynm=table.y * 110, frame=table.frame + 1)
    in_nm[["frame", "xnm", "ynm"]].to_csv(folder / "smap.csv", index=False)
    german = table[["frame", "x", "y", "z"]].rename(columns=lambda name: name if name == "frame" else f"{name} [nm]")
    german["frame"] += 1
    german.to_csv(folder / "german.xls", index=False, sep=";", decimal=",", encoding="utf-16")
    decode = '# DECODE EmitterSet\n# {}\n# {"xy_unit": "px", "px_size": [110.0, 110.0]}\n'
    decode += table.rename(columns={"frame": "frame_ix"})[["frame_ix", "x", "y", "z"]].to_csv(index=False)
    (folder / "decode.csv").write_text(decode, encoding="utf-8")
    fields = "".join(
        f'<field identifier="{name}" syntax="s" unit="nanometer" />'
        for name in ("Position-0-0", "Position-1-0", "ImageNumber-0-0")
    )
    rows = table[["x", "y", "frame"]].to_csv(index=False, header=False, sep=" ")
    (folder / "rapidstorm.txt").write_text(f"# <localizations>{fields}</localizations>\n{rows}", encoding="utf-8")
    with h5py.File(folder / "pandas.h5", "w") as file:
        group = file.create_group("locs")
        group.attrs["pandas_type"] = "frame"
        group["axis0"] = np.array([b"frame", b"x", b"y"])
        group["block0_values"] = table[["frame", "x", "y"]].to_numpy(float)
    with h5py.File(folder / "decode.h5", "w") as file:
        file.create_group("meta").attrs.update({"xy_unit": "px", "px_size": [110.0, 110.0]})
        file["data/xyz"] = table[["x", "y", "z"]].to_numpy(float)
        file["data/frame_ix"] = table["frame"].to_numpy(np.int64)
    (folder / "pandas.yaml").write_text("Frames: 50\nHeight: 64\nWidth: 64\nPixelsize: 110\n", encoding="utf-8")
    names = ("smap.csv", "german.xls", "decode.csv", "rapidstorm.txt", "decode.h5")
    seeds += [Seed(folder / name, both) for name in names]
    seeds.append(Seed(folder / "pandas.h5", both, (folder / "pandas.yaml",)))
    shutil.copy(V1 / "stacks.truth.parquet", folder / "records.parquet")
    return seeds


def _images(folder: Path) -> list[Seed]:
    movie = np.random.default_rng(4).poisson(300, (8, 24, 28)).astype(np.uint16)
    plain = folder / "plain.tif"
    tifffile.imwrite(plain, movie, photometric="minisblack", metadata=None)
    imagej = folder / "imagej.tif"
    tifffile.imwrite(imagej, movie, imagej=True, resolution=(1 / 0.11,) * 2, metadata={"unit": "um", "axes": "ZYX"})
    ome = folder / "movie.ome.tif"
    sizes = {"PhysicalSizeX": 0.11, "PhysicalSizeXUnit": "µm", "PhysicalSizeZ": 0.05, "PhysicalSizeZUnit": "µm"}
    tifffile.imwrite(ome, movie, ome=True, metadata={"axes": "ZYX", **sizes})
    packed = folder / "packed.tif"
    tifffile.imwrite(packed, movie, photometric="minisblack", compression="zlib", metadata=None)
    big = folder / "big.tif"
    tifffile.imwrite(big, movie, photometric="minisblack", bigtiff=True, byteorder=">", metadata=None)
    raw = folder / "movie.raw"
    movie.tofile(raw)
    about = "Byte Order: <\nData Type: uint16\nFrames: 8\nHeight: 24\nWidth: 28\nPixelsize: 110\n"
    raw.with_suffix(".yaml").write_text(about, encoding="utf-8")
    ndtiff = folder / "ndtiff"
    _ndtiff(ndtiff, movie)
    both = ("movie", "stacks")
    return [
        *(Seed(path, (*both, "rois")) for path in (plain, imagej, packed)),
        Seed(ome, both),
        Seed(big, both),
        Seed(raw, both, (raw.with_suffix(".yaml"),)),
        Seed(ndtiff, both),
    ]


def _ndtiff(path: Path, movie: np.ndarray) -> None:
    from ndstorage import NDTiffDataset

    data = NDTiffDataset(str(path), summary_metadata={"PixelSize_um": 0.11}, writable=True)
    for number, frame in enumerate(movie):
        data.put_image({"time": number}, frame, {"PixelSizeUm": 0.11})
    data.finish()
    data.close()


def _stores(folder: Path) -> list[Seed]:
    metadata = RunMetadata(pixel_size_nm=110, width_px=64, height_px=64, frames=50)
    write_table(folder / "today.zarr", _table(), metadata)
    write_bead_set(folder / "beads.zarr", read_bead_set(V1 / "beads.zarr"))
    names = {
        "run.zarr": ("run", "movie", "table", "verify"),
        "run.undrifted.zarr": ("run", "table", "2d", "verify"),
        "stacks.ome.zarr": ("stacks", "verify"),
        "camera.zarr": ("camera", "verify"),
        "model": ("card", "psf", "network", "verify"),
        "scan": ("ledger",),
        "run.records": ("record", "truth"),
    }
    seeds = []
    for name, readers in names.items():
        shutil.copytree(V1 / name, folder / name)
        seeds.append(Seed(folder / name, readers))
    shutil.copy(V1 / "trained_calibration.json", folder / "model" / "calibration.json")
    seeds.append(Seed(folder / "today.zarr", ("run", "table", "truth", "verify")))
    seeds.append(Seed(folder / "beads.zarr", ("beads", "verify")))
    return seeds


def _settings(folder: Path) -> list[Seed]:
    shutil.copy(DEMO_PROFILE, folder / "profile.toml")
    (folder / "plan.toml").write_text(PLAN, encoding="utf-8")
    (folder / "picks.yaml").write_text(PICKS, encoding="utf-8")
    for name, text in POSITIONS.items():
        (folder / name).write_text(text, encoding="utf-8")
    named = ("profile.toml", "plan.toml", "picks.yaml", *POSITIONS)
    return [Seed(folder / f"{kind}", (kind.split(".")[0],)) for kind in named]
