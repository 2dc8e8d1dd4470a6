"""Bead stacks to a bead data set: find, measure, align, judge, label."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from easyzloc_mm.beads.checks import (
    check_directions,
    check_light,
    check_stacks,
    check_verdict,
    name_of,
    stage_nm,
)
from easyzloc_mm.beads.find import cut_rois, find_beads, look_through, other_in_roi, roi_corners
from easyzloc_mm.beads.judge import Rules
from easyzloc_mm.beads.label import Candidates, Labelled, depth_profiles, label, measure
from easyzloc_mm.beads.light import relative_light
from easyzloc_mm.beads.measure import Bead
from easyzloc_mm.beads.regions import regions_by_pixels, regions_by_place
from easyzloc_mm.beads.registration import weighted_centre
from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.profile import CameraUnits
from easyzloc_mm.quiet import picasso
from easyzloc_mm.store.bead_set import BeadSet
from easyzloc_mm.store.bead_stacks import BeadStack

Progress = Callable[[str, float], None]
Real = NDArray[np.float64]

ROI_PX = 23
"""Room for the network's crop at any sub-pixel place, and for the interpolation around it."""
MIN_ROI_PX = 17
MOST_SIDE_BY_SIDE = 4
"""Stacks surveyed at a time: each holds its slabs in memory."""
FULL_SCALES = (255, 1023, 4095, 16383, 65535)
FOCUS_DISPUTE_NM = 300.0
"""The paper's plane of the brightest pixel may differ from ours by so much without a word."""


def build_bead_set(
    stacks: Sequence[BeadStack],
    units: CameraUnits,
    pixel_size_nm: float,
    *,
    rules: Rules = Rules.DEFAULT,
    progress: Progress | None = None,
) -> BeadSet:
    """Find, judge, align and label the beads of several fields of view.

    Parameters
    ----------
    stacks : sequence of BeadStack
        One per field of view; planes are read as they are needed.
    units : CameraUnits
        Of the camera that took them.
    pixel_size_nm : float
        Sample-plane pixel size.
    rules : Rules
        Whose rules decide and label.
    progress : callable, optional
        Given (message, fraction).

    Raises
    ------
    InputError
        The stacks cannot give a calibration (`checks`), or no bead is found or accepted.
    """
    check_stacks(stacks)
    height, width = stacks[0].pixels.shape[1:]
    tell = progress or (lambda _message, _fraction: None)
    parts: list[pd.DataFrame] = []
    rois, stage, facts = [], [], []
    picasso("localize")  # an import that two threads begin at once fails
    # Reading, filtering and cutting leave the interpreter free: stacks are surveyed side by side.
    with ThreadPoolExecutor(min(os.cpu_count() or 1, MOST_SIDE_BY_SIDE)) as pool:
        for index, (cut, z_nm, part, fact) in enumerate(pool.map(_survey, stacks)):
            tell(f"finding beads: field {index + 1} of {len(stacks)}", 0.5 * (index + 1) / len(stacks))
            rois.append(cut)
            stage += [z_nm] * len(cut)
            parts.append(part.assign(stack=index))
            facts.append(fact)
    table = pd.concat(parts, ignore_index=True)
    if table.empty:
        raise InputError("no bead was found in any stack: check focus, illumination and the bead slide")
    candidates = Candidates(
        rois=_same_length(rois),
        stage_nm=stage,
        **{name: table[name].to_numpy() for name in table.columns},
        field_size_px=(width, height),
        field_known=True,
        units=units,
        full_scale_adu=max(fact["full_scale_adu"] for fact in facts),
    )
    del rois
    beads = measure(candidates, lambda message, part: tell(message, 0.5 + 0.2 * part))
    plain = (candidates.neighbour_px > ROI_PX / 2) & ~candidates.edge
    profiles = (
        depth_profiles([bead for bead, alone in zip(beads, plain, strict=True) if alone]) if plain.any() else None
    )
    if profiles is not None:
        check_directions(stacks, candidates.stack[plain], profiles)
    labelled = label(candidates, beads, rules=rules, progress=lambda message, part: tell(message, 0.7 + 0.3 * part))
    check_verdict(labelled.reason)
    return _bead_set(
        candidates,
        beads,
        labelled,
        regions_by_place(candidates.stack, candidates.x0, candidates.y0, ROI_PX),
        pixel_size_nm,
        tuple(sorted({stack.source.name for stack in stacks})),
        facts,
    )


def _survey(stack: BeadStack) -> tuple[NDArray[np.uint16], Real, pd.DataFrame, dict[str, Any]]:
    """Find and cut the candidates of one stack: ROIs, stage positions, candidates, and facts about the stack."""
    height, width = stack.pixels.shape[1:]
    taken_nm = stage_nm(stack)
    order = np.argsort(taken_nm, kind="stable")
    z_nm = taken_nm[order]
    overview = look_through(stack.pixels, order, z_nm)
    full_scale = stack.full_scale_adu or _full_scale(float(overview.brightest.max()))
    check_light(stack, overview.brightest, full_scale)
    focus_nm, paper_nm = (float(taken_nm[plane]) for plane in (overview.focus, overview.paper_focus))
    if abs(focus_nm - paper_nm) > FOCUS_DISPUTE_NM:
        warnings.warn(
            f"{name_of(stack)}: its brightest pixel is in another plane ({paper_nm / 1000:.2f} um) than its "
            f"focus ({focus_nm / 1000:.2f} um): a hot pixel or dirt; the focus is used",
            EasyZlocWarning,
            stacklevel=2,
        )
    found = find_beads(overview, focus_nm)
    if not len(found.x):
        warnings.warn(f"{name_of(stack)}: no bead was found", EasyZlocWarning, stacklevel=2)
    x0, y0 = roi_corners(found.x, found.y, ROI_PX)
    inside = (x0 >= 0) & (y0 >= 0) & (x0 + ROI_PX <= width) & (y0 + ROI_PX <= height)
    candidates = pd.DataFrame(
        {
            "x": found.x,
            "y": found.y,
            "x0": x0,
            "y0": y0,
            "edge": ~inside,
            "neighbour_px": found.neighbour_px,
            "neighbour_nm": found.neighbour_nm,
        }
    )
    facts = {
        "source": stack.source.name,
        "fov": stack.fov,
        "planes": len(z_nm),
        "z_from_um": z_nm[0] / 1000,
        "z_to_um": z_nm[-1] / 1000,
        "focus_um": focus_nm / 1000,
        "paper_focus_um": paper_nm / 1000,
        "threshold_adu": found.threshold,
        "found": len(found.x),
        "full_scale_adu": full_scale,
        "fading_per_um": np.nan if stack.fading_per_um is None else stack.fading_per_um,
    }
    return cut_rois(stack.pixels, order, x0, y0, ROI_PX), z_nm, candidates, facts


def bead_set_from_rois(
    rois: NDArray[np.uint16],
    units: CameraUnits,
    pixel_size_nm: float,
    z_step_nm: float,
    *,
    source: str = "",
    rules: Rules = Rules.DEFAULT,
    progress: Progress | None = None,
) -> BeadSet:
    """Judge, align and label ready-cut ROIs, whose place in the field nobody knows.

    Parameters
    ----------
    rois : ndarray, shape (n, P, R, R), uint16
        One bead per ROI, near its middle, through focus.
    z_step_nm : float
        Distance of the planes; negative where the stage went down.

    Raises
    ------
    InputError
        The ROIs are smaller than the network's crop needs, or no bead is accepted.
    """
    count, planes, rows, columns = rois.shape
    if rows != columns or rows < MIN_ROI_PX:
        raise InputError(f"the ROIs are {rows} x {columns} px: square ones of {MIN_ROI_PX} px or more are needed")
    if z_step_nm < 0:
        rois, z_step_nm = rois[:, ::-1], -z_step_nm
    tell = progress or (lambda _message, _fraction: None)
    middle = (rows - 1) / 2
    centres, neighbour = np.empty((count, 2)), np.empty((count, 2))
    for index, roi in enumerate(rois):
        tell(f"finding neighbours: {index + 1} of {count}", 0.3 * index / count)
        centres[index] = _roi_centre(roi, middle)
        neighbour[index] = other_in_roi(roi, centres[index], z_step_nm)
    candidates = Candidates(
        rois=rois,
        stage_nm=[z_step_nm * np.arange(planes, dtype=float)] * count,
        x=centres[:, 0],
        y=centres[:, 1],
        x0=np.zeros(count, np.int64),
        y0=np.zeros(count, np.int64),
        stack=np.zeros(count, np.int64),
        edge=np.zeros(count, bool),
        neighbour_px=neighbour[:, 0],
        neighbour_nm=neighbour[:, 1],
        field_size_px=(columns, rows),
        field_known=False,
        units=units,
        full_scale_adu=_full_scale(float(rois.max(initial=0))),
    )
    beads = measure(candidates, lambda message, part: tell(message, 0.3 + 0.3 * part))
    labelled = label(candidates, beads, rules=rules, progress=lambda message, part: tell(message, 0.6 + 0.4 * part))
    check_verdict(labelled.reason)
    return _bead_set(
        candidates, beads, labelled, regions_by_pixels(rois), pixel_size_nm, (source,) if source else (), []
    )


def count_reasons(beads: BeadSet) -> dict[str, int]:
    """Reason to count of the rejected beads, the most frequent first."""
    return dict(Counter(reason for reason in beads.reason if reason).most_common())


def _roi_centre(roi: NDArray[np.uint16], middle: float) -> tuple[float, float]:
    sharp = int(np.argmax(roi.max(axis=(1, 2))))
    image = roi[max(0, sharp - 1) : sharp + 2].mean(axis=0)
    return weighted_centre(image - np.median(image), middle, middle)


def _full_scale(brightest: float) -> int:
    """Upper end of a camera that nobody described: one of the usual ones if the images end just there."""
    return int(brightest) if brightest in FULL_SCALES else FULL_SCALES[-1]


def _same_length(parts: list[NDArray[np.uint16]]) -> NDArray[np.uint16]:
    planes = max(part.shape[1] for part in parts)
    whole = np.zeros((sum(len(part) for part in parts), planes, ROI_PX, ROI_PX), np.uint16)
    row = 0
    while parts:
        part = parts.pop(0)
        whole[row : row + len(part), : part.shape[1]] = part
        row += len(part)
    return whole


def _bead_set(
    candidates: Candidates,
    beads: list[Bead],
    labelled: Labelled,
    region: NDArray[np.int64],
    pixel_size_nm: float,
    sources: tuple[str, ...],
    facts: list[dict[str, Any]],
) -> BeadSet:
    planes = candidates.rois.shape[1]
    z_nm = np.full((len(beads), planes), np.nan, np.float32)
    for index, positions in enumerate(candidates.stage_nm):
        z_nm[index, : len(positions)] = positions - labelled.focus_nm[index]
    accepted = np.array([not why for why in labelled.reason])
    stacks = pd.DataFrame(facts)
    fading = np.full(len(beads), np.nan)
    if len(stacks):
        fading = stacks["fading_per_um"].to_numpy(float)[candidates.stack]
        stacks["accepted"] = [int(accepted[candidates.stack == index].sum()) for index in range(len(stacks))]
    return BeadSet(
        rois=candidates.rois,
        z_nm=z_nm,
        x=labelled.x,
        y=labelled.y,
        roi_x0=candidates.x0,
        roi_y0=candidates.y0,
        stack=candidates.stack,
        region=region,
        accepted=accepted,
        reason=labelled.reason,
        units=candidates.units,
        pixel_size_nm=pixel_size_nm,
        field_size_px=candidates.field_size_px,
        field_known=candidates.field_known,
        sources=sources,
        measures=labelled.measures,
        light=relative_light(z_nm, fading),
        stacks=stacks,
    )
