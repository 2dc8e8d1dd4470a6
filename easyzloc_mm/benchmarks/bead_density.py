"""`bench density`: how many beads of crowded slides are accepted, and whether those are alone, behind any mask."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from easyzloc_mm._progress import silent
from easyzloc_mm.beads.build import build_bead_set
from easyzloc_mm.benchmarks.second_optics.datasets import BeadScan, write_bead_stacks
from easyzloc_mm.benchmarks.second_optics.lens import Mask
from easyzloc_mm.benchmarks.second_optics.microscope import SecondMicroscope
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.dataset import BeadDataset
from easyzloc_mm.io.beads.stacks import open_bead_stacks
from easyzloc_mm.typing import F64, Progress

PER_UM2 = (0.02, 0.03, 0.05, 0.07, 0.1)
STEP_NM = 100.0
NEAR_UM, MATCH_PX = 1.0, 3.0


def bench_density(
    *,
    mask: Mask = Mask.DOUBLE_HELIX,
    per_um2: Sequence[float] = PER_UM2,
    fields: int = 2,
    microscope: SecondMicroscope | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Build bead data sets of slides whose beads lie at random places, and hold what is accepted against the truth.

    Parameters
    ----------
    mask : Mask
    per_um2 : sequence of float
        Densities that are tried, beads per square micrometre.
    fields : int
        Of each slide.
    microscope : SecondMicroscope, optional
        With the mask's lens; the whole camera, if not given.
    seed : int
    progress : callable, optional

    Returns
    -------
    dict
        ``slides``: for each ``per_um2`` the number of ``beads``; ``alone``, those without another one within 1 um;
        ``accepted``; ``accepted_near``, those of them that have another within 1 um; ``refused``, the sentence with
        which the whole slide was refused, or None.
    """
    show = progress or silent
    microscope = microscope or SecondMicroscope(lens=mask.lens)
    slides = []
    for number, density in enumerate(per_um2):
        show(f"{density:g} beads per um2", number / len(per_um2))
        slides.append({"per_um2": density, **_slide(microscope, density, fields, seed + number)})
    return {"mask": mask.value, "slides": slides}


def _slide(microscope: SecondMicroscope, per_um2: float, fields: int, seed: int) -> dict[str, Any]:
    lens = microscope.lens
    edges_px = np.array([microscope.width_px, microscope.height_px]) - 2 * lens.half_px
    count = round(per_um2 * float(np.prod(edges_px)) * (lens.pixel_size_nm / 1000) ** 2)
    scan = BeadScan(fields=fields, beads=count, apart_px=0.0, z_step_nm=STEP_NM)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slide.ome.zarr"
        truth = write_bead_stacks(path, microscope, scan, seed)
        near_px = 1000 * NEAR_UM / lens.pixel_size_nm
        other_px = _nearest_other_px(truth)
        counts = {"beads": len(truth), "alone": int((other_px > near_px).sum())}
        try:
            beads = build_bead_set(open_bead_stacks(path), microscope.response, lens.pixel_size_nm)
        except InputError as error:
            return {**counts, "accepted": 0, "accepted_near": 0, "refused": str(error)}
    near = _truth_of(beads, truth, other_px) <= near_px
    return {**counts, "accepted": len(near), "accepted_near": int(near.sum()), "refused": None}


def _nearest_other_px(truth: pd.DataFrame) -> F64:
    """Return the distance of every bead to the next one of its field."""
    found = np.full(len(truth), np.inf)
    for _, own in truth.groupby("fov"):
        if len(own) > 1:
            place = own[["x", "y"]].to_numpy(float)
            found[own.index.to_numpy()] = cKDTree(place).query(place, k=2)[0][:, 1]
    return found


def _truth_of(beads: BeadDataset, truth: pd.DataFrame, other_px: F64) -> F64:
    """Return how far the next bead is from each accepted one; 0 where the accepted one is none."""
    found = []
    for index in np.flatnonzero(beads.accepted):
        own = truth[truth["fov"] == beads.stack[index]]
        away = np.hypot(own["x"] - beads.x[index], own["y"] - beads.y[index])
        found.append(float(other_px[away.idxmin()]) if away.min() <= MATCH_PX else 0.0)
    return np.array(found)
