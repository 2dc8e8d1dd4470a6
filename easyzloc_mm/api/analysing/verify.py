"""Whether a stored result is whole."""

from __future__ import annotations

from pathlib import Path

from easyzloc_mm.acquire.scans.results.verify import verify_scan
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.calibration_check import CHECK_FOLDER
from easyzloc_mm.io.verify.beads import verify_arrays, verify_bead_set, verify_bead_stacks
from easyzloc_mm.io.verify.plates import verify_plate
from easyzloc_mm.io.verify.report import Findings, VerifyReport
from easyzloc_mm.io.verify.runs import verify_run
from easyzloc_mm.io.writing.kinds import PARTS, STORES, Kind, kind_of
from easyzloc_mm.model.bundle import verify_bundle

SIGNS = (
    (Kind.RUN, ("localizations", "frames")),
    (Kind.BEAD_STACKS, ("planes",)),
    (Kind.BEAD_SET, ("rois",)),
    (Kind.CAMERA_MAP, ("electrons_per_adu",)),
    (Kind.MODEL, ("model.onnx", "calibration.json")),
)
"""What a result is known by where its own metadata cannot be read."""


def verify(path: str | Path, *, quick: bool = False) -> VerifyReport:
    """Read a result back and say whether it is whole: nothing damaged, nothing missing, nothing left undone.

    Parameters
    ----------
    path : path
        A run, bead stacks, a bead data set, a camera map, an image pyramid, a plate, a model bundle, or the folder of a
        scan, a calibration or a demonstration, with all that is in it.
    quick : bool
        Metadata, counts and which files are there, without decoding every one.

    Raises
    ------
    InputError
        `path` does not exist, or is nothing of this.

    Examples
    --------
    >>> ez.verify("run.zarr").damage
    ()
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist: give a run, bead stacks, a bead data set, a model or a scan")
    kind = kind_of(path) or _by_signs(path)
    if kind is None or kind not in (*STORES, Kind.MODEL, Kind.SCAN, Kind.CALIBRATION, Kind.DEMO):
        raise InputError(
            f"{path} is {f'a {kind}, which has no checksums' if kind else 'no result that easyzloc_mm wrote'}: give a "
            "run, bead stacks, a bead data set, a model, or the folder of a scan or a calibration"
        )
    if kind is Kind.RUN:
        return verify_run(path, quick=quick)
    if kind is Kind.BEAD_STACKS:
        return verify_bead_stacks(path, quick=quick)
    if kind is Kind.BEAD_SET:
        return verify_bead_set(path, quick=quick)
    if kind is Kind.PLATE:
        return verify_plate(path, quick=quick)
    if kind in STORES:
        return verify_arrays(path, kind, quick=quick)
    if kind is Kind.MODEL:
        return verify_bundle(path, quick=quick)
    if kind is Kind.SCAN:
        return verify_scan(path, quick=quick)
    return _verify_parts(path, kind, quick)


def _by_signs(path: Path) -> Kind | None:
    for kind, names in SIGNS:
        if any((path / name).exists() for name in names):
            return kind
    return None


def _verify_parts(path: Path, kind: Kind, quick: bool) -> VerifyReport:
    findings = Findings(path, quick)
    checked = [part for part in PARTS[kind] if part in (*STORES, Kind.MODEL, Kind.CALIBRATION)]
    found = set()
    for entry in sorted(path.iterdir()):
        part = kind_of(entry) or (_by_signs(entry) if entry.is_dir() else None)
        if part in checked and not entry.name.startswith("."):
            findings.include(verify(entry, quick=quick))
            found.add(part)
    only_stacks = kind is Kind.CALIBRATION and (path / CHECK_FOLDER).is_dir()  # of `calibrate --check`
    for part in (Kind.BEAD_STACKS,) if only_stacks else checked:
        if part not in found:
            findings.incomplete(f"it holds no {part}")
    return findings.report(kind)
