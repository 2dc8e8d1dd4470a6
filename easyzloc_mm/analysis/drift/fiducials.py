"""Drift from fiducial markers: bright points that are visible in almost every frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.interpolate import make_smoothing_spline
from scipy.ndimage import median_filter, uniform_filter
from scipy.spatial import cKDTree

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.tables.picasso.picks import read_picks
from easyzloc_mm.locs.table import believable
from easyzloc_mm.numerics.statistics import robust_sd
from easyzloc_mm.typing import F64

REACH_NM = 450.0
"""Around a marker; Picasso's is the same."""
SEEN_PART = 0.5
"""Of the frames, in which a marker is found at least."""
MAX_JITTER_NM = 60.0
"""Scatter from one frame to the next (one standard deviation): a dense structure jumps farther than a marker."""
AGREE_NM = 25.0
"""Root mean square by which a marker's path may differ from that of the others."""
MAX_BINS = 400
MAX_CELLS = 2048
"""Along an edge of the map in which crowded places are looked for."""
MIN_SEEN = 20


@dataclass(frozen=True)
class Markers:
    """Markers and their tracks.

    Attributes
    ----------
    tracks : list of DataFrame
        One per accepted marker: its rows of the table, one per frame at most.
    rejected : dict of str to int
        Candidates, by reason.
    """

    tracks: list[pd.DataFrame]
    rejected: dict[str, int]


def parse_fiducials(text: str | None) -> F64 | None:
    """Read markers that a person chose: a picks file of Picasso, or ``x,y;x,y`` in pixels.

    Raises
    ------
    InputError
        Neither.
    """
    if text is None:
        return None
    if Path(text).is_file():
        return read_picks(Path(text))[0]
    try:
        places = np.array([[float(number) for number in pair.split(",")] for pair in text.split(";")])
    except ValueError:
        places = np.empty((0, 0))
    if places.ndim != 2 or places.shape[1] != 2 or not np.isfinite(places).all():
        raise InputError(f"`fiducials` {text}: give a picks file of Picasso (.yaml), or pixels as x,y;x,y")
    return places


def find_markers(table: pd.DataFrame, frames: int, pixel_size_nm: float, chosen: F64 | None = None) -> Markers:
    """Follow the markers, found or chosen by a person, through the run.

    Parameters
    ----------
    table : DataFrame
        Localisations, ``x``, ``y`` in px.
    frames : int
        Of the run.
    pixel_size_nm : float
    chosen : ndarray, shape (n, 2), optional
        Middles, px; found automatically if not given.
    """
    reach = REACH_NM / pixel_size_nm
    place = table[["x", "y"]].to_numpy(float)
    rejected: dict[str, int] = {}
    tracks: list[pd.DataFrame] = []
    if not len(place):
        return Markers(tracks, rejected)
    middles = _crowded(place, frames, reach) if chosen is None else chosen
    tree = cKDTree(place)
    for middle in middles:
        rows = table.iloc[np.sort(np.array(tree.query_ball_point(middle, reach), int))]
        # Of several spots in one frame the brightest is the marker.
        track = rows.sort_values("photons", kind="stable") if "photons" in rows else rows
        track = track.drop_duplicates("frame", keep="last").sort_values("frame", kind="stable")
        reason = _fault(track, frames, pixel_size_nm, chosen is not None)
        if reason is None and any(_same(track, other) for other in tracks):
            reason = "found twice"
        if reason is None:
            tracks.append(_cleaned(track))
        else:
            rejected[reason] = rejected.get(reason, 0) + 1
    return Markers(tracks, rejected)


def _crowded(place: F64, frames: int, reach: float) -> F64:
    """Positions with enough localisations around them for a marker that is seen in every other frame."""
    low = np.floor(place.min(axis=0))
    # Cells of a pixel, unless the field is wider than any camera.
    edge = max(1.0, float(np.ptp(place, axis=0).max()) / MAX_CELLS)
    shape = np.floor((place.max(axis=0) - low) / edge).astype(int) + 1
    cell = ((place - low) / edge).astype(int)
    counts = np.bincount(cell[:, 0] * shape[1] + cell[:, 1], minlength=int(shape.prod())).reshape(shape).astype(float)
    size = 2 * int(np.ceil(reach / edge)) + 1
    around = uniform_filter(counts, size, mode="constant") * size**2
    found: list[F64] = []
    for index in np.argsort(around, axis=None)[::-1]:
        x, y = np.unravel_index(index, around.shape)
        if around[x, y] < max(1.0, SEEN_PART * frames) or len(found) >= 200:
            break
        middle = low + (np.array([x, y]) + 0.5) * edge
        if all(np.hypot(*(middle - other)) > reach for other in found):
            found.append(middle)
    # Move to where the localisations around really are; the corners of a square may hold them all.
    tree = cKDTree(place)
    near = [tree.query_ball_point(middle, 1.4 * max(reach, edge)) for middle in found]
    return np.array([np.median(place[rows], axis=0) for rows in near if rows]).reshape(-1, 2)


def _fault(track: pd.DataFrame, frames: int, pixel_size_nm: float, chosen: bool) -> str | None:
    if len(track) < max(MIN_SEEN, (0.1 if chosen else SEEN_PART) * frames):
        return "seen in too few frames"
    if chosen:
        return None
    for axis in "xy":
        step = np.diff(track[axis].to_numpy(float)) * pixel_size_nm
        # Half of all steps decide: a neighbour that takes a marker's place now and then does no harm.
        if robust_sd(step, about=0.0) / np.sqrt(2) > MAX_JITTER_NM:
            return "jumps: structure, not a marker"
    return None


def _same(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    return len(np.intersect1d(one.index, other.index)) > 0.2 * min(len(one), len(other))


def _cleaned(track: pd.DataFrame) -> pd.DataFrame:
    """Leave out the frames in which something else was taken for the marker."""
    keep = np.ones(len(track), bool)
    for axis in [name for name in "xy" if name in track]:
        value = track[axis].to_numpy(float)
        off = value - median_filter(value, size=min(51, 2 * (len(value) // 2) - 1), mode="nearest")
        spread = robust_sd(off, about=0.0)
        keep &= np.abs(off) <= 5 * max(spread, 1e-6)
    return track[keep]


def marker_path(markers: Markers, frames: int, axis: str, scale: float) -> tuple[F64 | None, int, str]:
    """Estimate the path of the sample along one axis: the common motion of the markers, smoothed.

    Parameters
    ----------
    markers : Markers
    frames : int
    axis : {"x", "y", "z"}
        For z only rows without a `z_flag` count.
    scale : float
        From the table's unit to nm.

    Returns
    -------
    path : ndarray, shape (frames,), or None
        nm, mean 0; None if there is no usable marker.
    used : int
        Markers that agree.
    fault : str
        Why not, or which were left out; empty if all agree.
    """
    tracks = [believable(track) if axis == "z" else track for track in markers.tracks]
    tracks = [track for track in tracks if len(track) >= max(MIN_SEEN, 0.1 * frames)]
    if not tracks:
        return None, 0, "no marker has enough believable depths" if axis == "z" else "no marker"
    bins = int(np.clip(min(len(track) for track in tracks) // 5, 5, min(MAX_BINS, frames)))
    means, weights = _binned(tracks, frames, axis, scale, bins)
    fault = ""
    used = list(range(len(tracks)))
    while True:
        path, offsets = _common(means[used], weights[used])
        off = np.where(weights[used] > 0, means[used] - offsets[:, None] - path, 0)
        noise = np.divide(1, weights[used], out=np.zeros_like(off), where=weights[used] > 0)
        # Beyond the scatter of its own localisations.
        seen = np.maximum((weights[used] > 0).sum(axis=1), 1)
        wandering = np.sqrt(np.maximum(((off**2).sum(axis=1) - noise.sum(axis=1)) / seen, 0))
        worst = int(np.argmax(wandering))
        if len(used) == 1 or wandering[worst] <= AGREE_NM:
            break
        if len(used) == 2:
            return None, 2, f"two markers disagree by {2 * wandering[worst]:.0f} nm"
        fault = "markers that moved on their own were left out"
        del used[worst]
    seen_bins = weights[used].sum(axis=0) > 0
    middle = (np.arange(bins) + 0.5) * frames / bins
    if seen_bins.sum() < 5:
        return None, len(used), "markers were seen too rarely"
    spline = make_smoothing_spline(middle[seen_bins], path[seen_bins], w=weights[used].sum(axis=0)[seen_bins])
    ends = middle[seen_bins][[0, -1]]
    time = np.arange(frames) + 0.5
    inside = np.clip(time, *ends)
    out = spline(inside) + spline.derivative()(inside) * (time - inside)
    return out - out.mean(), len(used), fault


def _binned(tracks: list[pd.DataFrame], frames: int, axis: str, scale: float, bins: int) -> tuple[F64, F64]:
    """Mean position and inverse variance of the mean, per marker and bin of frames; weight 0 where it was not seen."""
    means, weights = np.zeros((len(tracks), bins)), np.zeros((len(tracks), bins))
    for number, track in enumerate(tracks):
        value = track[axis].to_numpy(float) * scale
        index = np.minimum(track["frame"].to_numpy(np.int64) * bins // frames, bins - 1)
        count = np.bincount(index, minlength=bins)
        means[number] = np.bincount(index, value, bins) / np.maximum(count, 1)
        scatter = max(robust_sd(np.diff(value), about=0.0) / np.sqrt(2), 0.1)
        weights[number] = count / scatter**2
    return means, weights


def _common(means: F64, weights: F64) -> tuple[F64, F64]:
    """Least squares: one path, and one rest position per marker."""
    offsets = (means * weights).sum(axis=1) / weights.sum(axis=1)
    path = np.zeros(means.shape[1])
    for _ in range(50):
        path = ((means - offsets[:, None]) * weights).sum(axis=0) / np.maximum(weights.sum(axis=0), 1e-30)
        new = ((means - path) * weights).sum(axis=1) / weights.sum(axis=1)
        if np.abs(new - offsets).max() < 1e-3:
            break
        offsets = new
    return path, offsets
