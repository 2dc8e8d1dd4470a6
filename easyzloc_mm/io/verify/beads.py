"""Whether bead stacks, a bead data set, a camera map or an image pyramid are whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from easyzloc_mm.camera.response import MAPS
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.dataset import ARRAYS, IDENTITY, LATER_ARRAYS, read_bead_set
from easyzloc_mm.io.beads.metadata import BeadSetMetadata, BeadStackMetadata
from easyzloc_mm.io.beads.stack import NUMBERS
from easyzloc_mm.io.verify.arrays import check_array, check_nodes, read_array
from easyzloc_mm.io.verify.report import Findings, VerifyReport
from easyzloc_mm.io.writing.kinds import Kind
from easyzloc_mm.io.zarr.chunks import read_node
from easyzloc_mm.io.zarr.ome import numbered_images


def verify_bead_stacks(path: Path, *, quick: bool = False) -> VerifyReport:
    """Read bead stacks back: every complete plane and its stage readings."""
    findings = Findings(path, quick)
    names = numbered_images(path)
    check_nodes(findings, ("OME", "planes", *names))
    metadata = _metadata(findings, BeadStackMetadata)
    try:
        listed = list(read_node(path / "OME")["attributes"]["ome"]["series"])
    except (OSError, ValueError, KeyError, TypeError):
        listed = names
        findings.damage("OME", "does not list the stacks")
    for name in sorted({*names, *listed}, key=str):
        if name not in listed:
            findings.incomplete(f"stack {name} was cut off when it began")
        elif not (path / "planes" / name / "zarr.json").is_file():
            findings.damage(f"planes/{name}", "is missing")
        else:
            _check_stack(findings, name, metadata)
    findings.counts["stacks"] = len(listed)
    return findings.report(Kind.BEAD_STACKS)


def _check_stack(findings: Findings, name: str, metadata: BeadStackMetadata | None) -> None:
    readings = findings.path / "planes" / name
    check_array(findings, readings, all_there=False)
    rows = read_array(readings)
    if rows is None or rows.ndim != 2 or rows.shape[1] != len(NUMBERS) + 1:
        findings.damage(readings, "cannot be read")
        return
    there = np.isfinite(rows[:, -1])
    complete = int(np.argmin(np.append(there, False)))
    if there[complete:].any():
        findings.damage(readings / "c" / str(complete) / "0", "is missing, the readings of a plane before others")
    if not np.isfinite(rows[:complete]).all():
        findings.damage(readings, "holds readings that are not finite")
    z_um = rows[:complete, NUMBERS.index("requested_z_um")]
    if len(z_um) > 1 and (np.diff(z_um) <= 0).any():
        findings.damage(readings, "holds planes that do not rise")
    check_array(findings, findings.path / name / "0", extent=complete, all_there=True)
    findings.counts["planes"] += complete
    planned = None if metadata is None else metadata.planned_planes
    if planned and complete < planned:
        findings.incomplete(f"stack {name} has {complete} of {planned} planes")


def verify_bead_set(path: Path, *, quick: bool = False) -> VerifyReport:
    """Read a bead data set back: every ROI, label and measure."""
    findings = Findings(path, quick)
    metadata = _metadata(findings, BeadSetMetadata)
    earlier = {new: old for old, new in BeadSetMetadata.RENAMED_ARRAYS.items()}
    there = {entry.name for entry in path.iterdir() if entry.is_dir()}
    names = [name if name in there else earlier.get(name, name) for name in (*ARRAYS, *LATER_ARRAYS, IDENTITY)]
    expected = [name for name in names if name in there or name in ARRAYS]
    check_nodes(findings, (*expected, "measures"))
    measures = () if metadata is None else metadata.measures
    for name in (*expected, *(f"measures/{column}" for column in measures)):
        check_array(findings, path / name, all_there=True if name == "rois" else None)
    if not findings.quick:
        try:
            beads = read_bead_set(path)
        except InputError as error:
            if not findings.damaged:  # else it was named above
                findings.damage("data set", f"cannot be read: {error}")
        else:
            findings.counts["beads"] = len(beads)
            arrays = [getattr(beads, name) for name in (*ARRAYS, *LATER_ARRAYS, IDENTITY)]
            if {len(values) for values in (*arrays, beads.reason, beads.measures)} - {len(beads)}:
                findings.damage("data set", "has arrays of unlike lengths")
    return findings.report(Kind.BEAD_SET)


def verify_arrays(path: Path, kind: Kind, *, quick: bool = False) -> VerifyReport:
    """Read a camera map or an image pyramid back: every array of its root."""
    findings = Findings(path, quick)
    there = sorted(entry.name for entry in path.iterdir() if entry.is_dir())
    names = list(MAPS) if kind is Kind.CAMERA_MAP else there
    check_nodes(findings, names)
    for name in names:
        check_array(findings, path / name)
    return findings.report(kind)


def _metadata(findings: Findings, model: Any) -> Any:
    """Metadata of a store; None where it cannot be read, which is noted."""
    try:
        stored = read_node(findings.path)["attributes"]["easyzloc"]
        if not isinstance(stored, Mapping):
            raise TypeError("no mapping")
        return model.from_stored(stored, findings.path)
    except InputError as error:
        findings.damage("metadata", str(error))
    except (OSError, ValueError, KeyError, TypeError) as error:
        findings.damage("zarr.json", f"holds no metadata ({error})")
    return None
