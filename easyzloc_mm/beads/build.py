"""Bead stacks to a bead data set: find, register, align, judge, label."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from easyzloc_mm.beads.align import RegisteredStack, align, register
from easyzloc_mm.beads.find import cut_rois, find_beads, nearest_neighbour_px, weighted_centre
from easyzloc_mm.beads.judge import misfit_limit, reasons
from easyzloc_mm.beads.regions import regions_by_pixels, regions_by_place
from easyzloc_mm.beads.units import estimate_units
from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.profile import CameraUnits
from easyzloc_mm.store.bead_set import BeadSet
from easyzloc_mm.store.bead_stacks import BeadStack, open_bead_stacks
from easyzloc_mm.store.bead_tiffs import read_roi_stacks

Progress = Callable[[str, float], None]
Real = NDArray[np.float64]

ROI_PX = 23
"""Room for the network's crop at any sub-pixel place, and for the interpolation around it."""
MIN_ROI_PX = 17
FOCUS_NM = 150.0
ROUNDS = 2


def build_bead_set(
    stacks: Sequence[BeadStack],
    units: CameraUnits,
    pixel_size_nm: float,
    *,
    progress: Progress | None = None,
) -> BeadSet:
    """Find, judge, align and label the beads of several fields of view.

    Parameters
    ----------
    stacks : sequence of BeadStack
        One per field of view.
    units : CameraUnits
        Of the camera that took them.
    pixel_size_nm : float
        Sample-plane pixel size.
    progress : callable, optional
        Given (message, fraction).

    Raises
    ------
    InputError
        The stacks differ in size, or no bead is found.
    """
    if len({stack.pixels.shape[1:] for stack in stacks}) > 1:
        raise InputError("the bead stacks differ in image size: give stacks of one camera setting")
    height, width = stacks[0].pixels.shape[1:]
    rois, places, stage, field = [], [], [], []
    for index, stack in enumerate(stacks):
        if progress:
            progress(f"finding beads, field {index + 1} of {len(stacks)}", 0.6 * index / len(stacks))
        z_nm = _stage_nm(stack)
        order = np.argsort(z_nm, kind="stable")
        volume = np.asarray(stack.pixels)[order]
        found = find_beads(volume, z_nm[order])
        cut, x0, y0, inside = cut_rois(volume, found.x, found.y, ROI_PX)
        rois.append(cut)
        places.append(
            pd.DataFrame(
                {
                    "x": found.x,
                    "y": found.y,
                    "x0": x0,
                    "y0": y0,
                    "edge": (~inside).astype(float),
                    "neighbour_px": nearest_neighbour_px(found.x, found.y),
                }
            )
        )
        stage += [z_nm[order]] * len(found.x)
        field += [index] * len(found.x)
    table = pd.concat(places, ignore_index=True)
    if table.empty:
        raise InputError("no bead was found in any stack: check focus, illumination and the bead slide")
    return _label(
        _same_length(rois),
        stage,
        table,
        np.array(field, np.int64),
        regions_by_place(np.array(field), table["x0"].to_numpy(), table["y0"].to_numpy(), ROI_PX),
        units,
        pixel_size_nm,
        (width, height),
        field_known=True,
        sources=tuple(sorted({stack.source.name for stack in stacks})),
        progress=progress,
    )


def bead_set_from_rois(
    rois: NDArray[np.uint16],
    units: CameraUnits,
    pixel_size_nm: float,
    z_step_nm: float,
    *,
    source: str = "",
    progress: Progress | None = None,
) -> BeadSet:
    """Judge, align and label ready-cut ROIs, whose place in the field nobody knows.

    Parameters
    ----------
    rois : ndarray, shape (n, P, R, R), uint16
        One bead per ROI, near its middle, through focus.
    z_step_nm : float
        Distance of the planes.

    Raises
    ------
    InputError
        The ROIs are smaller than the network's crop needs.
    """
    count, planes, rows, columns = rois.shape
    if rows != columns or rows < MIN_ROI_PX:
        raise InputError(f"the ROIs are {rows} x {columns} px: square ones of {MIN_ROI_PX} px or more are needed")
    middle = (rows - 1) / 2
    centres = np.empty((count, 2))
    for index, roi in enumerate(rois):
        sharp = int(np.argmax(roi.max(axis=(1, 2))))
        image = roi[max(0, sharp - 1) : sharp + 2].mean(axis=0)
        centres[index] = weighted_centre(image - np.median(image), middle, middle)
    table = pd.DataFrame({"x": centres[:, 0], "y": centres[:, 1], "x0": 0, "y0": 0, "edge": 0.0})
    table["neighbour_px"] = np.inf
    return _label(
        rois,
        [z_step_nm * np.arange(planes, dtype=float)] * count,
        table,
        np.zeros(count, np.int64),
        regions_by_pixels(rois),
        units,
        pixel_size_nm,
        (columns, rows),
        field_known=False,
        sources=(source,) if source else (),
        progress=progress,
    )


def beads_from_sources(
    sources: Sequence[Path],
    *,
    rois: bool = False,
    pixel_size_nm: float | None = None,
    z_step_nm: float | None = None,
    baseline_adu: float | None = None,
    electrons_per_adu: float | None = None,
    progress: Progress | None = None,
) -> BeadSet:
    """Build a bead data set from files: bead stacks, or one file of ready-cut ROIs.

    Camera units come from the arguments, else from the files; what neither says is estimated, with a warning.

    Raises
    ------
    InputError
        A source is missing or is not what it should be.
    """
    if rois:
        if len(sources) != 1:
            raise InputError("--rois takes one file of ROI stacks (n,z,y,x): give one source")
        if pixel_size_nm is None or z_step_nm is None:
            raise InputError("ready-cut ROIs do not say their sampling: give --pixel-size-nm and --z-step-nm")
        stacks_of_rois = read_roi_stacks(sources[0])
        units = _units(None, [stacks_of_rois], baseline_adu, electrons_per_adu)
        return bead_set_from_rois(
            stacks_of_rois, units, pixel_size_nm, z_step_nm, source=Path(sources[0]).name, progress=progress
        )
    stacks = [
        stack
        for source in sources
        for stack in open_bead_stacks(source, z_step_nm=z_step_nm, pixel_size_nm=pixel_size_nm)
    ]
    sizes = {stack.pixel_size_nm for stack in stacks}
    if len(sizes) > 1:
        raise InputError(f"the sources have different pixel sizes ({sorted(sizes)} nm): give --pixel-size-nm")
    known = next((stack.units for stack in stacks if stack.units is not None), None)
    samples = [] if known else [np.asarray(stack.pixels[:, ::2, ::2])[None] for stack in stacks[:3]]
    units = _units(known, samples, baseline_adu, electrons_per_adu)
    return build_bead_set(stacks, units, sizes.pop(), progress=progress)


def count_reasons(beads: BeadSet) -> dict[str, int]:
    """Reason to count of the rejected beads, the most frequent first."""
    return dict(Counter(reason for reason in beads.reason if reason).most_common())


def _units(
    known: CameraUnits | None,
    samples: list[NDArray[np.uint16]],
    baseline_adu: float | None,
    electrons_per_adu: float | None,
) -> CameraUnits:
    given = {
        key: value
        for key, value in (("baseline_adu", baseline_adu), ("electrons_per_adu", electrons_per_adu))
        if value is not None
    }
    if known is not None:
        return known.model_copy(update=given)
    units = estimate_units(samples[0], baseline_adu=baseline_adu, electrons_per_adu=electrons_per_adu)
    if units.estimated:
        warnings.warn(
            f"camera units are GUESSED from the beads (baseline {units.baseline_adu:.0f} ADU, "
            f"{units.electrons_per_adu:.2f} electrons per ADU): photons and z uncertainties depend on them; measure "
            "them and give --baseline-adu and --electrons-per-adu",
            EasyZlocWarning,
            stacklevel=3,
        )
    return units


def _stage_nm(stack: BeadStack) -> Real:
    measured = stack.planes["measured_z_um"].to_numpy(float)
    requested = stack.planes["requested_z_um"].to_numpy(float)
    return 1000 * np.where(np.isfinite(measured), measured, requested)


def _same_length(parts: list[NDArray[np.uint16]]) -> NDArray[np.uint16]:
    planes = max(part.shape[1] for part in parts)
    return np.concatenate([np.pad(part, ((0, 0), (0, planes - part.shape[1]), (0, 0), (0, 0))) for part in parts])


def _label(
    rois: NDArray[np.uint16],
    stage: list[Real],
    table: pd.DataFrame,
    stack: NDArray[np.int64],
    region: NDArray[np.int64],
    units: CameraUnits,
    pixel_size_nm: float,
    field_size_px: tuple[int, int],
    *,
    field_known: bool,
    sources: tuple[str, ...],
    progress: Progress | None,
) -> BeadSet:
    count = len(table)
    centre = np.stack([table["x"] - table["x0"], table["y"] - table["y0"]], axis=1).astype(float)
    half = np.array([max(field_size_px[0], 2) / 2, max(field_size_px[1], 2) / 2])
    registered: list[RegisteredStack] = []
    table["snr"], table["photons"], table["background"], table["saturated"] = 0.0, 0.0, 0.0, 0.0
    facts = np.zeros((count, 4))
    for index in range(count):
        planes = len(stage[index])
        photons = (rois[index, :planes].astype(np.float32) - units.baseline_adu) * np.float32(units.electrons_per_adu)
        signal, facts[index], centre[index] = _measure(photons, centre[index], units)
        facts[index, 3] = float(rois[index, :planes].max() >= np.iinfo(np.uint16).max)
        place = (table["x"].iloc[index], table["y"].iloc[index]) / half - 1
        registered.append(RegisteredStack(register(signal, *centre[index]), stage[index], *map(float, place)))
        if progress and index % 50 == 0:
            progress("measuring beads", 0.6 + 0.2 * index / count)
    table[["snr", "photons", "background", "saturated"]] = facts
    table["focus_um"] = 0.0
    suspects = np.array([bool(reason) for reason in reasons(table, final=False)])
    for round_number in range(ROUNDS):
        if progress:
            progress("aligning beads", 0.8 + 0.1 * round_number)
        aligned = align(registered, field_known=field_known, suspects=suspects, robust=round_number == 0)
        table["focus_um"], table["misfit"] = aligned.focus_nm / 1000, aligned.misfit
        verdict = reasons(table, final=True)
        suspects = np.array([bool(reason) for reason in verdict])
    table["misfit_limit"] = misfit_limit(aligned.misfit[~suspects])
    table["sharpness_shift_nm"] = aligned.sharpness_shift_nm
    z_nm = np.full((count, rois.shape[1]), np.nan, np.float32)
    for index, positions in enumerate(stage):
        z_nm[index, : len(positions)] = positions - aligned.focus_nm[index]
    return BeadSet(
        rois=rois,
        z_nm=z_nm,
        x=table["x0"].to_numpy(float) + centre[:, 0],
        y=table["y0"].to_numpy(float) + centre[:, 1],
        roi_x0=table["x0"].to_numpy(np.int64),
        roi_y0=table["y0"].to_numpy(np.int64),
        stack=stack,
        region=region,
        accepted=~suspects,
        reason=verdict,
        units=units,
        pixel_size_nm=pixel_size_nm,
        field_size_px=field_size_px,
        field_known=field_known,
        sources=sources,
        measures=table.drop(columns=["x", "y", "x0", "y0"]),
    )


def _measure(photons: NDArray[np.float32], centre: Real, units: CameraUnits) -> tuple[NDArray[np.float32], Real, Real]:
    """Subtract the background; give (snr, photons, background, 0) in focus, and the centre there."""
    middle = slice(photons.shape[1] // 2 - 4, photons.shape[1] // 2 + 5)
    energy = np.sum((photons[:, middle, middle] - np.median(photons, axis=(1, 2))[:, None, None]) ** 2, axis=(1, 2))
    sharp = int(np.argmax(energy))
    low, high = max(0, sharp - 1), sharp + 2
    image = photons[low:high].mean(axis=0)
    rim = np.concatenate([image[0], image[-1], image[1:-1, 0], image[1:-1, -1]])
    background = float(np.median(rim))
    signal = photons - np.float32(background)
    x, y = weighted_centre((image - background).astype(np.float64), *centre)
    total = float(np.sum(image - background))
    peak = float(np.max((image - background)[middle, middle]))
    noise = np.sqrt(max(background, 0.0) + max(peak, 0.0) + units.read_noise_e**2)
    return signal, np.array([peak / noise, total, background, 0.0]), np.array([x, y])
