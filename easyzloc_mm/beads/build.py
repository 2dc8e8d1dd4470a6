"""Bead stacks to a bead data set: find, measure, align, judge, label."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from easyzloc_mm.beads.bleaching import relative_brightness
from easyzloc_mm.beads.detection.candidates import Candidates
from easyzloc_mm.beads.detection.form import PsfForm
from easyzloc_mm.beads.detection.inspect_stack import full_scale_of, inspect_stack
from easyzloc_mm.beads.detection.lateral_shift import pooled
from easyzloc_mm.beads.detection.ready_cut import find_in_rois
from easyzloc_mm.beads.label import Labelled, depth_profiles, label, measure
from easyzloc_mm.beads.quality.checks import check_directions, check_stacks, check_verdict, name_of
from easyzloc_mm.beads.quality.judge import Rules
from easyzloc_mm.beads.quality.measure import Bead
from easyzloc_mm.beads.quality.plausible import check_plausible
from easyzloc_mm.beads.recurrence import mark_recurring
from easyzloc_mm.beads.regions import regions_by_pixels, regions_by_place
from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.dataset import BeadDataset
from easyzloc_mm.io.beads.stack import BeadStack
from easyzloc_mm.psf.crop_choice import check_crop_px
from easyzloc_mm.typing import F64, I64, U16, Progress

Inspected = tuple[U16, F64, pd.DataFrame, dict[str, Any], PsfForm | None]
MIN_ROI_PX = 17
MOST_SIDE_BY_SIDE = 4
"""Stacks inspected at a time: each holds its slabs in memory."""


def build_bead_set(
    stacks: Sequence[BeadStack],
    response: CameraResponse,
    pixel_size_nm: float,
    *,
    roi_px: int | None = None,
    rules: Rules = Rules.DEFAULT,
    progress: Progress | None = None,
) -> BeadDataset:
    """Find, judge, align and label the beads of several fields of view.

    Parameters
    ----------
    stacks : sequence of BeadStack
        One per field of view; planes are read as they are needed.
    response : CameraResponse
        Of the camera that took them.
    pixel_size_nm : float
        Sample-plane pixel size.
    roi_px : int, optional
        Edge of the crops that regions are to hold; as large as the beads' light needs, without it.
    rules : Rules
        By which beads are judged and labelled.
    progress : callable, optional
        Given (message, fraction).

    Raises
    ------
    InputError
        The stacks cannot give a calibration (`checks`), or no bead is found or accepted.
    """
    check_stacks(stacks)
    height, width = stacks[0].pixels.shape[1:]
    report = progress or (lambda _message, _fraction: None)
    parts: list[pd.DataFrame] = []
    rois, stage, facts = [], [], []
    form, looked_at = _form(stacks, None if roi_px is None else check_crop_px(roi_px))
    # Reading, filtering and cutting leave the interpreter free: stacks are inspected side by side.
    with ThreadPoolExecutor(min(os.cpu_count() or 1, MOST_SIDE_BY_SIDE)) as pool:
        rest = pool.map(lambda stack: inspect_stack(stack, form), stacks[len(looked_at) :])
        for index, (cut, z_nm, part, fact, _) in enumerate(itertools.chain(looked_at, rest)):
            report(f"finding beads: field {index + 1} of {len(stacks)}", 0.5 * (index + 1) / len(stacks))
            rois.append(cut)
            stage += [z_nm] * len(cut)
            parts.append(part.assign(stack=index))
            facts.append(fact)
    table = pd.concat(parts, ignore_index=True)
    if table.empty:
        raise InputError("no bead was found in any stack: check focus, illumination and the bead slide")
    shared = pooled([fact.pop("lateral_shift") for fact in facts])
    for fact, one in zip(facts, shared, strict=True):
        fact["lateral_shift_x_nm_per_um"], fact["lateral_shift_y_nm_per_um"] = (
            one.x * pixel_size_nm,
            one.y * pixel_size_nm,
        )
        fact["lateral_shift_uncertainty_nm_per_um"] = one.uncertainty * pixel_size_nm
    shift = np.array([one.significant for one in shared])[table["stack"]]
    candidates = Candidates(
        rois=_same_length(rois),
        stage_nm=stage,
        **{name: table[name].to_numpy() for name in table.columns},
        lateral_shift_px_per_um=shift,
        field_size_px=(width, height),
        field_known=True,
        response=response,
        full_scale_adu=max(fact["full_scale_adu"] for fact in facts),
        form=form,
    )
    sources = tuple(sorted({stack.source.name for stack in stacks}))
    if form.lobes_px is None:  # lobes have no width and depth of an objective's spot
        check_plausible(candidates, pixel_size_nm, ", ".join(sources))
    candidates = mark_recurring(candidates, [name_of(stack) for stack in stacks])
    beads = measure(candidates, lambda message, part: report(message, 0.5 + 0.2 * part))
    plain = (candidates.neighbour_px > form.region_px / 2) & ~candidates.edge
    profiles = (
        depth_profiles([bead for bead, alone in zip(beads, plain, strict=True) if alone]) if plain.any() else None
    )
    if profiles is not None:
        check_directions(stacks, candidates.stack[plain], profiles)
    labelled = label(candidates, beads, rules=rules, progress=lambda message, part: report(message, 0.7 + 0.3 * part))
    check_verdict(labelled.reason)
    return _bead_set(
        candidates,
        beads,
        labelled,
        regions_by_place(candidates.stack, candidates.x0, candidates.y0, form.region_px),
        pixel_size_nm,
        sources,
        facts,
    )


def bead_set_from_rois(
    rois: U16,
    response: CameraResponse,
    pixel_size_nm: float,
    z_step_nm: float,
    *,
    planes: I64 | None = None,
    source: str = "",
    rules: Rules = Rules.DEFAULT,
    progress: Progress | None = None,
) -> BeadDataset:
    """Judge, align and label ready-cut ROIs, whose place in the field nobody knows.

    Parameters
    ----------
    rois : ndarray, shape (n, P, R, R), uint16
        One bead per ROI, near its middle, through focus.
    z_step_nm : float
        Distance of the planes; negative where the stage went down.
    planes : ndarray, shape (P,), optional
        Number of each plane, where some are missing; from 0 on without it.

    Raises
    ------
    InputError
        The ROIs are smaller than the network's crop needs, or no bead is accepted.
    """
    count, _, rows, columns = rois.shape
    numbers = np.arange(rois.shape[1]) if planes is None else planes
    if rows != columns or rows < MIN_ROI_PX:
        raise InputError(f"the ROIs are {rows} x {columns} px: square ones of {MIN_ROI_PX} px or more are needed")
    if z_step_nm < 0:
        rois, z_step_nm, numbers = rois[:, ::-1], -z_step_nm, numbers[-1] - numbers[::-1]
    report = progress or (lambda _message, _fraction: None)
    report("finding neighbours", 0.0)
    z_nm = z_step_nm * numbers.astype(float)
    found, form = find_in_rois(rois, z_nm)
    none = np.zeros(count, np.int64)
    candidates = Candidates(
        rois=rois,
        stage_nm=[z_nm] * count,
        x=found.x,
        y=found.y,
        x0=none,
        y0=none,
        stack=none,
        edge=none.astype(bool),
        neighbour_px=found.neighbour_px,
        neighbour_nm=found.neighbour_nm,
        field_size_px=(columns, rows),
        field_known=False,
        response=response,
        full_scale_adu=full_scale_of(float(rois.max(initial=0))),
        frames=np.ones(count, np.int64),
        lateral_shift_px_per_um=np.tile(found.lateral_shift.significant, (count, 1)),
        form=form,
    )
    if form.lobes_px is None:
        check_plausible(candidates, pixel_size_nm, source or "the ROI file")
    candidates = mark_recurring(candidates, [])
    beads = measure(candidates, lambda message, part: report(message, 0.3 + 0.3 * part))
    labelled = label(candidates, beads, rules=rules, progress=lambda message, part: report(message, 0.6 + 0.4 * part))
    check_verdict(labelled.reason)
    return _bead_set(
        candidates, beads, labelled, regions_by_pixels(rois), pixel_size_nm, (source,) if source else (), []
    )


def count_reasons(beads: BeadDataset) -> dict[str, int]:
    """Return reason to count of the rejected beads, the most frequent first."""
    return dict(Counter(reason for reason in beads.reason if reason).most_common())


def _form(stacks: Sequence[BeadStack], crop_px: int | None) -> tuple[PsfForm, list[Inspected]]:
    """Return what the beads look like, and the first stacks as far as they had to be inspected to know."""
    looked_at: list[Inspected] = []
    for stack in stacks:
        looked_at.append(inspect_stack(stack))
        if looked_at[-1][-1] is not None:
            break
    known = looked_at[-1][-1] or PsfForm()
    form = known if crop_px is None else replace(known, crop_px=crop_px)
    # What was cut as if beads were spots, or needed crops of another size, is cut again.
    first = len(looked_at) - 1 if form == known else len(looked_at)
    return form, [inspect_stack(one, form) for one in stacks[:first]] + looked_at[first:]


def _same_length(parts: list[U16]) -> U16:
    planes, edge = max(part.shape[1] for part in parts), parts[0].shape[-1]
    whole = np.zeros((sum(len(part) for part in parts), planes, edge, edge), np.uint16)
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
    region: I64,
    pixel_size_nm: float,
    sources: tuple[str, ...],
    facts: list[dict[str, Any]],
) -> BeadDataset:
    planes = candidates.rois.shape[1]
    z_nm = np.full((len(beads), planes), np.nan, np.float32)
    for index, positions in enumerate(candidates.stage_nm):
        z_nm[index, : len(positions)] = positions - labelled.focus_nm[index]
    accepted = np.array([not why for why in labelled.reason])
    stacks = pd.DataFrame(facts)
    bleaching = np.full(len(beads), np.nan)
    if len(stacks):
        bleaching = stacks["bleaching_per_um"].to_numpy(float)[candidates.stack]
        stacks["accepted"] = [int(accepted[candidates.stack == index].sum()) for index in range(len(stacks))]
    return BeadDataset(
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
        response=candidates.response,
        pixel_size_nm=pixel_size_nm,
        field_size_px=candidates.field_size_px,
        field_known=candidates.field_known,
        sources=sources,
        measures=labelled.measures,
        light=relative_brightness(z_nm, bleaching),
        stacks=stacks,
        lateral_shift_px_per_um=candidates.lateral_shift_px_per_um,
        bead_id=candidates.bead_id,
    )
