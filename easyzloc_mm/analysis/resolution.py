"""Resolution of a table: Fourier ring and shell correlation, nearest neighbours in adjacent frames, density.

The halves that a correlation compares are alternating blocks of frames, not random rows: the rows of one on-time of a
molecule would be in both halves and simulate a resolution that is not there. A fluorophore that blinks again much later
still does; no correction is made for that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from easyzloc_mm._picasso import picasso
from easyzloc_mm._progress import silent
from easyzloc_mm.analysis.fourier import UNKNOWN, Correlation, Crossing, crossing, fourier_correlation
from easyzloc_mm.errors import InputError
from easyzloc_mm.locs.locs import Locs
from easyzloc_mm.typing import F64, I64, Bool, Progress

MIN_ROWS = 1000
FRC_EDGE_NM, FRC_MAX_PX, FRC_WINDOWS = 10_000.0, 2048, 6
FSC_EDGE_NM, FSC_MAX_VOXELS, FSC_DEPTH_NM, FSC_WINDOWS = 2500.0, 2**23, 1000.0, 8
"""Squares that are correlated: edge, size in memory, depth, and how many, the densest first."""
MIN_WINDOW_ROWS = 100
MIN_EDGE_PIXELS = 8
"""Of a square that has rings to correlate."""
BINS_PER_PRECISION = 2.0
MIN_BIN_NM = 2.0
BLOCKS = 40
"""Of frames; alternating ones go to each half."""
MIN_BLOCK_FRAMES = 10
NENA_REACH_SIGMAS = 8.0
AXES = ("x", "y", "z")
CONE_DEGREES = 45.0
"""Half angle around an axis within which a shell counts for it."""
SIGMA_COLUMNS = {"x": "lpx_nm", "y": "lpy_nm", "z": "lpz"}
FRC, FSC, CONE = "FRC, xy", "FSC, all directions", "FSC around"


def alternating_halves(frame: I64, frames: int) -> tuple[Bool, int]:
    """Rows of the first half by alternating blocks of frames, and the frames of a block."""
    block = max(MIN_BLOCK_FRAMES, frames // BLOCKS)
    return (frame // block) % 2 == 0, block


def nena_axis(table: pd.DataFrame, axis: str, sigma_nm: float, lateral_nm: float) -> float | None:
    """Localisation precision along one axis, by emitters that are on in two successive frames (NeNA).

    Differences between nearest neighbours in adjacent frames are a normal distribution of variance twice that of one
    localisation, on an even background of chance neighbours; expectation maximisation separates the two. After [1]_,
    one axis at a time.

    Parameters
    ----------
    table : DataFrame
        ``frame``, ``x_nm``, ``y_nm``, ``z`` (nm).
    axis : {"x", "y", "z"}
    sigma_nm : float
        Approximate precision along that axis.
    lateral_nm : float
        Approximate precision in the focal plane; neighbours are searched within `NENA_REACH_SIGMAS` times it.

    Returns
    -------
    float or None
        nm; None where too few emitters stay on.

    References
    ----------
    .. [1] U. Endesfelder et al., "A simple method to estimate the average localization precision of a single-molecule
       localization microscopy experiment", Histochemistry and Cell Biology 141 (2014) 629,
       doi:10.1007/s00418-014-1192-3.
    """
    reach = NENA_REACH_SIGMAS * lateral_nm
    place = table[["x_nm", "y_nm"]].to_numpy(float)
    frame = table["frame"].to_numpy(np.int64)
    gap = 4 * reach + float(np.ptp(place[:, 1])) if len(place) else 1.0
    # Frames laid out side by side: one tree finds the neighbours of all.
    shifted = place + np.column_stack([np.zeros(len(frame)), frame * gap])
    distance, nearest = cKDTree(shifted).query(shifted + np.array([0.0, gap]), distance_upper_bound=reach)
    found = np.flatnonzero(np.isfinite(distance))
    if len(found) < 200:
        return None
    values = table["z" if axis == "z" else f"{axis}_nm"].to_numpy(float)
    # In z nothing was cut off by `reach`; differences beyond the window are chance, too.
    window = NENA_REACH_SIGMAS * sigma_nm
    difference = values[nearest[found]] - values[found]
    difference = difference[np.abs(difference) <= window]
    variance, share = 2 * sigma_nm**2, 0.7
    if not variance > 0:
        return None
    for _ in range(200):
        near = share * np.exp(-0.5 * difference**2 / variance) / np.sqrt(2 * np.pi * variance)
        part = near / (near + (1 - share) * _chance(difference, window, axis))
        new = float((part * difference**2).sum() / max(part.sum(), 1e-9))
        share, done = float(part.mean()), abs(new - variance) < 1e-6 * variance
        variance = new
        if done or not variance > 0:
            break
    # Neighbours at the very same place tell of copies, not of a precision.
    return float(np.sqrt(variance / 2)) if part.sum() > 100 and variance > 0 else None


def _chance(difference: F64, window: float, axis: str) -> F64:
    """Density of chance neighbours: those inside a circle along x or y, any in z."""
    if axis == "z":
        return np.full(len(difference), 1 / (2 * window))
    return 2 / (np.pi * window**2) * np.sqrt(np.maximum(window**2 - difference**2, 1e-12))


def _windows(table: pd.DataFrame, edge_nm: float, most: int) -> list[pd.DataFrame]:
    """Localisations of the densest squares of that edge, side by side, each counted from its corner."""
    x, y = table["x_nm"].to_numpy(), table["y_nm"].to_numpy()
    column, row = (np.floor((values - values.min()) / edge_nm).astype(np.int64) for values in (x, y))
    # Only squares that hold something are counted: a field may be mostly empty.
    numbers, cell, counts = np.unique(row * (int(column.max()) + 1) + column, return_inverse=True, return_counts=True)
    chosen = np.argsort(counts, kind="stable")[::-1][:most]
    return [
        part.assign(
            x_nm=part["x_nm"] - x.min() - (numbers[number] % (column.max() + 1)) * edge_nm,
            y_nm=part["y_nm"] - y.min() - (numbers[number] // (column.max() + 1)) * edge_nm,
        )
        for number in chosen
        if len(part := table[cell == number]) >= max(MIN_WINDOW_ROWS, counts.max() / 10)
    ]


def ring_correlation(table: pd.DataFrame, frames: int, axes: str = "xy") -> Correlation | None:
    """Correlate two halves of the densest squares, ring by ring (``xy``) or shell by shell (``xyz``).

    Parameters
    ----------
    table : DataFrame
        ``frame``, ``x_nm``, ``y_nm``, ``z``, ``lpx_nm``, ``lpy_nm``.
    frames : int
        Of the run.
    """
    solid = axes == "xyz"
    field = float(max(np.ptp(table["x_nm"]), np.ptp(table["y_nm"]))) + 1e-6
    edge = min(FSC_EDGE_NM if solid else FRC_EDGE_NM, field)
    span = np.array([edge, edge, FSC_DEPTH_NM][: len(axes)])
    pixel = max(MIN_BIN_NM, float(table[["lpx_nm", "lpy_nm"]].median().mean()) / BINS_PER_PRECISION)
    pixel = max(pixel, float((span.prod() / FSC_MAX_VOXELS) ** (1 / 3)) if solid else edge / FRC_MAX_PX)
    if solid:
        table = table[(table["z"] - table["z"].median()).abs() < FSC_DEPTH_NM / 2]
        table = table.assign(z=table["z"] - table["z"].median() + FSC_DEPTH_NM / 2)
    if len(table) < MIN_ROWS // 2 or edge < MIN_EDGE_PIXELS * pixel:
        return None
    names = ["x_nm", "y_nm", *(["z"] if solid else [])]
    windows = _windows(table, edge, FSC_WINDOWS if solid else FRC_WINDOWS)
    if sum(map(len, windows)) < MIN_ROWS // 2:
        return None
    first, block = alternating_halves(pd.concat(windows)["frame"].to_numpy(np.int64), frames)
    if first.all() or not first.any():
        return None
    halves = [alternating_halves(part["frame"].to_numpy(np.int64), frames)[0] for part in windows]
    places = [part[names].to_numpy(float) for part in windows]
    return fourier_correlation(places, halves, span, pixel, block)


@dataclass(frozen=True)
class AxisPrecision:
    """Localisation precision along one axis, nm.

    Attributes
    ----------
    median_nm : float
        Median of the table's own uncertainties.
    percentiles_nm : tuple of float
        Of the same: 5, 25, 50, 75, 95 %.
    nena_nm : float or None
        By nearest neighbours in adjacent frames; None where too few emitters stay on.
    """

    median_nm: float
    percentiles_nm: tuple[float, float, float, float, float]
    nena_nm: float | None


@dataclass(frozen=True)
class ResolutionResult:
    """Precision, resolution and density of a table, lengths in nm; None where it cannot be determined.

    Attributes
    ----------
    localizations : int
        That can be believed.
    axes : dict of str to AxisPrecision
        ``x``, ``y`` and, in 3D, ``z``.
    nena_xy_nm : float or None
        NeNA of x and y together, as Picasso computes it.
    frc, fsc : Crossing
        Fourier ring correlation in x and y, Fourier shell correlation in 3D, threshold 1/7.
    fsc_axes : dict of str to Crossing
        Fourier shell correlation of the frequencies within 45 degrees of each axis.
    frc_block_frames : int or None
        Frames of a block of the halves.
    localizations_per_um2, local_density_per_um2, nyquist_nm : float
        Mean density, density around a typical localisation, and the finest detail that it can carry.
    curves : dict of str to Correlation
        The correlations, by name.
    """

    localizations: int
    axes: dict[str, AxisPrecision]
    nena_xy_nm: float | None
    frc: Crossing
    fsc: Crossing
    fsc_axes: dict[str, Crossing]
    frc_block_frames: int | None
    localizations_per_um2: float
    local_density_per_um2: float
    nyquist_nm: float
    curves: dict[str, Correlation] = field(repr=False, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """Figures for printing.

        Returns
        -------
        dict
            ``localizations``; per axis ``median_lp*_nm``, ``lp*_percentiles_nm`` (5, 25, 50, 75, 95), ``nena_*_nm``;
            ``nena_xy_nm``; ``frc_nm``, ``fsc_nm``, ``fsc_x_nm``, ``fsc_y_nm``, ``fsc_z_nm``, each with ``*_ci_nm``
            (95 %); densities.
        """
        out: dict[str, Any] = {"localizations": self.localizations, "nena_xy_nm": self.nena_xy_nm}
        for axis, precision in self.axes.items():
            out[f"median_lp{axis}_nm"] = precision.median_nm
            out[f"lp{axis}_percentiles_nm"] = list(precision.percentiles_nm)
            out[f"nena_{axis}_nm"] = precision.nena_nm
        out |= {"frc_nm": self.frc.nm, "frc_ci_nm": self.frc.ci_nm, "frc_block_frames": self.frc_block_frames}
        out |= {"fsc_nm": self.fsc.nm, "fsc_ci_nm": self.fsc.ci_nm}
        for axis, crossed in self.fsc_axes.items():
            out |= {f"fsc_{axis}_nm": crossed.nm, f"fsc_{axis}_ci_nm": crossed.ci_nm}
        for name in ("localizations_per_um2", "local_density_per_um2", "nyquist_nm"):
            out[name] = getattr(self, name)
        return out


def measure_resolution(locs: Locs, *, seed: int = 0, progress: Progress | None = None) -> ResolutionResult:
    """Determine precision, resolution and density of a table.

    Parameters
    ----------
    locs : Locs
        Rows with a `z_flag` are left out.
    seed : int
        Of the draws behind the 95 % limits.
    progress : callable, optional
        Given (message, fraction).

    Raises
    ------
    InputError
        The table has fewer than `MIN_ROWS` believable localisations.

    References
    ----------
    .. [1] R. P. J. Nieuwenhuizen et al., "Measuring image resolution in optical nanoscopy", Nature Methods 10 (2013)
       557, doi:10.1038/nmeth.2448.
    .. [2] U. Endesfelder et al., "A simple method to estimate the average localization precision of a single-molecule
       localization microscopy experiment", Histochemistry and Cell Biology 141 (2014) 629,
       doi:10.1007/s00418-014-1192-3.
    """
    report = progress or silent
    table = locs.nm
    if len(table) < MIN_ROWS:
        raise InputError(
            f"{locs.name} has {len(table)} localisations: {MIN_ROWS} or more are needed to determine its resolution"
        )
    report("precision from neighbours in adjacent frames", 0.1)
    lateral = float(table[["lpx_nm", "lpy_nm"]].median().mean())
    axes = {axis: _axis_precision(table, axis, lateral) for axis in AXES if axis != "z" or "z" in table}
    report("Fourier ring correlation", 0.35)
    curves: dict[str, Correlation] = {}
    flat = ring_correlation(table, locs.frames, "xy")
    if flat is not None:
        curves[FRC] = flat
    report("Fourier shell correlation", 0.5)
    solid = ring_correlation(table, locs.frames, "xyz") if "z" in table else None
    fsc_axes: dict[str, Crossing] = {}
    if solid is not None:
        curves[FSC] = solid
        for number, axis in enumerate(AXES):
            cone = curves[f"{CONE} {axis}"] = solid.cone(number, CONE_DEGREES)
            fsc_axes[axis] = crossing(cone, seed=seed)
    report("95 % limits", 0.85)
    return ResolutionResult(
        localizations=len(table),
        axes=axes,
        nena_xy_nm=_picasso_nena(locs),
        frc=UNKNOWN if flat is None else crossing(flat, seed=seed),
        fsc=UNKNOWN if solid is None else crossing(solid, seed=seed),
        fsc_axes=fsc_axes,
        frc_block_frames=None if flat is None else flat.block_frames,
        **_density(table),
        curves=curves,
    )


def _axis_precision(table: pd.DataFrame, axis: str, lateral_nm: float) -> AxisPrecision:
    sigma = table[SIGMA_COLUMNS[axis]]
    low, lower, middle, upper, high = (float(value) for value in np.percentile(sigma, [5, 25, 50, 75, 95]))
    nena = nena_axis(table, axis, float(sigma.median()), lateral_nm)
    return AxisPrecision(float(sigma.median()), (low, lower, middle, upper, high), nena)


def _density(table: pd.DataFrame) -> dict[str, float]:
    """Localisations per area where there are any, and the finest detail that so many can carry (Nyquist)."""
    cell = 100.0
    x, y = (np.floor(table[name].to_numpy() / cell).astype(np.int64) for name in ("x_nm", "y_nm"))
    _, counts = np.unique(x * 10_000_000 + y, return_counts=True)
    # The density around a typical localisation, not around a typical empty place.
    typical = float(np.average(counts, weights=counts)) / (cell / 1000) ** 2
    field = np.ptp(table["x_nm"]) * np.ptp(table["y_nm"]) / 1e6
    return {
        "localizations_per_um2": len(table) / max(float(field), 1e-9),
        "local_density_per_um2": typical,
        "nyquist_nm": 2000 / float(np.sqrt(typical)),
    }


def _picasso_nena(locs: Locs) -> float | None:
    """NeNA of x and y together as Picasso computes it: the figure that other laboratories quote."""
    if not {"lpx", "lpy"} <= set(locs.table.columns):
        return None
    info = [
        {"Width": locs.metadata.width_px, "Height": locs.metadata.height_px, "Frames": locs.frames,
         "Pixelsize": locs.pixel_size_nm}
    ]  # fmt: skip
    try:
        found = picasso("postprocess").nena(locs.table[["frame", "x", "y", "lpx", "lpy"]].copy(), info)[1]
        return float(found) * locs.pixel_size_nm
    except (RuntimeError, ValueError, IndexError):
        return None
