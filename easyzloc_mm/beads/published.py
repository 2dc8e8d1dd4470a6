"""The published rules of judging and aligning beads, side by side with ours.

From the authors' code (thresholds) and the paper's section 2.2 (a reference bead per field of view): signal against
the mean, half maximum crossed twice along z, a skewed Gaussian along z, no plateau at the top, distance of neighbours
and of the edge. The published limit of the lateral fit (mean squared error 5000 on an image scaled to 1) rejects
nothing, so there is no such fit here. Labels: the shift, in whole planes and around the ends of the stack, of least
mean squared difference between min-max-scaled stacks of a bead and of the accepted bead nearest to the middle of its
field, whose own zero is its sharpest plane. Detection is ours: what was found is judged by both sets of rules.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from easyzloc_mm.beads.detection.candidates import Candidates
from easyzloc_mm.beads.quality.profiles import fit_axial
from easyzloc_mm.typing import F32, F64, Bool

BOX_PX = 15
MIN_NEIGHBOUR_PX = 0.8 * np.sqrt(2) * BOX_PX
EDGE_PX = 10.0
MIN_SNR = 2.0
MAX_MSE, MAX_ERROR = 0.02, 0.1
PLATEAU_NM = 250.0
SHIFT_PART = 4
"""The shift is sought within a quarter of the stack."""
SMOOTH_PLANES = 3.0


def paper_rules(candidates: Candidates, sharpness_nm: F64) -> tuple[F64, tuple[str, ...], dict[str, F64]]:
    """Judge and label by the published rules.

    Parameters
    ----------
    candidates : Candidates
    sharpness_nm : ndarray, shape (n,)
        Stage position of each bead's own sharpest plane.

    Returns
    -------
    focus_nm : ndarray, shape (n,)
    reason : tuple of str
    measures : dict of ndarray
        ``paper_snr``, ``paper_mse``, ``paper_max_error``, ``plateau_nm``, ``neighbour_px`` (Euclidean).
    """
    count = len(candidates.x)
    crops = [_scaled_crop(candidates, index) for index in range(count)]
    measures = {name: np.full(count, np.nan) for name in ("paper_snr", "paper_mse", "paper_max_error", "plateau_nm")}
    verdict = np.full(count, "", dtype=object)

    def reject(index: int, reason: str) -> None:
        verdict[index] = verdict[index] or reason

    distance = _distances(candidates)
    width, height = candidates.field_size_px
    for index, (crop, raw_snr) in enumerate(crops):
        stage = candidates.stage_nm[index]
        step = float(np.ptp(stage)) / max(len(stage) - 1, 1)
        x, y = candidates.x[index], candidates.y[index]
        if candidates.field_known and min(x, y, width - 1 - x, height - 1 - y) < EDGE_PX:
            reject(index, "edge")
        if distance[index] < MIN_NEIGHBOUR_PX:
            reject(index, "neighbour")
        measures["paper_snr"][index] = raw_snr
        if raw_snr < MIN_SNR:
            reject(index, "faint")
        top = ndimage.gaussian_filter1d(crop.max(axis=1).astype(float), SMOOTH_PLANES)
        top = (top - top.min()) / max(float(np.ptp(top)), 1e-9)
        if np.count_nonzero(np.diff((top > 0.5).astype(int))) != 2:
            reject(index, "axial profile")
        measures["plateau_nm"][index] = step * np.count_nonzero(crop.max(axis=1) >= crop.max())
        if measures["plateau_nm"][index] >= PLATEAU_NM:
            reject(index, "saturated")
        fit = fit_axial(stage - float(stage.mean()), top[None], np.zeros((1, len(top))))
        measures["paper_mse"][index] = float(fit.residual[0]) ** 2
        measures["paper_max_error"][index] = float(fit.largest[0])
        if measures["paper_mse"][index] > MAX_MSE or measures["paper_max_error"][index] > MAX_ERROR:
            reject(index, "axial profile")
        if not np.isfinite(sharpness_nm[index]):
            reject(index, "focus outside the stack")
    focus = _align(candidates, [crop for crop, _ in crops], verdict == "", sharpness_nm)
    return focus, tuple(str(why) for why in verdict), {**measures, "neighbour_px": distance}


def _scaled_crop(candidates: Candidates, index: int) -> tuple[F32, float]:
    """15x15 pixels at the rounded centre through the stack, scaled to 0..1, and peak over mean before scaling."""
    stage = candidates.stage_nm[index]
    roi = candidates.rois[index, : len(stage)]
    half, size = BOX_PX // 2, roi.shape[1]
    column = int(np.clip(round(candidates.x[index] - candidates.x0[index]), half, size - 1 - half))
    row = int(np.clip(round(candidates.y[index] - candidates.y0[index]), half, size - 1 - half))
    crop = roi[:, row - half : row + half + 1, column - half : column + half + 1].reshape(len(stage), -1)
    crop = crop.astype(np.float32)
    snr = float(crop.max()) / max(float(crop.mean()), 1e-9)
    return (crop - crop.min()) / max(float(np.ptp(crop)), 1e-9), snr


def _distances(candidates: Candidates) -> F64:
    distance = np.full(len(candidates.x), np.inf)
    if not candidates.field_known:
        return distance
    for stack in np.unique(candidates.stack):
        own = np.flatnonzero(candidates.stack == stack)
        gap = np.hypot(
            candidates.x[own, None] - candidates.x[None, own], candidates.y[own, None] - candidates.y[None, own]
        )
        np.fill_diagonal(gap, np.inf)
        distance[own] = gap.min(axis=1, initial=np.inf)
    return distance


def _align(candidates: Candidates, crops: list[F32], accepted: Bool, sharpness_nm: F64) -> F64:
    focus = np.full(len(crops), np.nan)
    middle = np.array(candidates.field_size_px) / 2
    for stack in np.unique(candidates.stack):
        own = np.flatnonzero(candidates.stack == stack)
        usable = own[accepted[own]]
        if not len(usable):
            continue
        away = np.hypot(candidates.x[usable] - middle[0], candidates.y[usable] - middle[1])
        reference = usable[int(np.argmin(away))] if candidates.field_known else usable[0]
        spectrum = np.fft.rfft(crops[reference], axis=0).conj()
        stage = candidates.stage_nm[reference]
        planes = len(stage)
        step = float(np.ptp(stage)) / (planes - 1)
        shifts = np.arange(-(planes // SHIFT_PART), planes // SHIFT_PART + 1)
        for index in own:
            if len(crops[index]) != planes:
                continue
            # The mean squared difference is least where the circular correlation is greatest.
            likeness = np.fft.irfft((np.fft.rfft(crops[index], axis=0) * spectrum).sum(axis=1), planes)
            focus[index] = sharpness_nm[reference] + step * shifts[int(np.argmax(likeness[shifts % planes]))]
    return focus
