"""A bead data set from files: camera response and sampling come from the caller, else the files, else an estimate."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from easyzloc_mm.beads.build import bead_set_from_rois, build_bead_set
from easyzloc_mm.beads.camera_response import estimate_response
from easyzloc_mm.beads.flat_stack import flat_stack
from easyzloc_mm.beads.quality.judge import Rules
from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.beads.dataset import BeadDataset
from easyzloc_mm.io.beads.rois import read_roi_stacks
from easyzloc_mm.io.beads.stack import BeadStack
from easyzloc_mm.io.beads.stacks import open_bead_stacks
from easyzloc_mm.io.camera_map import read_camera_map, units_of_map
from easyzloc_mm.io.sources.images import check_pixel_nm, check_step_nm
from easyzloc_mm.typing import U16, Progress

SAMPLE_PLANES = 60
"""So many planes around the middle of a stack are enough to guess camera units from."""


def beads_from_sources(
    sources: Sequence[Path],
    *,
    rois: bool = False,
    pixel_size_nm: float | None = None,
    z_step_nm: float | None = None,
    baseline_adu: float | None = None,
    electrons_per_adu: float | None = None,
    excess_noise: float | None = None,
    camera_map: Path | None = None,
    roi_px: int | None = None,
    partial: bool = False,
    rules: Rules = Rules.DEFAULT,
    progress: Progress | None = None,
) -> BeadDataset:
    """Build a bead data set from files: bead stacks, or one file of ready-cut ROIs.

    Camera units come from the arguments, else from the files, else from those measured with `camera_map`; what none
    of them holds is estimated, with a warning. With a map, stacks are taken as a camera of like pixels would have
    recorded them (`flat_stack`).
    Regions hold crops of `roi_px` pixels. `partial` reads what is there of a set of several files of which some are
    missing.

    Raises
    ------
    InputError
        A source is missing or is not what it should be.
    """
    units = {"baseline_adu": baseline_adu, "electrons_per_adu": electrons_per_adu, "excess_noise": excess_noise}
    given = {name: value for name, value in units.items() if value is not None}
    if rois:
        if len(sources) != 1:
            raise InputError("`rois` takes one file of ROI stacks (n,z,y,x): give one source")
        if pixel_size_nm is None or z_step_nm is None:
            raise InputError("ready-cut ROIs carry no sampling: give `pixel_size_nm` and `z_step_nm`")
        check_pixel_nm(pixel_size_nm, "`pixel_size_nm`")
        check_step_nm(z_step_nm, "`z_step_nm`")
        cut = read_roi_stacks(sources[0])
        return bead_set_from_rois(
            cut.pixels,
            _response(None, cut.pixels, given),
            pixel_size_nm,
            z_step_nm,
            planes=cut.planes,
            source=Path(sources[0]).name,
            rules=rules,
            progress=progress,
        )
    stacks = [
        stack
        for source in sources
        for stack in open_bead_stacks(source, z_step_nm=z_step_nm, pixel_size_nm=pixel_size_nm, partial=partial)
    ]
    sizes = {stack.pixel_size_nm for stack in stacks}
    if len(sizes) > 1:
        raise InputError(f"the sources have different pixel sizes ({sorted(sizes)} nm): give `pixel_size_nm`")
    known = _same_response(stacks)
    if camera_map is not None:
        pixels = read_camera_map(camera_map)
        known = (known or units_of_map(camera_map, pixels)).replaced(**given)
        stacks = [flat_stack(stack, pixels, known) for stack in stacks]
    sample = np.empty((0, 3, 1, 1), np.uint16) if known else _sample(stacks[0])
    response = _response(known, sample, given)
    return build_bead_set(stacks, response, sizes.pop(), roi_px=roi_px, rules=rules, progress=progress)


def _same_response(stacks: list[BeadStack]) -> CameraResponse | None:
    known = {stack.response.model_dump_json(): stack.response for stack in stacks if stack.response is not None}
    if len(known) > 1:
        raise InputError(
            "the sources were taken with different camera units (baseline, gain or read noise): build one data set "
            "per camera setting"
        )
    return next(iter(known.values()), None)


def _sample(stack: BeadStack) -> U16:
    planes = stack.pixels.shape[0]
    first = max(0, planes // 2 - SAMPLE_PLANES // 2)
    return np.asarray(stack.pixels[first : first + SAMPLE_PLANES])[None, :, ::2, ::2]


def _response(
    known: CameraResponse | None,
    sample: U16,
    given: dict[str, float],
) -> CameraResponse:
    if known is not None:
        return known.replaced(**given)
    response = estimate_response(sample, **given)
    if response.estimated:
        warnings.warn(
            f"camera units are GUESSED from the beads (baseline {response.baseline_adu:.0f} ADU, "
            f"{response.electrons_per_adu:.2f} electrons per ADU): photons and z uncertainties depend on them; measure "
            "them with `easyzloc-mm camera-calibrate` and give `baseline_adu` and `electrons_per_adu`",
            EasyZlocWarning,
            stacklevel=3,
        )
    return response
