"""Look through one bead stack: its focus, its lateral shift, its candidates, and what is wrong with it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd

from easyzloc_mm.beads.detection.find import find_beads, find_lobed_beads, look_through, most_distinct_nm
from easyzloc_mm.beads.detection.form import PsfForm
from easyzloc_mm.beads.detection.rois import cut_rois, roi_corners
from easyzloc_mm.beads.detection.which_form import form_of
from easyzloc_mm.beads.quality.checks import check_light, name_of, stage_nm
from easyzloc_mm.camera.photon_transfer import FULL_SCALES
from easyzloc_mm.errors import EasyZlocWarning
from easyzloc_mm.io.beads.stack import BeadStack
from easyzloc_mm.typing import F64, U16

FOCUS_DISPUTE_NM = 300.0
"""The paper's plane of the brightest pixel may differ from ours by so much without a word."""


def inspect_stack(
    stack: BeadStack, form: PsfForm | None = None
) -> tuple[U16, F64, pd.DataFrame, dict[str, Any], PsfForm | None]:
    """Find and cut the candidates of one stack.

    Parameters
    ----------
    stack : BeadStack
    form : PsfForm, optional
        What the beads look like; where it is not known yet, this stack tells.

    Returns
    -------
    rois : ndarray, shape (n, P, R, R), uint16
    z_nm : ndarray, shape (P,)
        Rising stage positions.
    candidates : DataFrame
        One row per candidate, columns as the attributes of `candidates.Candidates`.
    facts : dict
        About the stack.
    form : PsfForm or None
        As given, or as found; None where no bead stands alone, and beads were taken for spots.
    """
    height, width = stack.pixels.shape[1:]
    taken_nm = stage_nm(stack)
    order = np.argsort(taken_nm, kind="stable")
    z_nm = taken_nm[order]
    overview = look_through(stack.pixels, order, z_nm)
    full_scale = stack.full_scale_adu or full_scale_of(float(overview.brightest.max()))
    check_light(stack, overview.slabs, full_scale)
    focus_nm, paper_nm = (float(taken_nm[plane]) for plane in (overview.focus, overview.paper_focus))
    if abs(focus_nm - paper_nm) > FOCUS_DISPUTE_NM:
        warnings.warn(
            f"{name_of(stack)}: its brightest pixel is in another plane ({paper_nm / 1000:.2f} um) than its "
            f"focus ({focus_nm / 1000:.2f} um): a hot pixel or dirt; the focus is used",
            EasyZlocWarning,
            stacklevel=2,
        )
    found = find_beads(overview, focus_nm)
    if not len(found.x) and (elsewhere := most_distinct_nm(overview)) is not None:
        focus_nm, found = elsewhere, find_beads(overview, elsewhere)
    form = form or form_of(overview, focus_nm, found)
    if form is not None and form.lobes_px is not None:
        found = find_lobed_beads(overview, focus_nm, form)
    region_px = (form or PsfForm()).region_px
    if not len(found.x):
        warnings.warn(f"{name_of(stack)}: no bead was found", EasyZlocWarning, stacklevel=2)
    x0, y0 = roi_corners(found.x, found.y, region_px)
    inside = (x0 >= 0) & (y0 >= 0) & (x0 + region_px <= width) & (y0 + region_px <= height)
    candidates = pd.DataFrame(
        {
            "x": found.x,
            "y": found.y,
            "x0": x0,
            "y0": y0,
            "edge": ~inside,
            "neighbour_px": found.neighbour_px,
            "neighbour_nm": found.neighbour_nm,
            "frames": stack.frames_per_plane,
        }
    )
    known_ms = stack.planes["exposure_ms"].dropna()
    facts = {
        "source": stack.source.name,
        "fov": stack.fov,
        "planes": len(z_nm),
        "planes_lost": stack.planes_lost,
        "z_from_um": z_nm[0] / 1000,
        "z_to_um": z_nm[-1] / 1000,
        "focus_um": focus_nm / 1000,
        "paper_focus_um": paper_nm / 1000,
        "threshold_adu": found.threshold,
        "found": len(found.x),
        "full_scale_adu": full_scale,
        "frames_per_plane": stack.frames_per_plane,
        "lateral_shift": found.lateral_shift,
        "exposure_ms": float(known_ms.median()) if len(known_ms) else np.nan,
        "illumination": _only(stack.planes["illumination"]),
        "bleaching_per_um": np.nan if stack.bleaching_per_um is None else stack.bleaching_per_um,
    }
    return cut_rois(stack.pixels, order, x0, y0, region_px), z_nm, candidates, facts, form


def _only(presets: pd.Series) -> str | None:
    """Return the illumination preset of all planes; None where there is none, or more than one."""
    named = presets.dropna().unique()
    return str(named[0]) if len(named) == 1 else None


def full_scale_of(brightest: float) -> int:
    """Upper end of a camera that nobody described: one of the usual ones if the images end just there."""
    return int(brightest) if brightest in FULL_SCALES else FULL_SCALES[-1]
