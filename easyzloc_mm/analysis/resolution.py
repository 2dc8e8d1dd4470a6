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
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from easyzloc_mm.analysis.fourier import Correlation, crossing, fourier_correlation
from easyzloc_mm.analysis.tables import frames_of, in_nm, load
from easyzloc_mm.errors import InputError
from easyzloc_mm.quiet import picasso
from easyzloc_mm.store.output import check_output, whole_or_nothing
from easyzloc_mm.store.pictures import picture

Real = NDArray[np.float64]

MIN_ROWS = 1000
FRC_EDGE_NM, FRC_MAX_PX = 10_000.0, 2048
FSC_EDGE_NM, FSC_MAX_VOXELS, FSC_DEPTH_NM = 3000.0, 2**24, 1000.0
PIXELS_PER_PRECISION = 2.0
MIN_PIXEL_NM = 2.0
BLOCKS = 40
"""Of frames; alternating ones go to each half."""
MIN_BLOCK_FRAMES = 10
NENA_REACH_SIGMAS = 8.0
AXES = ("x", "y", "z")
CONE_DEGREES = 45.0
"""Half angle around an axis within which a shell counts for it."""


def alternating_halves(frame: NDArray[np.int64], frames: int) -> tuple[NDArray[np.bool_], int]:
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


def _chance(difference: Real, window: float, axis: str) -> Real:
    """Density of chance neighbours: those inside a circle along x or y, any in z."""
    if axis == "z":
        return np.full(len(difference), 1 / (2 * window))
    return 2 / (np.pi * window**2) * np.sqrt(np.maximum(window**2 - difference**2, 1e-12))


def _window(table: pd.DataFrame, edge_nm: float) -> pd.DataFrame:
    """Localisations of the densest square of that edge."""
    x, y = table["x_nm"].to_numpy(), table["y_nm"].to_numpy()
    step = edge_nm / 2
    columns, rows = ((values - values.min()) // step for values in (x, y))
    counts = np.zeros((int(rows.max()) + 2, int(columns.max()) + 2))
    np.add.at(counts, (rows.astype(int), columns.astype(int)), 1)
    around = counts[:-1, :-1] + counts[1:, :-1] + counts[:-1, 1:] + counts[1:, 1:]
    row, column = np.unravel_index(int(np.argmax(around)), around.shape)
    left, top = x.min() + column * step, y.min() + row * step
    return table[(x >= left) & (x < left + edge_nm) & (y >= top) & (y < top + edge_nm)]


def ring_correlation(table: pd.DataFrame, frames: int, axes: str = "xy") -> Correlation | None:
    """Correlate two halves of the densest square, ring by ring (``xy``) or shell by shell (``xyz``).

    Parameters
    ----------
    table : DataFrame
        ``frame``, ``x_nm``, ``y_nm``, ``z``, ``sx_nm``, ``sy_nm``.
    frames : int
        Of the run.
    """
    part = _window(table, FRC_EDGE_NM if axes == "xy" else FSC_EDGE_NM)
    names = ["x_nm", "y_nm"] + (["z"] if axes == "xyz" else [])
    if axes == "xyz":
        middle = float(part["z"].median())
        part = part[(part["z"] - middle).abs() <= FSC_DEPTH_NM / 2]
    if len(part) < MIN_ROWS // 2:
        return None
    place = part[names].to_numpy(float)
    low, span = place.min(axis=0), np.ptp(place, axis=0) + 1e-6
    pixel = max(MIN_PIXEL_NM, float(part[["sx_nm", "sy_nm"]].median().mean()) / PIXELS_PER_PRECISION)
    if axes == "xy":
        pixel = max(pixel, float(span.max()) / FRC_MAX_PX)
    else:
        pixel = max(pixel, float((span.prod() / FSC_MAX_VOXELS) ** (1 / 3)))
    first, block = alternating_halves(part["frame"].to_numpy(np.int64), frames)
    if first.all() or not first.any():
        return None
    return fourier_correlation(place - low, span, pixel, first, block)


def measure(table: pd.DataFrame, frames: int, *, seed: int = 0) -> tuple[dict[str, Any], dict[str, Correlation]]:
    """All figures of resolution, and the curves behind them.

    Parameters
    ----------
    table : DataFrame
        As `tables.in_nm` gives it.
    """
    lateral = float(table[["sx_nm", "sy_nm"]].median().mean())
    result: dict[str, Any] = {}
    for axis in [name for name in AXES if name != "z" or "z" in table]:
        sigma = table[{"x": "sx_nm", "y": "sy_nm", "z": "lpz"}[axis]]
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
    overwrite: bool = False,
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
        out = check_output(Path(out), overwrite=overwrite)
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
        with whole_or_nothing(out, overwrite=overwrite) as draft:
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
        return float(picasso("postprocess").nena(table[["frame", "x", "y", "lpx", "lpy"]], info)[1]) * pixel
    except (RuntimeError, ValueError, IndexError):
        return None


def draw_resolution(path: Path, table: pd.DataFrame, result: dict[str, Any], curves: dict[str, Correlation]) -> None:
    """Draw the correlation curves with their 95 % limits, and the distributions of precision."""
    colours = {"FRC, xy": "#000000", "FSC, all directions": "#767676", "FSC around x": "#0072b2",
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
            per_um = 1000 * curve.frequency
            left.plot(per_um, smooth, color=colours[name], label=label, lw=1.4)
            left.fill_between(
                per_um, smooth - 1.96 * sigma, smooth + 1.96 * sigma, color=colours[name], alpha=0.12, lw=0
            )
        left.axhline(1 / 7, color="#999999", ls="--", lw=0.9)
        left.set(
            xlabel="spatial frequency (per µm)", ylabel="correlation of the halves", ylim=(-0.15, 1.05), xlim=(0, None)
        )
        left.legend(frameon=False, fontsize=8.5)
        left.set_title("dashed: 1/7; bands: 95 %", fontsize=9.5)
        for axis, column in (("x", "sx_nm"), ("y", "sy_nm"), ("z", "lpz")):
            if column in table:
                top = float(np.percentile(table[["sx_nm", "sy_nm", *(["lpz"] if "lpz" in table else [])]], 98))
                told = result.get(f"nena_{axis}_nm")
                words = f"{axis}: median {table[column].median():.1f} nm" + (f", NeNA {told:.1f}" if told else "")
                right.hist(table[column], bins=np.linspace(0, top, 70), histtype="step", lw=1.5, density=True, label=words,
                           color=colours[f"FSC around {axis}"])  # fmt: skip
        right.set(xlabel="uncertainty of a localisation (nm)", yticks=[], ylabel="density")
        right.legend(frameon=False, fontsize=8.5)
        right.set_title(
            f"{result['local_density_per_um2']:,.0f} localisations per µm² where there are any", fontsize=9.5
        )
