"""How fine a table resolves: Fourier ring and shell correlation, nearest neighbours in adjacent frames, density.

The halves that a correlation compares are alternating blocks of frames, not random rows: the rows of one on-time of a
molecule would sit in both halves and feign a resolution that is not there. A fluorophore that comes back much later
still does; no correction is made for that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from easyzloc_mm._picasso import picasso
from easyzloc_mm.analysis.fourier import Correlation, crossing, fourier_correlation
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.kinds import Kind
from easyzloc_mm.io.output import check_output, whole_or_nothing
from easyzloc_mm.locs.table import frames_of, in_nm, load
from easyzloc_mm.report.figures import picture
from easyzloc_mm.typing import F64, I64, Bool, IfExists

MIN_ROWS = 1000
FRC_EDGE_NM, FRC_MAX_PX, FRC_WINDOWS = 10_000.0, 2048, 6
FSC_EDGE_NM, FSC_MAX_VOXELS, FSC_DEPTH_NM, FSC_WINDOWS = 2500.0, 2**23, 1000.0, 8
"""Squares that are correlated: edge, size in memory, depth, and how many, the densest first."""
MIN_WINDOW_ROWS = 100
BINS_PER_PRECISION = 2.0
MIN_BIN_NM = 2.0
BLOCKS = 40
"""Of frames; alternating ones go to each half."""
MIN_BLOCK_FRAMES = 10
NENA_REACH_SIGMAS = 8.0
AXES = ("x", "y", "z")
CONE_DEGREES = 45.0
"""Half angle around an axis within which a shell counts for it."""


def alternating_halves(frame: I64, frames: int) -> tuple[Bool, int]:
    """Rows of the first half by alternating blocks of frames, and the frames of a block."""
    block = max(MIN_BLOCK_FRAMES, frames // BLOCKS)
    return (frame // block) % 2 == 0, block


def nena_axis(table: pd.DataFrame, axis: str, sigma_nm: float, lateral_nm: float) -> float | None:
    """Localisation precision along one axis, by molecules that shine in two frames that follow each other.

    Differences between nearest neighbours in adjacent frames are a normal distribution of variance twice that of one
    localisation, on an even background of chance neighbours; expectation maximisation tells the two apart (after
    Endesfelder et al. 2014, one axis at a time).

    Parameters
    ----------
    table : DataFrame
        ``frame``, ``x_nm``, ``y_nm``, ``z`` (nm).
    axis : {"x", "y", "z"}
    sigma_nm : float
        What the precision is about.
    lateral_nm : float
        The same across the focal plane, within some of which neighbours are looked for.

    Returns
    -------
    float or None
        nm; None where too few molecules stay on.
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
    for _ in range(200):
        near = share * np.exp(-0.5 * difference**2 / variance) / np.sqrt(2 * np.pi * variance)
        part = near / (near + (1 - share) * _chance(difference, window, axis))
        new = float((part * difference**2).sum() / max(part.sum(), 1e-9))
        share, done = float(part.mean()), abs(new - variance) < 1e-6 * variance
        variance = new
        if done:
            break
    return float(np.sqrt(variance / 2)) if part.sum() > 100 else None


def _chance(difference: F64, window: float, axis: str) -> F64:
    """Density of chance neighbours: those inside a circle along x or y, any in z."""
    if axis == "z":
        return np.full(len(difference), 1 / (2 * window))
    return 2 / (np.pi * window**2) * np.sqrt(np.maximum(window**2 - difference**2, 1e-12))


def _windows(table: pd.DataFrame, edge_nm: float, most: int) -> list[pd.DataFrame]:
    """Localisations of the densest squares of that edge, side by side, each counted from its corner."""
    x, y = table["x_nm"].to_numpy(), table["y_nm"].to_numpy()
    column, row = (np.floor((values - values.min()) / edge_nm).astype(np.int64) for values in (x, y))
    cell = row * (int(column.max()) + 1) + column
    counts = np.bincount(cell)
    chosen = np.argsort(counts)[::-1][:most]
    return [
        part.assign(
            x_nm=part["x_nm"] - x.min() - (number % (column.max() + 1)) * edge_nm,
            y_nm=part["y_nm"] - y.min() - (number // (column.max() + 1)) * edge_nm,
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


def measure(table: pd.DataFrame, frames: int, *, seed: int = 0) -> tuple[dict[str, Any], dict[str, Correlation]]:
    """All figures of resolution, and the curves behind them.

    Parameters
    ----------
    table : DataFrame
        As `tables.in_nm` gives it.
    """
    lateral = float(table[["lpx_nm", "lpy_nm"]].median().mean())
    result: dict[str, Any] = {}
    for axis in [name for name in AXES if name != "z" or "z" in table]:
        sigma = table[{"x": "lpx_nm", "y": "lpy_nm", "z": "lpz"}[axis]]
        result[f"median_lp{axis}_nm"] = float(sigma.median())
        result[f"lp{axis}_percentiles_nm"] = [float(value) for value in np.percentile(sigma, [5, 25, 50, 75, 95])]
        result[f"nena_{axis}_nm"] = nena_axis(table, axis, float(sigma.median()), lateral)
    curves: dict[str, Correlation] = {}
    flat = ring_correlation(table, frames, "xy")
    result |= {"frc_nm": None, "frc_ci_nm": None, "frc_block_frames": None}
    if flat is not None:
        curves["FRC, xy"] = flat
        result["frc_nm"], result["frc_ci_nm"] = crossing(flat, seed=seed)
        result["frc_block_frames"] = flat.block_frames
    result |= {"fsc_nm": None, "fsc_ci_nm": None}
    if "z" in table:
        solid = ring_correlation(table, frames, "xyz")
        if solid is not None:
            curves["FSC, all directions"] = solid
            result["fsc_nm"], result["fsc_ci_nm"] = crossing(solid, seed=seed)
            for number, axis in enumerate(AXES):
                cone = solid.cone(number, CONE_DEGREES)
                curves[f"FSC around {axis}"] = cone
                result[f"fsc_{axis}_nm"], result[f"fsc_{axis}_ci_nm"] = crossing(cone, seed=seed)
    return result | _density(table), curves


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


def resolution_run(
    run: Path,
    out: Path | None = None,
    *,
    where: str | None = None,
    pixel_size_nm: float | None = None,
    if_exists: IfExists = "error",
) -> dict[str, Any]:
    """Tell how fine a table resolves; `out` (.png) shows the curves and distributions.

    Returns
    -------
    dict
        Per axis ``median_lp*_nm``, ``lp*_percentiles_nm`` (5, 25, 50, 75, 95), ``nena_*_nm``; ``nena_xy_nm``
        (Picasso's); ``frc_nm`` and ``fsc_nm`` (threshold 1/7), ``fsc_x_nm``, ``fsc_y_nm``, ``fsc_z_nm``, each with
        ``*_ci_nm`` (95 %); densities. None where it cannot be told.

    Raises
    ------
    InputError
        The table has too few localisations.
    """
    if out is not None:
        out = check_output(Path(out), Kind.PICTURE, if_exists=if_exists, inputs=[run])
        if out.suffix.lower() != ".png":
            raise InputError(f"{out}: name the figure .png")
    table, facts = load(run, where=where, pixel_size_nm=pixel_size_nm)
    kept = in_nm(table, float(facts["pixel_size_nm"]))
    if len(kept) < MIN_ROWS:
        raise InputError(f"{run} has {len(kept)} localisations: {MIN_ROWS} or more are needed to tell its resolution")
    frames = frames_of(table, facts)
    result, curves = measure(kept, frames)
    result = {"localizations": len(kept), "nena_xy_nm": _picasso_nena(table, facts, frames), **result}
    if out is not None:
        with whole_or_nothing(out, Kind.PICTURE, if_exists=if_exists, inputs=[run]) as draft:
            draw_resolution(draft, kept, result, curves)
        result["out"] = out
    return result


def _picasso_nena(table: pd.DataFrame, facts: dict[str, Any], frames: int) -> float | None:
    """NeNA of x and y together as Picasso tells it: the figure that other laboratories quote."""
    pixel = float(facts["pixel_size_nm"])
    if not {"lpx", "lpy"} <= set(table.columns):
        return None
    info = [{"Width": facts["width_px"], "Height": facts["height_px"], "Frames": frames, "Pixelsize": pixel}]
    try:
        return float(picasso("postprocess").nena(table[["frame", "x", "y", "lpx", "lpy"]].copy(), info)[1]) * pixel
    except (RuntimeError, ValueError, IndexError):
        return None


def draw_resolution(path: Path, table: pd.DataFrame, result: dict[str, Any], curves: dict[str, Correlation]) -> None:
    """Draw the correlation curves with their 95 % limits, and the distributions of precision."""
    colors = {"FRC, xy": "#000000", "FSC, all directions": "#767676", "FSC around x": "#0072b2",
               "FSC around y": "#d55e00", "FSC around z": "#009e73"}  # fmt: skip
    with picture(path, 11.5, 4.2) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
        for name, curve in curves.items():
            smooth, sigma = curve.smooth()
            key = (
                name.lower()
                .replace("frc, xy", "frc")
                .replace("fsc, all directions", "fsc")
                .replace("fsc around ", "fsc_")
            )
            value = result.get(f"{key}_nm")
            label = f"{name}: {value:.0f} nm" if value else f"{name}: not reached"
            per_um, band = 1000 * curve.frequency, 1.96 * sigma
            left.plot(per_um, smooth, color=colors[name], label=label, lw=1.4)
            left.fill_between(per_um, smooth - band, smooth + band, color=colors[name], alpha=0.12, lw=0)
        left.axhline(1 / 7, color="#999999", ls="--", lw=0.9)
        left.set(
            xlabel="spatial frequency (per µm)", ylabel="correlation of the halves", ylim=(-0.15, 1.05), xlim=(0, None)
        )
        left.legend(frameon=False, fontsize=8.5)
        left.set_title("dashed: 1/7; bands: 95 %", fontsize=9.5)
        for axis, column in (("x", "lpx_nm"), ("y", "lpy_nm"), ("z", "lpz")):
            if column in table:
                top = float(np.percentile(table[["lpx_nm", "lpy_nm", *(["lpz"] if "lpz" in table else [])]], 98))
                told = result.get(f"nena_{axis}_nm")
                words = f"{axis}: median {table[column].median():.1f} nm" + (f", NeNA {told:.1f}" if told else "")
                right.hist(
                    table[column],
                    bins=np.linspace(0, top, 70),
                    histtype="step",
                    lw=1.5,
                    density=True,
                    label=words,
                    color=colors[f"FSC around {axis}"],
                )
        right.set(xlabel="uncertainty of a localisation (nm)", yticks=[], ylabel="density")
        right.legend(frameon=False, fontsize=8.5)
        right.set_title(
            f"{result['local_density_per_um2']:,.0f} localisations per µm² where there are any", fontsize=9.5
        )
