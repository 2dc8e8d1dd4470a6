"""The strongest simple rivals: Picasso's cubic-spline MLE, with one spline for the whole field or one per tile."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from easyzloc_mm._picasso import picasso
from easyzloc_mm.camera.crops import ROI_PX, crop_photons
from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.io.beads.dataset import BeadDataset
from easyzloc_mm.typing import F32, F64, I64, U16

PLANES_NM = np.arange(-1000.0, 1001.0, 50.0)
CELL_PX = 41
BOX_PX = 7
"""Of Picasso's identification: its default."""
STARTS = 20
MIN_NET_GRADIENT = 3000.0
PEAK_ADU = 40000.0
"""The mean bead is written this bright: Picasso scales its template anyway, and rounding must not show."""
TILES = 3


def picasso_spline(beads: BeadDataset, chosen: NDArray[np.integer]) -> dict[str, Any]:
    """Calibrate Picasso's spline on the mean of some beads, z = 0 in the middle plane of its movie.

    Picasso registers beads by interpolating their cross-correlation twentyfold, which takes 6 s a bead. Their centres
    and labels are known here, so they are registered first, and Picasso is given their mean: as many beads as
    there are cost no more than one, and the rival gets the best template that they can give.
    """
    mean = mean_bead(beads, chosen)
    edge = mean.shape[1]
    movie = np.full((len(PLANES_NM), CELL_PX, CELL_PX), float(np.median(mean[:, 0])))
    corner = (CELL_PX - edge) // 2
    movie[:, corner : corner + edge, corner : corner + edge] = mean
    baseline = 100.0
    camera = {"Baseline": baseline, "Sensitivity": 1.0, "Gain": 1, "Pixelsize": beads.pixel_size_nm}
    info = [{"Frames": len(movie), "Height": CELL_PX, "Width": CELL_PX}]
    adu = np.rint(np.clip(movie * (PEAK_ADU / mean.max()) + baseline, 0, 65535)).astype(np.uint16)
    step = float(PLANES_NM[1] - PLANES_NM[0])
    result: dict[str, Any] = picasso("spline").calibrate_spline(
        adu, info, camera, ROI_PX, MIN_NET_GRADIENT, step, magnification_factor=1.0
    )
    return result


def mean_bead(beads: BeadDataset, chosen: NDArray[np.integer]) -> F64:
    """Mean of beads at `PLANES_NM`, each shifted to the middle pixel of its ROI; photons, the brightest plane's near 1.

    Returns
    -------
    ndarray, shape (planes, R, R)
    """
    from scipy import ndimage

    middle = beads.rois.shape[2] // 2
    total = np.zeros((len(PLANES_NM), *beads.rois.shape[2:]))
    for bead in chosen:
        planes = [int(np.nanargmin(np.abs(beads.z_nm[bead] - z))) for z in PLANES_NM]
        photons = beads.rois[bead][planes].astype(float) - beads.response.baseline_adu
        photons -= np.median(photons[:, 0])
        photons /= beads.light[bead][planes][:, None, None]
        shift = middle - (beads.y[bead] - beads.roi_y0[bead]), middle - (beads.x[bead] - beads.roi_x0[bead])
        moved = ndimage.shift(photons, (0.0, *shift), order=3, mode="nearest")
        total += moved / moved.sum(axis=(1, 2)).max()
    return total / len(chosen)


def fit_picasso(crops: F32, calibration: dict[str, Any]) -> tuple[F64, F64]:
    """Z and its stated uncertainty (nm) of crops in photons, by Picasso's Poisson MLE with `STARTS` axial starts."""
    where = pd.DataFrame({"frame": np.arange(len(crops)), "x": ROI_PX // 2, "y": ROI_PX // 2, "net_gradient": 1.0})
    table = _picasso_table(crops, where, calibration).sort_values("frame")
    return table["z"].to_numpy(float), table["lpz"].to_numpy(float)


def _picasso_table(crops: F32, where: pd.DataFrame, calibration: dict[str, Any]) -> pd.DataFrame:
    localize = picasso("localize")
    theta = localize.fit_spots_splinefit(np.ascontiguousarray(crops), calibration, mle=True, n_z_starts=STARTS)
    table: pd.DataFrame = localize.locs_from_fits_spline(where, theta, ROI_PX, False, calibration, mle=True)
    # Picasso counts z against the stage: a molecule that looks like a bead with the stage raised lies lower.
    lpz = np.nan_to_num(table["lpz"].to_numpy(float), nan=1e3, posinf=1e3)
    return table.assign(z=-table["z"], lpz=lpz)


def localize_picasso(
    frames: U16, response: CameraResponse, calibration: dict[str, Any], min_net_gradient: float
) -> pd.DataFrame:
    """Picasso's own way from frames to a table: its identification, and its spline MLE of what that finds.

    Returns
    -------
    DataFrame
        ``frame``, ``x``, ``y`` (px), ``z``, ``lpz`` (nm), ``photons``, ``net_gradient``; fits that left the frame or
        did not converge are dropped, as Picasso drops them.
    """
    identify = picasso("localize").identify_in_frame
    found = []
    for number, frame in enumerate(frames):
        rows, columns, gradient = identify(frame, min_net_gradient, BOX_PX)
        found.append(pd.DataFrame({"frame": number, "x": columns, "y": rows, "net_gradient": gradient}))
    where = pd.concat(found, ignore_index=True)
    inside = where["x"].between(ROI_PX // 2, frames.shape[2] - ROI_PX // 2 - 1)
    inside &= where["y"].between(ROI_PX // 2, frames.shape[1] - ROI_PX // 2 - 1)
    where = where[inside].reset_index(drop=True)
    frame, x, y = (where[name].to_numpy() for name in ("frame", "x", "y"))
    crops = crop_photons(frames, frame, x, y, response, ROI_PX)
    table = _picasso_table(crops, where, calibration)
    finite = np.isfinite(table[["x", "y", "z", "photons"]].to_numpy(float)).all(axis=1)
    kept: pd.DataFrame = table[finite].reset_index(drop=True)
    return kept


def tile_of(x: F64, y: F64, size: tuple[int, int]) -> I64:
    """Which tile of a 3x3 grid sensor positions lie in."""
    column, row = (
        np.clip(np.asarray(at) * TILES // edge, 0, TILES - 1).astype(np.int64)
        for at, edge in zip((x, y), size, strict=True)
    )
    return np.asarray(row * TILES + column)
