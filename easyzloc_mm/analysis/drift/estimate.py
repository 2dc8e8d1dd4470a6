"""How the sample moved during a run: which way of finding out to trust, and taking it out of the table."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from easyzloc_mm.analysis.drift.fiducials import Markers, find_markers, marker_path
from easyzloc_mm.analysis.drift.overlap import knot_count, overlap_path, sharpness
from easyzloc_mm.analysis.drift.published import aim_path, paper_z_path, rcc_path
from easyzloc_mm.errors import InputError
from easyzloc_mm.locs.table import UNKNOWN_LATERAL_NM, UNKNOWN_LPZ_TIMES
from easyzloc_mm.typing import F64

METHODS_XY = ("auto", "fiducials", "rcc", "aim", "overlap", "none")
METHODS_Z = ("auto", "fiducials", "paper", "aim", "overlap", "none")
ENOUGH_MARKERS = 2
"""One marker can move on its own, and nobody would know."""


@dataclass(frozen=True)
class Drift:
    """Displacement of the sample in every frame, against its mean over the run.

    Attributes
    ----------
    table : DataFrame
        ``frame``; ``x``, ``y`` (px); ``z`` (nm).
    method_xy, method_z : str
        What was done, in words, for people.
    reason_xy, reason_z : str
        Why that.
    others : dict of str to ndarray
        Paths (nm) that were found but not taken: name to (frames, axes).
    sharpness : dict of str to float
        Of the table by each way that was tried (`drift_overlap.sharpness`); ``"none"`` is the table as it was.
    markers : int
        Fiducial markers in use.
    """

    table: pd.DataFrame
    method_xy: str
    method_z: str
    reason_xy: str = ""
    reason_z: str = ""
    others: dict[str, F64] = field(default_factory=dict)
    sharpness: dict[str, float] = field(default_factory=dict)
    markers: int = 0


def estimate_drift(
    table: pd.DataFrame,
    frames: int,
    shape_yx: tuple[int, int],
    pixel_size_nm: float,
    *,
    method_xy: str = "auto",
    method_z: str = "auto",
    fiducials: F64 | None = None,
) -> Drift:
    """Estimate drift from markers or from the structure itself.

    Parameters
    ----------
    table : DataFrame
        Localisations; those with a `z_flag` take no part in z.
    frames : int
        Frames of the run.
    shape_yx : (int, int)
        Height and width of a frame, pixels.
    pixel_size_nm : float
    method_xy : str
        One of `METHODS_XY`. ``auto`` takes markers where at least two agree, otherwise the way that makes the table
        sharpest, and none where none makes it sharper.
    method_z : str
        One of `METHODS_Z`; likewise.
    fiducials : ndarray, shape (n, 2), optional
        Middles (px) of markers that a person chose.

    Raises
    ------
    InputError
        The method is unknown, or cannot work on this table (``auto`` always can).
    """
    for name, method, known in (("`method`", method_xy, METHODS_XY), ("`z_method`", method_z, METHODS_Z)):
        if method not in known:
            raise InputError(f"{name} {method} is unknown: use {', '.join(known)}")
    work = _Work(table, frames, shape_yx, float(pixel_size_nm), fiducials)
    xy, said_xy, reason_xy = _lateral(work, method_xy)
    z, said_z, reason_z = _axial(work, method_z, xy)
    path = np.zeros((frames, 3))
    path[:, :2] = xy / work.pixel_size_nm
    path[:, 2] = z
    result = pd.DataFrame({"frame": np.arange(frames), **{axis: path[:, number] for number, axis in enumerate("xyz")}})
    return Drift(result, said_xy, said_z, reason_xy, reason_z, work.others, work.sharp, work.agreeing["xy"])


def apply_drift(table: pd.DataFrame, drift: pd.DataFrame) -> pd.DataFrame:
    """Subtract the drift of each localisation's frame; positions keep their mean."""
    return _moved(table, drift, -1.0)


def undo_drift(table: pd.DataFrame, drift: pd.DataFrame) -> pd.DataFrame:
    """Add the drift back that `apply_drift` took out."""
    return _moved(table, drift, 1.0)


def _moved(table: pd.DataFrame, drift: pd.DataFrame, sign: float) -> pd.DataFrame:
    moved = table.copy()
    number = table["frame"].to_numpy(np.int64)
    for axis in [name for name in "xyz" if name in table]:
        shift = drift[axis].to_numpy(np.float64)[number]
        moved[axis] = (table[axis].to_numpy(float) + sign * shift).astype(table[axis].dtype)
    return moved


class _Work:
    """What the ways of finding drift share: believable localisations in nm, markers, the structure's own answer."""

    def __init__(
        self, table: pd.DataFrame, frames: int, shape_yx: tuple[int, int], pixel_size_nm: float, fiducials: F64 | None
    ) -> None:
        self.table, self.frames, self.shape_yx, self.pixel_size_nm = table, frames, shape_yx, pixel_size_nm
        self.others: dict[str, F64] = {}
        self.sharp: dict[str, float] = {}
        self.agreeing = {"xy": 0, "z": 0}
        self.chosen = fiducials
        self.markers: Markers = find_markers(table, frames, pixel_size_nm, fiducials)
        # Markers are not structure: their many localisations at one place would outvote everything else.
        taken = [index for track in self.markers.tracks for index in track.index]
        structure = table.drop(index=taken)
        self.has_z = "z" in table
        believed = structure["z_flag"] == 0 if "z_flag" in structure else pd.Series(True, structure.index)
        self.structure = structure
        self.solid = structure[believed]

    def place(self, table: pd.DataFrame, axes: int) -> tuple[F64, F64]:
        """Positions and uncertainties, nm."""
        columns = [table[axis].to_numpy(float) * self.pixel_size_nm for axis in "xy"]
        lateral = [
            table[f"lp{axis}"].to_numpy(float) * self.pixel_size_nm
            if f"lp{axis}" in table
            else np.full(len(table), UNKNOWN_LATERAL_NM)
            for axis in "xy"
        ]
        if axes == 3:
            columns.append(table["z"].to_numpy(float))
            known = "lpz" in table
            lateral.append(table["lpz"].to_numpy(float) if known else UNKNOWN_LPZ_TIMES * (lateral[0] + lateral[1]) / 2)
        return np.stack(columns, 1), np.maximum(np.stack(lateral, 1), 1.0)

    def measure(self, name: str, path: F64) -> float:
        """Sharpness of the believable structure once `path` (nm) is taken out."""
        part = self.solid if path.shape[1] == 3 else self.structure
        place, sigma = self.place(part, path.shape[1])
        value = sharpness(place, sigma, part["frame"].to_numpy(np.int64), self.frames, path)
        self.sharp[name] = value
        return value

    def overlap(self, start: F64, *, axes: int, depth_known: bool) -> F64 | None:
        part = self.solid if axes == 3 else self.structure
        place, sigma = self.place(part, axes)
        return overlap_path(place, sigma, part["frame"].to_numpy(np.int64), self.frames, start, depth_known=depth_known)


def _lateral(work: _Work, method: str) -> tuple[F64, str, str]:
    still = np.zeros((work.frames, 2))
    if method == "none":
        return still, "not corrected", "as asked"
    found, said, settled, fault = _by_markers(work, "xy", method)
    if found is not None and settled:
        return found, said, settled
    if method == "fiducials":
        raise InputError(f"no drift by fiducials: {_why_not(work, fault)}")
    ways: dict[str, tuple[F64, str]] = {}
    faults: dict[str, str] = {}
    path, said = (
        rcc_path(work.structure, work.frames, work.shape_yx, work.pixel_size_nm) if method != "aim" else (None, "")
    )
    if path is not None:
        ways["rcc"] = path, said
    faults["rcc"] = said
    if method in ("auto", "aim"):
        flat = work.structure.drop(columns=[name for name in ("z", "lpz") if name in work.structure])
        path, said = aim_path(flat, work.frames, work.shape_yx, work.pixel_size_nm)
        if path is not None:
            ways["aim"] = path, said
        faults["aim"] = said
    if method in ("auto", "overlap"):
        # It climbs the nearest hill, and a start that looks best need not stand below the highest.
        starts = {name: path for name, (path, _) in ways.items()} or {"none": still}
        climbed = {name: work.overlap(start, axes=2, depth_known=True) for name, start in starts.items()}
        tops = {name: path for name, path in climbed.items() if path is not None}
        if tops:
            best = max(tops, key=lambda name: work.measure(f"xy overlap from {name}", tops[name]))
            begun = {"none": "", "rcc": " after cross-correlation", "aim": " after AIM"}[best]
            said = f"greatest overlap of {knot_count(len(work.structure), work.frames)} times{begun}"
            ways["overlap"] = tops[best], said
        faults["overlap"] = "too few localisations that come back to the same place"
    if method != "auto":
        if method not in ways:
            raise InputError(f"no drift by {method}: {faults[method]}; use `method` auto or none")
        return *ways[method], "as asked"
    if found is not None:
        ways["fiducials"] = found, "one fiducial marker"
    return _sharpest(work, "xy", still, ways)


def _axial(work: _Work, method: str, xy: F64) -> tuple[F64, str, str]:
    still = np.zeros(work.frames)
    if not work.has_z:
        return still, "not corrected: the table is 2D", "it has no column z"
    if method == "none":
        return still, "not corrected", "as asked"
    found, said, settled, fault = _by_markers(work, "z", method)
    if found is not None and settled:
        return found[:, 0], said, settled
    if method == "fiducials":
        raise InputError(f"no drift in z by fiducials: {_why_not(work, fault)}; use `z_method` auto")
    ways: dict[str, tuple[F64, str]] = {}
    faults: dict[str, str] = {}

    def whole(z: F64) -> F64:
        return np.column_stack([xy, z])

    if method in ("auto", "paper", "overlap"):
        path, said = paper_z_path(work.solid, work.frames)
        if path is not None:
            ways["paper"] = whole(path), said
        faults["paper"] = said
    if method in ("auto", "aim"):
        path, said = aim_path(_shifted(work, xy), work.frames, work.shape_yx, work.pixel_size_nm)
        if path is not None:
            ways["aim"] = whole(path[:, 2]), said
        faults["aim"] = said
    if method in ("auto", "overlap"):
        path = work.overlap(whole(still), axes=3, depth_known=False)
        if path is not None:
            said = f"greatest overlap of {knot_count(len(work.solid), work.frames)} times in 3D"
            ways["overlap"] = whole(path[:, 2]), said
        faults["overlap"] = "too few localisations that come back to the same place"
    if method != "auto":
        if method not in ways:
            raise InputError(f"no drift in z by {method}: {faults[method]}; use `z_method` auto or none")
        path, said = ways[method]
        return path[:, 2], said, "as asked"
    if found is not None:
        ways["fiducials"] = whole(found[:, 0]), "one fiducial marker"
    best, said, reason = _sharpest(work, "z", whole(still), ways)
    return best[:, 2], said, reason


def _shifted(work: _Work, xy: F64) -> pd.DataFrame:
    number = work.solid["frame"].to_numpy(np.int64)
    moved = {axis: work.solid[axis].to_numpy(float) - xy[number, k] / work.pixel_size_nm for k, axis in enumerate("xy")}
    return work.solid.assign(**moved)


def _sharpest(work: _Work, axes: str, still: F64, ways: dict[str, tuple[F64, str]]) -> tuple[F64, str, str]:
    """Of several paths the one that makes the structure sharpest; none if none does better than nothing."""
    if not ways:
        return still, "not corrected: too few frames or localisations", "no way could be tried"
    none = work.measure(f"{axes} none", still)
    values = {name: work.measure(f"{axes} {name}", path) for name, (path, _) in ways.items()}
    best = max(values, key=values.__getitem__)
    for name, (path, _) in ways.items():
        if name != best:
            work.others[f"{axes} {name}"] = path if axes == "xy" else path[:, 2:]
    if values[best] <= none:
        return still, "not corrected", "no way of finding drift makes the table sharper"
    told = ", ".join(f"{name} {value / max(none, 1e-12):.3f}" for name, value in values.items())
    path, said = ways[best]
    return path, said, f"sharpest of what was tried (1 = uncorrected): {told}"


def _by_markers(work: _Work, axes: str, method: str) -> tuple[F64 | None, str, str, str]:
    """Ask the markers, if they are to speak: path, what was done, why that settles it (or nothing), what was wrong."""
    if method not in ("auto", "fiducials"):
        return None, "", "", ""
    found, said, fault = _marked(work, axes)
    if method == "fiducials":
        return found, said, "as asked", fault
    enough = work.agreeing[axes] >= ENOUGH_MARKERS or work.chosen is not None
    return found, said, f"markers were found, and they agree{fault}" if enough else "", fault


def _marked(work: _Work, axes: str) -> tuple[F64 | None, str, str]:
    """Ask the markers for x and y, or for z: path, what was done, what was wrong."""
    paths, used, faults = [], [], []
    for axis in axes:
        scale = 1.0 if axis == "z" else work.pixel_size_nm
        path, agreeing, fault = marker_path(work.markers, work.frames, axis, scale)
        used.append(agreeing)
        if fault:
            faults.append(fault)
        if path is None:
            work.agreeing[axes] = 0
            return None, "", f"; {faults[-1]}" if faults else ""
        paths.append(path)
    count = work.agreeing[axes] = min(used)
    origin = "chosen" if work.chosen is not None else "found"
    said = f"{count} fiducial marker{'s' if count != 1 else ''} ({origin}), smoothing spline"
    return np.stack(paths, 1), said, f"; {faults[0]}" if faults else ""


def _why_not(work: _Work, fault: str) -> str:
    if fault.strip("; ") and work.markers.tracks:
        return fault.strip("; ")
    told = ", ".join(f"{count} {reason}" for reason, count in work.markers.rejected.items())
    return f"no marker was found{f' ({told})' if told else ''}; name them with `fiducials`"
