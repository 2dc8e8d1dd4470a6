"""What a calibration and its steps cannot be asked for: told before anything is read, or photographed."""

from __future__ import annotations

from pathlib import Path

from easyzloc_mm._log import FILE as LOG
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.stack import check_planes
from easyzloc_mm.io.sources.images import check_pixel_nm, check_step_nm
from easyzloc_mm.io.writing.kinds import Kind, kind_of
from easyzloc_mm.model.card import Recipe
from easyzloc_mm.profile.plans import BeadPlan


def check_bead_options(
    rules: str,
    *,
    rois: bool,
    roi_px: int | None,
    partial: bool,
    camera_map: str | Path | None,
    pixel_nm: float | None,
    step_nm: float | None,
) -> None:
    """Raise `InputError` where an option of `build_beads` cannot be, or would do nothing."""
    from easyzloc_mm.beads.quality.judge import Rules

    if rules not in list(Rules):
        raise InputError(f"`rules` {rules}: choose one of {', '.join(Rules)}")
    asked = {"roi_px": roi_px is not None, "partial": partial, "camera_map": camera_map is not None}
    useless = [name for name, given in asked.items() if given]
    if rois and useless:
        raise InputError(f"`{useless[0]}` is for stacks, from which beads are still to be cut: leave it out, or `rois`")
    if pixel_nm is not None:
        check_pixel_nm(pixel_nm, "`pixel_size_nm`")
    if step_nm is not None:
        check_step_nm(step_nm, "`z_step_nm`")


def check_recipe(recipe: str) -> None:
    """Raise `InputError` where nobody trains by a recipe of this name."""
    if recipe not in list(Recipe):
        raise InputError(f"`recipe` {recipe}: choose one of {', '.join(Recipe)}")


def check_plan(plan: BeadPlan) -> None:
    """Raise `InputError` where stacks would have too few planes to calibrate by."""
    where = f"[beads] z_start_nm to z_stop_nm in steps of z_step_nm ({plan.z_step_nm:g})"
    check_planes(plan.planes, where, "give a smaller z_step_nm (10 to 50 is usual)")


def check_begun(out: Path) -> None:
    """Raise `InputError` where a folder holds something else than the beginning of a calibration."""
    if kind_of(out) is Kind.CALIBRATION:
        if (out / "model").exists():
            raise InputError(f"the calibration in {out} is complete: nothing is left to resume")
    elif out.exists() and not (out.is_dir() and all(entry.name == LOG for entry in out.iterdir())):
        raise InputError(f"{out} is no calibration that could be resumed: leave out `if_exists='resume'`")
