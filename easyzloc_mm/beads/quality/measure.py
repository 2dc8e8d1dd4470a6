"""Measures of one bead's ROI: brightness, background, centre, focus by sharpness, and its registered stack."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from easyzloc_mm.beads.alignment.registered import RegisteredStack
from easyzloc_mm.beads.alignment.sharpness import sharpness_focus, spacing_of
from easyzloc_mm.beads.detection.form import PsfForm
from easyzloc_mm.beads.quality.profiles import fit_axial, fit_lateral
from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.psf.registration import (
    CENTRE_SIGMA_PX,
    noise_kept,
    register,
    rim_background,
    weighted_centre,
)
from easyzloc_mm.typing import F64, U16

IN_FOCUS_NM = 60.0
"""Planes this near to the sharpest one make the image in focus."""
CORE_PX = 4
"""To either side of a bead that is one spot: where its light is looked for."""
KEPT_NM = 1300.0
"""Planes farther from focus are not used."""
PROFILE_STEP_NM, PROFILE_RANGE_NM = 40.0, 1000.0


@dataclass(frozen=True)
class Bead:
    """One candidate, measured.

    Attributes
    ----------
    stack : RegisteredStack
        Planes within `KEPT_NM` of the sharpest.
    x, y : float
        Centre in focus, pixels of the ROI.
    sharpness_nm : float
        Stage position of the focus by sharpness; NaN where it is outside the stack.
    photons, background, snr : float
        Of one plane in focus, all its frames together: photons in the ROI, photons per pixel, peak over its noise.
    saturated : int
        Pixels at the camera's upper end, over all planes.
    """

    stack: RegisteredStack
    x: float
    y: float
    sharpness_nm: float
    photons: float
    background: float
    snr: float
    saturated: int


def measure_bead(
    roi: U16,
    stage_nm: F64,
    centre: tuple[float, float],
    place: tuple[float, float],
    response: CameraResponse,
    full_scale_adu: int,
    lateral_shift: tuple[float, float] = (0.0, 0.0),
    form: PsfForm | None = None,
) -> Bead:
    """Measure one bead.

    Parameters
    ----------
    roi : ndarray, shape (P, R, R), uint16
        ADU.
    stage_nm : ndarray, shape (P,)
        Rising.
    centre : (float, float)
        Where the bead is to be found, x and y in pixels of the ROI.
    place : (float, float)
        Place in the field, -1..1.
    response : CameraResponse
        Of the planes (`camera_response.of_averaged`).
    full_scale_adu : int
        The camera's upper end.
    lateral_shift : (float, float)
        Common lateral shift of the stack along x and y, pixels per um, that registration takes out.
    form : PsfForm, optional
        What the beads look like; spots without it.
    """
    form = form or PsfForm()
    half = CORE_PX if form.lobes_px is None else form.crop_px // 2
    camera = response.effective()
    photons = (roi.astype(np.float32) - np.float32(camera.baseline_adu)) * np.float32(camera.electrons_per_adu)
    column, row = (int(np.clip(round(at), half, roi.shape[1] - 1 - half)) for at in centre)
    core = photons[:, row - half : row + half + 1, column - half : column + half + 1]
    core = core - np.median(photons, axis=(1, 2))[:, None, None]
    energy = np.sum(core * core - np.maximum(core, 0.0), axis=(1, 2))
    step = spacing_of(stage_nm)
    sharp = int(np.argmax(ndimage.gaussian_filter1d(energy, max(0.7, 40.0 / step))))
    near = np.abs(stage_nm - stage_nm[sharp]) <= max(IN_FOCUS_NM, 1.01 * step)
    image = photons[near].mean(axis=0)
    background = float(rim_background(image))
    spot = (image - background).astype(np.float64)
    kept = np.abs(stage_nm - stage_nm[sharp]) <= KEPT_NM
    # Where there are lobes, no image in focus says where the middle is (`beads.detection.form.registered`).
    x, y = weighted_centre(spot, *centre) if form.lobes_px is None else centre
    peak = float(spot[row - half : row + half + 1, column - half : column + half + 1].max())
    dark = max(background, 0.0) + camera.read_noise_e**2
    risen_um = (stage_nm[kept] - stage_nm[near].mean()) / 1000
    signal = photons[kept] - np.float32(background)
    path = (x + lateral_shift[0] * risen_um, y + lateral_shift[1] * risen_um) if any(lateral_shift) else (x, y)
    patches, left = register(signal, path[0], path[1], form.crop_px, even=True), noise_kept(*path)
    stack = RegisteredStack(patches, stage_nm[kept], *place, dark, left)
    focus = sharpness_focus(patches, stage_nm[kept], left)
    if sharp < 2 or sharp > len(stage_nm) - 3:
        focus = float("nan")
    return Bead(
        stack=stack,
        x=x,
        y=y,
        sharpness_nm=focus,
        photons=response.excess_noise * float(spot.sum()),
        background=response.excess_noise * background,
        snr=peak / float(np.sqrt(dark + max(peak, 0.0))),
        saturated=int(np.count_nonzero(roi >= full_scale_adu)) if roi.max() >= full_scale_adu else 0,
    )


def fit_profiles(beads: list[Bead], focus_nm: F64) -> dict[str, F64]:
    """Fit every bead's axial and lateral profile around its focus.

    Returns
    -------
    dict of ndarray, shape (n,)
        ``axial_misfit``, ``axial_width_nm``, ``lateral_misfit``, ``lateral_width_px``, ``lateral_length_px``; NaN
        where the focus is not known.
    """
    rows = np.flatnonzero(np.isfinite(focus_nm))
    names = ("axial_misfit", "axial_width_nm", "lateral_misfit", "lateral_width_px", "lateral_length_px")
    result = {name: np.full(len(beads), np.nan) for name in names}
    if not len(rows):
        return result
    grid = np.arange(-PROFILE_RANGE_NM, PROFILE_RANGE_NM + 1, PROFILE_STEP_NM)
    size = beads[0].stack.size_px
    offsets = np.arange(size) - size // 2
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None, :] ** 2) / (2 * CENTRE_SIGMA_PX**2)).ravel()
    profiles, profile_noise = np.full((2, len(rows), len(grid)), np.nan)
    images, image_noise = np.zeros((2, len(rows), size, size))
    for place, row in enumerate(rows):
        stack = beads[row].stack
        z_nm = stack.stage_nm - focus_nm[row]
        values = stack.patches @ window.astype(np.float32)
        variance = (np.maximum(stack.patches, 0) + stack.background) @ (window**2).astype(np.float32)
        cell = np.rint((z_nm - grid[0]) / PROFILE_STEP_NM).astype(int)
        inside = (cell >= 0) & (cell < len(grid))
        count = np.bincount(cell[inside], minlength=len(grid))
        with np.errstate(invalid="ignore", divide="ignore"):
            profiles[place] = np.bincount(cell[inside], values[inside], len(grid)) / count
            profile_noise[place] = np.sqrt(np.bincount(cell[inside], variance[inside], len(grid))) / count
        near = np.abs(z_nm) <= max(IN_FOCUS_NM, 1.01 * float(np.abs(z_nm).min()))
        images[place] = stack.patches[near].mean(axis=0).reshape(size, size)
        image_noise[place] = np.sqrt(
            stack.noise_kept * (np.maximum(images[place], 0) + stack.background) / np.count_nonzero(near)
        )
    axial, lateral = fit_axial(grid, profiles, profile_noise), fit_lateral(images, image_noise)
    found = (axial.residual, axial.width_nm, lateral.residual, lateral.width_px, lateral.length_px)
    for name, fitted in zip(names, found, strict=True):
        result[name][rows] = fitted
    return result
