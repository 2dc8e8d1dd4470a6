"""Drift of the sample during a run: candidate paths by every method, and the choice between them.

References
----------
.. [1] Y. Wang et al., "Localization events-based sample drift correction for localization microscopy with redundant
   cross-correlation algorithm", Optics Express 22 (2014) 15982, doi:10.1364/OE.22.015982.
.. [2] H. Ma et al., "Toward drift-free high-throughput nanoscopy through adaptive intersection maximization", Science
   Advances 10 (2024) eadm7765, doi:10.1126/sciadv.adm7765.
.. [3] J. Cnossen et al., "Drift correction in localization microscopy using entropy minimization", Optics Express 29
   (2021) 27961, doi:10.1364/OE.426620.
"""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd

from easyzloc_mm._progress import silent
from easyzloc_mm.analysis.drift.fiducials import Markers, find_markers, marker_path, parse_fiducials
from easyzloc_mm.analysis.drift.overlap import knot_count, overlap_path, sharpness
from easyzloc_mm.analysis.drift.published import aim_path, paper_z_path, rcc_path
from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.runs.drift import Drift, DriftRecord, RejectedPath
from easyzloc_mm.locs.locs import Locs
from easyzloc_mm.locs.table import UNKNOWN_LATERAL_NM, UNKNOWN_LPZ_TIMES
from easyzloc_mm.typing import F64, Progress

METHODS_XY = ("auto", "fiducials", "rcc", "aim", "overlap", "none")
METHODS_Z = ("auto", "fiducials", "paper", "aim", "overlap", "none")
ENOUGH_MARKERS = 2
"""One marker alone can move on its own without being noticed."""
TOO_FEW = "not corrected: too few frames or localisations"
MANY_FRAMES, FRAMES_PER_ROW = 1_000_000, 1000
"""A run that is longer, with fewer localisations than one in so many frames, has frame numbers that are mistakes."""
LATE_PART = 0.05
"""Of the run, before the first localisation: frames are counted from that one then."""
PLOTTED_POINTS = 400
"""Of every path that was not applied."""


def estimate(
    locs: Locs,
    *,
    method_xy: str = "auto",
    method_z: str = "auto",
    fiducials: str | F64 | None = None,
    progress: Progress | None = None,
) -> Drift:
    """Estimate the drift of a run (`estimate_drift`).

    Parameters
    ----------
    locs : Locs
        Localisations; those with a `z_flag` take no part in z.
    method_xy, method_z : str
        One of `METHODS_XY`, `METHODS_Z`.
    fiducials : str or ndarray of shape (n, 2), optional
        Markers: a picks file of Picasso, ``x,y;x,y``, or their positions (px).
    progress : callable, optional
        Given (message, fraction).

    Raises
    ------
    InputError
        The table is corrected already, or a method is unknown or cannot work on it.
    """
    if locs.metadata.drift_corrected:
        raise InputError(f"{locs.name} is drift-corrected already: give the original run, or `undo`")
    marked = fiducials if isinstance(fiducials, np.ndarray) else parse_fiducials(fiducials)
    if locs.frames > MANY_FRAMES and len(locs) < locs.frames / FRAMES_PER_ROW:
        raise InputError(
            f"{locs.name} has {len(locs)} localisations and frame numbers up to {locs.frames - 1}: correct the numbers"
        )
    drift = estimate_drift(
        locs.table,
        locs.frames,
        (locs.metadata.height_px, locs.metadata.width_px),
        locs.pixel_size_nm,
        method_xy=method_xy,
        method_z=method_z,
        fiducials=marked,
        progress=progress,
    )
    short = [axes for axes, used in (("x, y", drift.record.method_xy), ("z", drift.record.method_z)) if used == TOO_FEW]
    if short:
        warnings.warn(
            f"{locs.name}: {' and '.join(short)} {TOO_FEW} ({len(locs)} localisations in {locs.frames} frames)",
            EasyZlocWarning,
            stacklevel=3,
        )
    return drift


def estimate_drift(
    table: pd.DataFrame,
    frames: int,
    shape_yx: tuple[int, int],
    pixel_size_nm: float,
    *,
    method_xy: str = "auto",
    method_z: str = "auto",
    fiducials: F64 | None = None,
    progress: Progress | None = None,
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
        Camera pixel, nm.
    method_xy : str
        One of `METHODS_XY`. ``auto`` takes markers where at least two agree, otherwise the method that makes the table
        sharpest, and none where none makes it sharper.
    method_z : str
        One of `METHODS_Z`; likewise.
    fiducials : ndarray, shape (n, 2), optional
        Positions (px) of markers that a person chose.
    progress : callable, optional
        Given (message, fraction).

    Returns
    -------
    Drift
        One row per frame, and how it was estimated.

    Raises
    ------
    InputError
        The method is unknown, or cannot work on this table (``auto`` always can).
    """
    for name, method, known in (("`method`", method_xy, METHODS_XY), ("`z_method`", method_z, METHODS_Z)):
        if method not in known:
            raise InputError(f"{name} {method} is unknown: use {', '.join(known)}")
    first = int(table["frame"].min()) if len(table) else 0
    if first > LATE_PART * frames:  # segments of frames before it would be empty
        later = table.assign(frame=table["frame"].to_numpy(np.int64) - first)
        found = estimate_drift(
            later, frames - first, shape_yx, pixel_size_nm,
            method_xy=method_xy, method_z=method_z, fiducials=fiducials, progress=progress,
        )  # fmt: skip
        return _begun_late(found, first)
    work = _Candidates(table, frames, shape_yx, float(pixel_size_nm), fiducials, progress or silent)
    xy, used_xy, reason_xy = _lateral(work, method_xy)
    z, used_z, reason_z = _axial(work, method_z, xy)
    path = np.zeros((frames, 3))
    path[:, :2] = xy / work.pixel_size_nm
    path[:, 2] = z
    result = pd.DataFrame({"frame": np.arange(frames), **{axis: path[:, number] for number, axis in enumerate("xyz")}})
    record = DriftRecord(
        method_xy=used_xy,
        method_z=used_z,
        reason_xy=reason_xy,
        reason_z=reason_z,
        markers=work.agreeing["xy"],
        sharpness=work.sharp,
        others={name: _thinned(path) for name, path in work.others.items()},
    )
    return Drift(result, record)


def _begun_late(drift: Drift, first: int) -> Drift:
    """Return the drift with `first` frames before it, in which the sample stands where it was first seen."""
    path = drift.table.drop(columns="frame").to_numpy()
    whole = np.concatenate([np.repeat(path[:1], first, axis=0), path])
    table = pd.DataFrame(whole, columns=["x", "y", "z"])
    table.insert(0, "frame", np.arange(len(table)))
    return replace(drift, table=table)


def _thinned(path: F64) -> RejectedPath:
    step = max(1, len(path) // PLOTTED_POINTS)
    return RejectedPath(step=step, nm=tuple(map(tuple, np.round(path[::step], 2).tolist())))


class _Candidates:
    """Input that the methods share (believable localisations in nm, markers) and the sharpness of what they found."""

    def __init__(
        self,
        table: pd.DataFrame,
        frames: int,
        shape_yx: tuple[int, int],
        pixel_size_nm: float,
        fiducials: F64 | None,
        report: Progress,
    ) -> None:
        report("looking for markers", 0.0)
        self.report = report
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

    def rate(self, name: str, path: F64) -> float:
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


def _lateral(work: _Candidates, method: str) -> tuple[F64, str, str]:
    """Return the path in x and y (nm), the method in words, and why it was chosen."""
    zero = np.zeros((work.frames, 2))
    if method == "none":
        return zero, "not corrected", "as asked"
    found, used, decisive, fault = _by_markers(work, "xy", method)
    if found is not None and decisive:
        return found, used, decisive
    if method == "fiducials":
        raise InputError(f"no drift by fiducials: {_why_not(work, fault)}")
    candidates: dict[str, tuple[F64, str]] = {}
    faults: dict[str, str] = {}
    work.report("x and y: cross-correlation", 0.1)
    path, used = (
        rcc_path(work.structure, work.frames, work.shape_yx, work.pixel_size_nm) if method != "aim" else (None, "")
    )
    if path is not None:
        candidates["rcc"] = path, used
    faults["rcc"] = used
    if method in ("auto", "aim"):
        work.report("x and y: adaptive intersection (AIM)", 0.2)
        flat = work.structure.drop(columns=[name for name in ("z", "lpz") if name in work.structure])
        path, used = aim_path(flat, work.frames, work.shape_yx, work.pixel_size_nm)
        if path is not None:
            candidates["aim"] = path, used
        faults["aim"] = used
    if method in ("auto", "overlap"):
        work.report("x and y: greatest overlap", 0.35)
        # It climbs to the nearest maximum: the sharpest start need not lead to the highest one.
        starts = {name: path for name, (path, _) in candidates.items()} or {"none": zero}
        climbed = {name: work.overlap(start, axes=2, depth_known=True) for name, start in starts.items()}
        maxima = {name: path for name, path in climbed.items() if path is not None}
        if maxima:
            best = max(maxima, key=lambda name: work.rate(f"xy overlap from {name}", maxima[name]))
            begun = {"none": "", "rcc": " after cross-correlation", "aim": " after AIM"}[best]
            used = f"greatest overlap of {knot_count(len(work.structure), work.frames)} times{begun}"
            candidates["overlap"] = maxima[best], used
        faults["overlap"] = "too few localisations that come back to the same place"
    if method != "auto":
        if method not in candidates:
            raise InputError(f"no drift by {method}: {faults[method]}; use `method` auto or none")
        return *candidates[method], "as asked"
    if found is not None:
        candidates["fiducials"] = found, "one fiducial marker"
    return _sharpest(work, "xy", zero, candidates)


def _axial(work: _Candidates, method: str, xy: F64) -> tuple[F64, str, str]:
    """Return the path in z (nm), the method in words, and why it was chosen."""
    zero = np.zeros(work.frames)
    if not work.has_z:
        return zero, "not corrected: the table is 2D", "it has no column z"
    if method == "none":
        return zero, "not corrected", "as asked"
    found, used, decisive, fault = _by_markers(work, "z", method)
    if found is not None and decisive:
        return found[:, 0], used, decisive
    if method == "fiducials":
        raise InputError(f"no drift in z by fiducials: {_why_not(work, fault)}; use `z_method` auto")
    candidates: dict[str, tuple[F64, str]] = {}
    faults: dict[str, str] = {}

    def whole(z: F64) -> F64:
        return np.column_stack([xy, z])

    if method in ("auto", "paper", "overlap"):
        work.report("z: mean depth", 0.6)
        path, used = paper_z_path(work.solid, work.frames)
        if path is not None:
            candidates["paper"] = whole(path), used
        faults["paper"] = used
    if method in ("auto", "aim"):
        work.report("z: adaptive intersection (AIM)", 0.65)
        path, used = aim_path(_shifted(work, xy), work.frames, work.shape_yx, work.pixel_size_nm)
        if path is not None:
            candidates["aim"] = whole(path[:, 2]), used
        faults["aim"] = used
    if method in ("auto", "overlap"):
        work.report("z: greatest overlap", 0.8)
        path = work.overlap(whole(zero), axes=3, depth_known=False)
        if path is not None:
            used = f"greatest overlap of {knot_count(len(work.solid), work.frames)} times in 3D"
            candidates["overlap"] = whole(path[:, 2]), used
        faults["overlap"] = "too few localisations that come back to the same place"
    if method != "auto":
        if method not in candidates:
            raise InputError(f"no drift in z by {method}: {faults[method]}; use `z_method` auto or none")
        path, used = candidates[method]
        return path[:, 2], used, "as asked"
    if found is not None:
        candidates["fiducials"] = whole(found[:, 0]), "one fiducial marker"
    best, used, reason = _sharpest(work, "z", whole(zero), candidates)
    return best[:, 2], used, reason


def _shifted(work: _Candidates, xy: F64) -> pd.DataFrame:
    number = work.solid["frame"].to_numpy(np.int64)
    moved = {axis: work.solid[axis].to_numpy(float) - xy[number, k] / work.pixel_size_nm for k, axis in enumerate("xy")}
    return work.solid.assign(**moved)


def _sharpest(work: _Candidates, axes: str, zero: F64, candidates: dict[str, tuple[F64, str]]) -> tuple[F64, str, str]:
    """Of several paths the one that makes the structure sharpest; none if none does better than nothing."""
    if not candidates:
        return zero, TOO_FEW, "no method could be tried"
    none = work.rate(f"{axes} none", zero)
    values = {name: work.rate(f"{axes} {name}", path) for name, (path, _) in candidates.items()}
    best = max(values, key=values.__getitem__)
    for name, (path, _) in candidates.items():
        if name != best:
            work.others[f"{axes} {name}"] = path if axes == "xy" else path[:, 2:]
    if values[best] <= none:
        return zero, "not corrected", "no method makes the table sharper"
    ratios = ", ".join(f"{name} {value / max(none, 1e-12):.3f}" for name, value in values.items())
    path, used = candidates[best]
    return path, used, f"sharpest of what was tried (1 = uncorrected): {ratios}"


def _by_markers(work: _Candidates, axes: str, method: str) -> tuple[F64 | None, str, str, str]:
    """Return path, method, reason to take it without a comparison (or nothing), fault; of markers, where they count."""
    if method not in ("auto", "fiducials"):
        return None, "", "", ""
    found, used, fault = _marked(work, axes)
    if method == "fiducials":
        return found, used, "as asked", fault
    enough = work.agreeing[axes] >= ENOUGH_MARKERS or work.chosen is not None
    return found, used, f"markers were found, and they agree{fault}" if enough else "", fault


def _marked(work: _Candidates, axes: str) -> tuple[F64 | None, str, str]:
    """Return the path of the markers along x and y, or z: path, method, fault."""
    paths, counts, faults = [], [], []
    for axis in axes:
        scale = 1.0 if axis == "z" else work.pixel_size_nm
        path, agreeing, fault = marker_path(work.markers, work.frames, axis, scale)
        counts.append(agreeing)
        if fault:
            faults.append(fault)
        if path is None:
            work.agreeing[axes] = 0
            return None, "", f"; {faults[-1]}" if faults else ""
        paths.append(path)
    count = work.agreeing[axes] = min(counts)
    origin = "chosen" if work.chosen is not None else "found"
    used = f"{count} fiducial marker{'s' if count != 1 else ''} ({origin}), smoothing spline"
    return np.stack(paths, 1), used, f"; {faults[0]}" if faults else ""


def _why_not(work: _Candidates, fault: str) -> str:
    if fault.strip("; ") and work.markers.tracks:
        return fault.strip("; ")
    rejected = ", ".join(f"{count} {reason}" for reason, count in work.markers.rejected.items())
    return f"no marker was found{f' ({rejected})' if rejected else ''}; name them with `fiducials`"
