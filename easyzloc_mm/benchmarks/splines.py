"""The strongest simple rivals: Picasso's cubic-spline MLE, with one spline for the whole field or one per tile."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.benchmarks.embedded import EmbeddedMolecules
from easyzloc_mm.network.inputs import ROI_PX
from easyzloc_mm.quiet import picasso
from easyzloc_mm.store.bead_set import BeadSet

Real = NDArray[np.float64]

PLANES_NM = np.arange(-1000.0, 1001.0, 50.0)
CELL_PX = 40
STARTS = 20
MIN_NET_GRADIENT = 3000.0
TILES = 3


def picasso_spline(beads: BeadSet, chosen: NDArray[np.integer]) -> dict[str, Any]:
    """Calibrate Picasso's spline on some beads, laid out as a movie with z = 0 of every bead in the middle plane."""
    columns = int(np.ceil(np.sqrt(len(chosen))))
    edge = beads.rois.shape[2]
    level = int(np.median(beads.rois[chosen][:, :, 0]))
    movie = np.full((len(PLANES_NM), columns * CELL_PX, columns * CELL_PX), level, np.uint16)
    for index, bead in enumerate(chosen):
        row, column = (CELL_PX * part + (CELL_PX - edge) // 2 for part in divmod(index, columns))
        planes = [int(np.nanargmin(np.abs(beads.z_nm[bead] - z))) for z in PLANES_NM]
        movie[:, row : row + edge, column : column + edge] = beads.rois[bead][planes]
    camera = {
        "Baseline": beads.units.baseline_adu,
        "Sensitivity": beads.units.electrons_per_adu,
        "Gain": 1,
        "Pixelsize": beads.pixel_size_nm,
    }
    info = [{"Frames": len(movie), "Height": movie.shape[1], "Width": movie.shape[2]}]
    step = float(PLANES_NM[1] - PLANES_NM[0])
    result: dict[str, Any] = picasso("spline").calibrate_spline(
        movie, info, camera, ROI_PX, MIN_NET_GRADIENT, step, magnification_factor=1.0
    )
    return result


def fit_picasso(
    molecules: EmbeddedMolecules, chosen: NDArray[np.integer], calibration: dict[str, Any]
) -> tuple[Real, Real]:
    """Z and its stated uncertainty (nm) of molecules, by Picasso's Poisson MLE with `STARTS` axial starts."""
    import pandas as pd

    localize = picasso("localize")
    spots = np.ascontiguousarray(molecules.crops[chosen])
    theta = localize.fit_spots_splinefit(spots, calibration, mle=True, n_z_starts=STARTS, multiprocess=False)
    where = pd.DataFrame({"frame": np.arange(len(spots)), "x": ROI_PX // 2, "y": ROI_PX // 2, "net_gradient": 1.0})
    table = localize.locs_from_fits_spline(where, theta, ROI_PX, False, calibration, mle=True).sort_values("frame")
    return table["z"].to_numpy(float), np.nan_to_num(table["lpz"].to_numpy(float), nan=1e3, posinf=1e3)


def tile_of(x: Real, y: Real, size: tuple[int, int]) -> NDArray[np.int64]:
    """Which tile of a 3x3 grid sensor positions lie in."""
    column, row = (
        np.clip(np.asarray(at) * TILES // edge, 0, TILES - 1).astype(np.int64)
        for at, edge in zip((x, y), size, strict=True)
    )
    return np.asarray(row * TILES + column)
