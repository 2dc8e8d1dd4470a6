"""`calibrate --check`: is a calibration still that of the instrument as it is today."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from easyzloc_mm._log import FILE as LOG
from easyzloc_mm._log import run_log
from easyzloc_mm.api.calibrating.calibration import acquire_beads, build_beads
from easyzloc_mm.api.model import Model, as_model
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.calibration_check import CHECK_FILE, CHECK_FOLDER, CalibrationCheck
from easyzloc_mm.io.camera_map import check_camera_map
from easyzloc_mm.io.passport import Passport
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.io.writing.kinds import Kind
from easyzloc_mm.io.writing.output import check_output, replaced_stream, whole_or_nothing
from easyzloc_mm.microscope.connect import connect
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.typing import IfExists, Progress

logger = logging.getLogger(__name__)

QUICK_Z_NM, QUICK_STEP_NM, QUICK_FOVS, QUICK_BEADS = 1000.0, 100.0, 4, 30
"""A quick look: so far from focus, in such steps, at most so many fields, until there are so many beads."""


def check_calibration(
    model: Model | str | Path,
    profile: Profile | str,
    out: str | Path | None = None,
    *,
    stacks: Sequence[str | Path] = (),
    if_exists: IfExists = "error",
    progress: Progress | None = None,
) -> CalibrationCheck:
    """Hold some thirty beads of today against a calibration, and say what to do.

    The aberrations that came since are fitted to the beads' images as `refresh` fits them to molecules; beside them
    stand the stage's scale, the focal surface, the light of the beads and the sideways motion of the stage.

    Parameters
    ----------
    model : Model or path
        Of recipe ``matched``.
    profile : Profile or str
        The instrument; or the name or file of its profile.
    out : path, optional
        Folder for ``check/`` with ``check.json`` and a page, and, unless `stacks` are given, for the
        ``stacks.ome.zarr`` that are photographed.
    stacks : sequence of paths
        Bead stacks of today; without them they are photographed, in about a minute and a half.
    if_exists : {'error', 'overwrite'}
        What becomes of an `out` that is there already.
    progress : callable, optional
        Given (message, fraction).

    Raises
    ------
    InputError
        The model has no PSF of its beads, the optics of the profile do not explain it, or there are no usable beads.
    HardwareError
        The instrument failed; the planes acquired so far are kept in ``stacks.ome.zarr``.

    Examples
    --------
    >>> found = ez.check_calibration("today/model", "demo", stacks=["today/stacks.ome.zarr"])
    >>> found.verdict.value
    'valid'
    """
    from easyzloc_mm.passport.check import check, check_comparable
    from easyzloc_mm.passport.items import passport_of

    instrument = load_profile(profile) if isinstance(profile, str) else profile
    card = as_model(model, instrument).card
    given = [Path(one) for one in stacks]

    def judged(sources: Sequence[Path], folder: Path | None) -> CalibrationCheck:
        beads = build_beads(sources, camera_map=instrument.camera.map, roi_px=card.roi_px, progress=progress)
        found = check(beads, card, instrument.optics, progress=progress)
        found = found.changed(made=datetime.now().astimezone().isoformat(timespec="seconds"))
        if folder is not None:
            folder.mkdir(exist_ok=True)
            _write(folder, found, passport_of(beads, profile=instrument, quick=True))
        return found

    if given:
        if out is None:
            return judged(given, None)
        with whole_or_nothing(Path(out), Kind.REPORT, if_exists=if_exists, inputs=[card.path, *given]) as draft:
            return judged(given, draft)
    camera = instrument.camera
    check_comparable(card, instrument.optics.pixel_size_nm, (camera.width_px, camera.height_px))
    check_camera_map(camera)
    if out is None:
        raise InputError("`out` is needed for the stacks that are photographed: give a folder, or `stacks` of today")
    place = check_output(Path(out), Kind.CALIBRATION, if_exists=if_exists, inputs=[card.path], acquires=True)
    with replaced_stream(place, Kind.CALIBRATION, if_exists=if_exists) as folder:
        with connect(quick_look(instrument)) as microscope:
            folder.mkdir()
            with run_log("check of a calibration", {"model": card.path, "profile": instrument.name}, folder / LOG):
                acquired = acquire_beads(microscope, folder / "stacks.ome.zarr", progress=progress)
        with whole_or_nothing(folder / CHECK_FOLDER, Kind.REPORT, if_exists="error") as draft:
            return judged([acquired.out], draft)


def quick_look(profile: Profile) -> Profile:
    """Return a profile whose bead plan takes a minute and a half, under the plan's first exposure and preset."""
    plan = profile.beads
    return profile.replace(
        beads={
            "z_start_nm": max(plan.z_start_nm, -QUICK_Z_NM),
            "z_stop_nm": min(plan.z_stop_nm, QUICK_Z_NM),
            "z_step_nm": max(plan.z_step_nm, QUICK_STEP_NM),
            "fovs": min(plan.fovs, QUICK_FOVS),
            "exposures_ms": plan.exposures_ms[:1],
            "illuminations": plan.illuminations[:1],
            "frames_per_plane": 1,
            "enough_beads": min(plan.enough_beads, QUICK_BEADS),
        }
    )


def _write(folder: Path, found: CalibrationCheck, passport: Passport) -> None:
    """Write what was found, and the passport of the day, for programs and for people."""
    from easyzloc_mm.passport.page import write_check, write_passport

    text = json.dumps(found.stored(), indent=1, allow_nan=False)
    (folder / CHECK_FILE).write_text(text, encoding="utf-8")
    passport.write(folder)
    write_check(folder, found)
    write_passport(folder, passport)
