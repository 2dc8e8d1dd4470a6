"""Whether a ``RUN.zarr`` is whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.runs import drift, frames
from easyzloc_mm.io.runs.frames import StoredFrames
from easyzloc_mm.io.runs.localizations import FACTS, GROUP, read_localizations
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.io.runs.status import FILE as STATUS
from easyzloc_mm.io.verify.arrays import check_array, check_node, check_nodes, read_array
from easyzloc_mm.io.verify.report import Findings, VerifyReport
from easyzloc_mm.io.writing.kinds import Kind

Attributes = Mapping[str, Any]


def verify_run(path: Path, *, quick: bool = False) -> VerifyReport:
    """Read a run back: table, raw frames and drift, their counts, and what the metadata says of them."""
    findings = Findings(path, quick)
    check_nodes(findings, (GROUP, frames.GROUP, drift.GROUP))
    stored = _attributes(path).get(FACTS)
    metadata = None
    if stored is not None:
        try:
            metadata = RunMetadata.from_stored(stored, path)
        except InputError as error:
            findings.damage("metadata", str(error))
    if (path / GROUP).is_dir():
        _check_table(findings, metadata)
    elif metadata is not None:
        findings.damage(GROUP, "is missing")
    if (path / frames.GROUP).is_dir():
        _check_frames(findings, metadata)
    elif metadata is not None and metadata.frames_stored and (path / STATUS).is_file():
        # What is derived from a run keeps its metadata, and has neither frames nor status.
        findings.damage(frames.GROUP, f"is missing, with {metadata.frames_stored} raw frames")
    if (path / drift.GROUP).is_dir():
        _check_drift(findings)
    if metadata is None:
        findings.incomplete("it was cut off before its first row")
    elif metadata.complete is False:
        findings.incomplete(_how_far(path, metadata))
    return findings.report(Kind.RUN)


def _attributes(node: Path) -> Attributes:
    """Attributes of a node; none where `check_nodes` has found that it cannot be read."""
    content = check_node(Findings(node, True), node) or {}
    attributes = content.get("attributes", {})
    return attributes if isinstance(attributes, Mapping) else {}


def _how_far(path: Path, metadata: RunMetadata) -> str:
    if metadata.frames:
        return f"{metadata.frames_localized} of {metadata.frames + metadata.frames_lost} frames are localised"
    done = _attributes(path / GROUP).get("frames_committed", 0)
    return f"it was cut off, {done} frames are localised"


def _check_table(findings: Findings, metadata: RunMetadata | None) -> None:
    node = findings.path / GROUP
    attributes = _attributes(node)
    try:
        rows, columns = int(attributes["n_committed"]), list(attributes["columns"])
    except (KeyError, TypeError, ValueError):
        findings.damage(node / "zarr.json", "does not say how many rows there are")
        return
    for name in columns:
        check_array(findings, node / name, extent=rows, all_there=True)
    findings.counts["rows"] = rows
    for folder in sorted(entry.name for entry in node.iterdir() if entry.is_dir()):
        if folder not in columns and columns:
            findings.damage(node / folder, "is no column of the table")
    if findings.quick:
        return
    try:
        table, _ = read_localizations(findings.path)
    except InputError as error:
        if not findings.damaged:  # else it was named above
            findings.damage(node, f"cannot be read: {error}")
        return
    for name, values in table.items():
        if values.dtype.kind == "f" and not np.isfinite(values.to_numpy()).all():
            findings.damage(node / str(name), "has values that are not finite")
    numbers = table["frame"].to_numpy() if "frame" in table else np.empty(0)
    # Rows that come frame by frame; those of other programs, and what scripts store, have an order of their own.
    in_order = attributes.get("frames_committed") and metadata is not None and metadata.table is None
    if in_order and len(numbers) > 1 and (numbers[1:] < numbers[:-1]).any():
        findings.damage(node / "frame", "does not rise")
    known = 0 if metadata is None else metadata.frames + metadata.frames_lost
    if known and len(numbers) and int(numbers.max()) >= known:
        findings.damage(node / "frame", f"goes up to {int(numbers.max())} in a run of {known} frames")


def _check_frames(findings: Findings, metadata: RunMetadata | None) -> None:
    node = findings.path / frames.GROUP
    attributes = _attributes(node)
    try:
        committed, missing = int(attributes["n_committed"]), {int(number) for number in attributes["frames_missing"]}
        lost = int(attributes.get("frames_missing_count", len(missing)))
        stored = StoredFrames(findings.path)
    except (KeyError, TypeError, ValueError):
        findings.damage(node / "zarr.json", "does not say how many frames there are")
        return
    except InputError as error:
        findings.damage(node, f"cannot be opened ({error})")
        return
    # More missing frames than are named: which of them were lost and which are gone, is not known any more.
    all_named = lost == len(missing)
    check_array(findings, node / "0", extent=committed, all_there=all_named, skipped=missing)
    gone = len([number for number in stored.missing if number < committed])
    if not all_named and gone != lost:
        findings.damage(node, f"lacks {gone} frames, where {lost} were lost")
    findings.counts["frames"] = stored.shape[0] - len(stored.missing)
    findings.counts["frames_lost"] = len(stored.missing)
    if metadata is not None and findings.counts["frames"] < metadata.frames_stored:
        findings.damage(node, f"holds {findings.counts['frames']} frames, where {metadata.frames_stored} were stored")
    if stored.shape[0] > committed:
        findings.incomplete(f"{stored.shape[0] - committed} frames were written after the last commit")


def _check_drift(findings: Findings) -> None:
    node = findings.path / drift.GROUP
    lengths = set()
    for name in drift.COLUMNS:
        check_array(findings, node / name)
        values = read_array(node / name)
        if values is not None:
            lengths.add(len(values))
        elif not findings.damaged:
            findings.damage(node / name, "cannot be read")
    if len(lengths) > 1:
        findings.damage(node, "has columns of unlike lengths")
