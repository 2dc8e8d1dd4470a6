"""Candidates to labelled beads: measure, align, judge, and align again without what was rejected."""

from __future__ import annotations

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd

from easyzloc_mm.beads.alignment.align import MIN_BEADS, align
from easyzloc_mm.beads.alignment.registered import RegisteredStack
from easyzloc_mm.beads.camera_response import of_averaged
from easyzloc_mm.beads.detection.candidates import Candidates
from easyzloc_mm.beads.published import paper_rules
from easyzloc_mm.beads.quality.checks import DEPTHS_NM
from easyzloc_mm.beads.quality.judge import Reason, Rules, judge
from easyzloc_mm.beads.quality.measure import Bead, fit_profiles, measure_bead
from easyzloc_mm.errors import EasyZlocWarning
from easyzloc_mm.typing import F64, Progress

ROUNDS = 2


@dataclass(frozen=True)
class Labelled:
    """Verdicts and foci of candidates.

    Attributes
    ----------
    focus_nm : ndarray, shape (n,)
        Stage position of each focus, NaN where it is not known.
    reason : tuple of str
        Empty for accepted beads.
    x, y : ndarray, shape (n,)
        Centres, sensor pixels.
    measures : DataFrame
        Everything measured, one row per candidate.
    degree : int
        Of the polynomial that describes the PSF over the field; -1 under the paper's rules.
    """

    focus_nm: F64
    reason: tuple[str, ...]
    x: F64
    y: F64
    measures: pd.DataFrame
    degree: int


def measure(candidates: Candidates, progress: Progress | None = None) -> list[Bead]:
    """Measure all candidates, on all cores."""
    place = candidates.place

    def one(index: int) -> Bead:
        stage = candidates.stage_nm[index]
        return measure_bead(
            candidates.rois[index, : len(stage)],
            stage,
            (candidates.x[index] - candidates.x0[index], candidates.y[index] - candidates.y0[index]),
            (float(place[index, 0]), float(place[index, 1])),
            of_averaged(candidates.response, int(candidates.frames[index])),
            candidates.full_scale_adu,
            (float(candidates.lateral_shift_px_per_um[index, 0]), float(candidates.lateral_shift_px_per_um[index, 1])),
            candidates.form,
        )

    beads = []
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for bead in pool.map(one, range(len(candidates.x))):
            beads.append(bead)
            if progress and len(beads) % 20 == 0:
                progress(f"measuring beads: {len(beads)} of {len(candidates.x)}", len(beads) / len(candidates.x))
    return beads


def label(
    candidates: Candidates, beads: list[Bead], *, rules: Rules = Rules.DEFAULT, progress: Progress | None = None
) -> Labelled:
    """Judge, align and label measured candidates.

    Parameters
    ----------
    candidates : Candidates
    beads : list of Bead
        From `measure`.
    rules : Rules
        Whose rules.
    progress : callable, optional
        Given (message, fraction).
    """

    def report(message: str, fraction: float) -> None:
        if progress:
            progress(message, fraction)

    table = pd.DataFrame(
        {
            "snr": [bead.snr for bead in beads],
            "photons": [bead.photons for bead in beads],
            "background": [bead.background for bead in beads],
            "saturated": [float(bead.saturated) for bead in beads],
            "edge": candidates.edge.astype(float),
            "copy": candidates.copy.astype(float),
            "neighbour_px": candidates.neighbour_px,
            "neighbour_nm": candidates.neighbour_nm,
        }
    )
    sharpness = np.array([bead.sharpness_nm for bead in beads])
    x = candidates.x0 + np.array([bead.x for bead in beads])
    y = candidates.y0 + np.array([bead.y for bead in beads])
    table["focus_um"] = sharpness / 1000
    report("fitting profiles", 0.0)
    table = table.assign(**fit_profiles(beads, sharpness))
    if rules is Rules.PAPER:
        report("the paper's rules", 0.3)
        focus, reason, measured = paper_rules(candidates, np.array([bead.sharpness_nm for bead in beads]))
        table = table.assign(focus_um=focus / 1000, **measured)
        reason = tuple(str(Reason.COPY) if copy else why for copy, why in zip(candidates.copy, reason, strict=True))
        return Labelled(focus, reason, x, y, table, -1)
    known, place = candidates.field_known, candidates.place
    stacks: list[RegisteredStack] = [bead.stack for bead in beads]
    form = candidates.form
    reason = judge(table, place, candidates.bead_id, field_known=known, final=False, form=form)
    for round_number in range(ROUNDS):
        report("aligning beads", 0.3 + 0.35 * round_number)
        suspects = np.array([bool(why) for why in reason])
        aligned = align(
            stacks, sharpness, field_known=known, suspects=suspects, identity=candidates.bead_id,
            lobed=form.lobes_px is not None,
        )  # fmt: skip
        table["focus_um"], table["residual"] = aligned.focus_nm / 1000, aligned.residual
        table["bleaching_per_um"], table["lateral_scatter_px"] = aligned.bleaching_per_um, aligned.lateral_scatter_px
        table["sharpness_shift_nm"] = aligned.sharpness_shift_nm
        reason = judge(table, place, candidates.bead_id, field_known=known, form=form)
    if not np.isfinite(aligned.residual).any():
        warnings.warn(
            f"fewer than {MIN_BEADS} usable beads: each is labelled by its own sharpness, and none is compared with "
            "others; for a calibration take stacks with more beads",
            EasyZlocWarning,
            stacklevel=2,
        )
    if form.lobes_px is not None:
        # Each stack was centred on its own median bead (`form.registered`): all together have one middle.
        x, y = np.stack([x, y]) + np.nan_to_num(aligned.off_centre_px.T)
    return Labelled(aligned.focus_nm, reason, x, y, table, aligned.degree)


def depth_profiles(beads: list[Bead]) -> F64:
    """Each bead at the depths by which scan directions are compared, around its sharpness focus; (n, K, pixels)."""
    profiles = np.full((len(beads), len(DEPTHS_NM), beads[0].stack.patches.shape[1]), np.nan)
    for row, bead in enumerate(beads):
        if not np.isfinite(bead.sharpness_nm):
            continue
        z_nm = bead.stack.stage_nm - bead.sharpness_nm
        inside = (z_nm[0] <= DEPTHS_NM) & (z_nm[-1] >= DEPTHS_NM)
        nearest = np.abs(z_nm[None] - DEPTHS_NM[inside, None]).argmin(axis=1)
        profiles[row, inside] = bead.stack.patches[nearest] / max(bead.photons, 1.0)
    return profiles
