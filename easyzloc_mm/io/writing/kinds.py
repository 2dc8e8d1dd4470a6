"""What a file or folder is, judged by its content: only our own results may ever be replaced."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

from easyzloc_mm._log import FILE as LOG


class Kind(StrEnum):
    """Results that commands write; the value is what a person reads."""

    RUN = "run"
    BEAD_STACKS = "bead stacks"
    BEAD_SET = "bead data set"
    CAMERA_MAP = "camera map"
    PYRAMID = "image pyramid"
    PLATE = "plate"
    MODEL = "model bundle"
    REPORT = "report"
    PORES = "pore analysis"
    CALIBRATION = "calibration"
    SCAN = "scan"
    DEMO = "demonstration"
    RECORDS = "ground truth"
    PICTURE = "picture"
    TABLE = "localisation table"
    PROFILE = "profile"
    ARCHIVE = "archive"


STORES = (Kind.RUN, Kind.BEAD_STACKS, Kind.BEAD_SET, Kind.CAMERA_MAP, Kind.PYRAMID, Kind.PLATE)
SAMPLE_PICTURE = "sample.png"
"""In a run: its molecules beside the beads' PSF."""
BESIDE_ARRAYS = {"zarr.json", "status.json", SAMPLE_PICTURE, LOG}
"""Files of a store that are no chunks."""
DIGESTS = "digests.json"
"""SHA-256 of the other files of a model bundle."""
PSF_FILES = {"psf.npz", "psf_wider.npz", "blur.npz"}
MODEL_FILES = {"model.onnx", "model.keras", "calibration.json", "passport.json", DIGESTS, LOG} | PSF_FILES
REPORT_ENDINGS = {".png", ".svg", ".pdf", ".html", ".json"}
PORE_FILES = {"pores.csv", "bandwidths.csv"}
PORE_ENDINGS = {".png", ".csv", ".json"}
PARTS = {
    Kind.CALIBRATION: (Kind.BEAD_STACKS, Kind.BEAD_SET, Kind.REPORT, Kind.MODEL),
    Kind.SCAN: (Kind.RUN, Kind.RECORDS, Kind.PLATE, Kind.REPORT),
    Kind.DEMO: (Kind.CALIBRATION, Kind.RUN, Kind.RECORDS, Kind.REPORT, Kind.PORES, Kind.TABLE, Kind.PICTURE),
}
"""Kinds that a folder of several results is made of."""
LEDGER = "scan.json"
PARTNERS = {".hdf5": ".yaml"}
"""A second file that belongs to a table, by the ending of the first."""
SIGNATURES = {
    ".gif": (b"GIF8",),
    ".tif": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    ".mp4": (b"ftyp",),
    ".zip": (b"PK",),
    ".parquet": (b"PAR1",),
    ".hdf5": (b"\x89HDF",),
}
SIGNATURE_AT = {".mp4": 4}
SIGNATURES[".tiff"] = SIGNATURES[".tif"]
ENDINGS = {
    **dict.fromkeys((".png", ".svg", ".pdf", ".gif", ".mp4", ".tif", ".tiff"), Kind.PICTURE),
    **dict.fromkeys((".hdf5", ".csv", ".parquet"), Kind.TABLE),
    ".yaml": Kind.TABLE,
    ".toml": Kind.PROFILE,
    ".zip": Kind.ARCHIVE,
}
MARK = b"easyzloc"
"""Stands in every file that we write in a format which others write too."""
HEAD_BYTES, TAIL_BYTES = 1 << 16, 1 << 16
DRAFT = re.compile(r"\..+\.[0-9a-f]{8}")
"""Names of drafts that a killed process left."""


def kind_of(path: Path) -> Kind | None:
    """Return what stands at `path`, or None where it is nothing that easyzloc_mm makes."""
    if path.is_file():
        return _kind_of_file(path)
    if not path.is_dir():
        return None
    for kind, there in (
        (_kind_of_store(path), (path / "zarr.json").is_file()),
        (Kind.MODEL, (path / "calibration.json").is_file() and (path / "model.onnx").is_file()),
        (Kind.SCAN, (path / LEDGER).is_file()),
        (Kind.REPORT, (path / "index.html").is_file()),
        (Kind.PORES, any((path / name).is_file() for name in PORE_FILES)),
        (Kind.DEMO, (path / "calibration").is_dir() and (path / "run.zarr").is_dir()),
        (Kind.CALIBRATION, (path / "stacks.ome.zarr").is_dir()),
        (Kind.RECORDS, path.suffix == ".records"),
    ):
        if there:
            return kind
    return None


def misnamed(path: Path, kind: Kind) -> str:
    """Return what a name that ends like another kind of result should end on; empty where it is well named."""
    ending = path.suffix.lower()
    if kind in STORES:
        return ".zarr" if ending in ENDINGS else ""
    if kind not in ENDINGS.values():  # a folder of several files
        return "a name without an ending" if ending in ENDINGS or ending == ".zarr" else ""
    return next(known for known, of in ENDINGS.items() if of is kind) if ending == ".zarr" else ""


def did_you_mean(path: Path, kind: Kind) -> str:
    """Return "; did you mean PATH?" where a result of that kind lies in a folder, or in one below; else nothing."""
    if not path.is_dir() or kind_of(path) in STORES:
        return ""
    below = [entry for entry in sorted(path.iterdir()) if entry.is_dir() and not DRAFT.fullmatch(entry.name)]
    deeper = [entry for one in below if kind_of(one) not in STORES for entry in sorted(one.iterdir()) if entry.is_dir()]
    found = [entry for entry in (*below, *deeper) if kind_of(entry) is kind]
    return f"; did you mean {found[0]}?" if found else ""


def kind_of_image(path: Path) -> Kind:
    """Return what an image of that name is: a pyramid, or a single file."""
    return Kind.PYRAMID if path.suffix.lower() == ".zarr" else Kind.PICTURE


def kind_of_table(path: Path) -> Kind:
    """Return what a localisation table of that name is: a run, or a file of another program's format."""
    return Kind.RUN if path.suffix.lower() == ".zarr" else Kind.TABLE


def foreign(path: Path, kind: Kind) -> Path | None:
    """Return the first file below `path` that is no part of a result of that kind; None where there is none."""
    if path.is_file():
        return None if kind_of(path) is kind else path
    if kind in STORES:
        return next((file for file in _files(path) if not _belongs_to_store(file.relative_to(path))), None)
    if kind in PARTS:
        return _foreign_in_parts(path, PARTS[kind])
    for file in _files(path):
        inside = file.relative_to(path)
        if kind is Kind.MODEL:
            known = str(inside) in MODEL_FILES or (inside.parts[0] == "report" and file.suffix in REPORT_ENDINGS)
        elif kind is Kind.RECORDS:
            known = file.suffix == ".parquet"
        else:
            known = len(inside.parts) == 1 and file.suffix in (PORE_ENDINGS if kind is Kind.PORES else REPORT_ENDINGS)
        if not known:
            return file
    return None


def holds_raw_frames(path: Path) -> bool:
    """Whether a store holds frames as a camera gave them, which no computation brings back."""
    return (path / "frames" / "zarr.json").is_file()


def _foreign_in_parts(path: Path, parts: tuple[Kind, ...]) -> Path | None:
    partners = {entry.with_suffix(PARTNERS[entry.suffix]) for entry in path.iterdir() if entry.suffix in PARTNERS}
    for entry in sorted(path.iterdir()):
        if entry.name in (LOG, LEDGER) or entry in partners or DRAFT.fullmatch(entry.name):
            continue
        kind = kind_of(entry)
        if kind is None and entry.is_dir() and not any(entry.iterdir()):
            continue
        if kind not in parts:
            return entry
        inside = foreign(entry, kind)
        if inside is not None:
            return inside
    return None


def _kind_of_store(path: Path) -> Kind | None:
    try:
        attributes: Any = json.loads((path / "zarr.json").read_text(encoding="utf-8")).get("attributes", {})
    except (OSError, ValueError, AttributeError):
        return None
    stored = attributes.get("easyzloc", {})
    name = stored.get("kind") if isinstance(stored, dict) else None
    if name in STORES:
        return Kind(name)
    # A live run that was cut off before its first row has frames only.
    if name is None and holds_raw_frames(path):
        return Kind.RUN
    return None


def _kind_of_file(path: Path) -> Kind | None:
    ending = path.suffix.lower()
    kind = ENDINGS.get(ending)
    if kind is None:
        return None
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        return kind
    return kind if _ours(path, ending, head) else None


def _ours(path: Path, ending: str, head: bytes) -> bool:
    """Whether a file is what we write under that ending."""
    if ending == ".png":  # matplotlib names itself in the file, and so do we
        return head.startswith(b"\x89PNG") and (MARK in head or b"Matplotlib" in head)
    if ending in (".svg", ".pdf"):
        return b"Matplotlib" in head + _tail(path)
    if ending == ".csv":  # ThunderSTORM's columns, and one of ours
        first = head.split(b"\n", 1)[0]
        return b"x [nm]" in first and (b"z_flag" in first or b"net_gradient" in first)
    if ending == ".yaml":
        return MARK in head
    if ending == ".toml":
        return b"[connection]" in path.read_bytes()
    if ending == ".hdf5":
        partner = path.with_suffix(PARTNERS[ending])
        ours = partner.is_file() and MARK in partner.read_bytes()
        return head.startswith(SIGNATURES[ending]) and ours
    return head[SIGNATURE_AT.get(ending, 0) :].startswith(SIGNATURES[ending]) and MARK in head + _tail(path)


def _tail(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        return file.read()


def _belongs_to_store(inside: Path) -> bool:
    """Whether a file is metadata, or a chunk under its key: ``NAME/c/0/1``."""
    if inside.name == "zarr.json" or (len(inside.parts) == 1 and inside.name in BESIDE_ARRAYS):
        return True
    if "c" not in inside.parts:
        return False
    key = inside.parts[inside.parts.index("c") + 1 :]
    return all(part.isdigit() for part in key)


def _files(folder: Path) -> Iterator[Path]:
    """All files below, links not followed; a link is a file. Drafts of a killed process are left out."""
    for entry in folder.iterdir():
        if DRAFT.fullmatch(entry.name):
            continue
        if entry.is_dir() and not entry.is_symlink():
            yield from _files(entry)
        else:
            yield entry
