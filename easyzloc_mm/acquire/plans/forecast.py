"""What a scan will need, before anything moves: room, time, light, and whether it stays inside the limits."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from easyzloc_mm.acquire.plans.plan import ScanPlan
from easyzloc_mm.acquire.plans.rules import BeadCheck
from easyzloc_mm.acquire.plans.travel import travel_um
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.writing.kinds import Kind
from easyzloc_mm.io.writing.output import whole_or_nothing
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.report.figures import picture

SPEED_UM_S, START_S = 1000.0, 3.0
"""Assumed: how fast the stage travels, and what a field takes beside travel and exposure."""
NAMED_PLACES = 60
"""Maps of more fields have no names."""


@dataclass(frozen=True)
class ScanForecast:
    """What a scan will need.

    Attributes
    ----------
    fields, frames : int
        Fields that will be visited, and frames of all.
    travel_mm, hours : float
        Way of the stage; time, with an assumed speed of 1 mm/s and 3 s for each field.
    disk_gb, free_gb : float
        Raw frames as they come from the camera (compression makes them smaller), and what the disk has.
    light_s, light_s_per_field : float
        Time for which the sample is lit in all, and the longest of a field.
    problems : tuple of str
        What forbids the scan, one sentence each.
    rules : tuple of str
        What a field must be like, and what becomes of one that is not.
    bead_visits : int
        Visits to the beads beside the sample, with every field taken once.
    picture : Path or None
        Map of the way.
    """

    fields: int
    frames: int
    travel_mm: float
    hours: float
    disk_gb: float
    free_gb: float
    light_s: float
    light_s_per_field: float
    problems: tuple[str, ...]
    rules: tuple[str, ...] = ()
    bead_visits: int = 0
    picture: Path | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for printing."""
        return asdict(self)


def forecast_fields(fields: Mapping[str, Profile], out: Path, *, keep_raw: bool, plan: ScanPlan) -> ScanForecast:
    """Return what imaging fields needs; `fields` has the profile of each by its name, in the order of visits.

    Parameters
    ----------
    fields : mapping of str to Profile
        `imaging` of each says where, how long and how deep; a depth that is not known is not checked.
    out : Path
        Folder that may not be there yet.
    keep_raw : bool
    plan : ScanPlan
        Where z waits between fields, beads that are visited, and the rules.
    """
    problems = _bead_problems(fields, plan.bead_check)
    seconds: list[float] = []
    frames = 0
    disk_bytes = 0
    for name, profile in fields.items():
        imaging, camera = profile.imaging, profile.camera
        x_um, y_um = imaging.start_position_um or (None, None)
        try:
            profile.limits.check(x_um=x_um, y_um=y_um, z_um=imaging.focus_um)
            profile.limits.check(z_um=plan.safe_z_um)
        except InputError as error:
            problems.append(f"{name}: {error}")
        if imaging.bleaches_all:
            problems.append(
                f"{name}: `bleach_ms` = {imaging.bleach_ms:g} leaves nothing of the light budget of "
                f"{imaging.light_budget_ms:g} ms: lower it, or raise `light_budget_ms`"
            )
        frames += imaging.frames
        lit_ms = imaging.frames * imaging.exposure_ms + (imaging.bleach_ms or 0.0)
        seconds.append(min(lit_ms, imaging.light_budget_ms or lit_ms) / 1000)
        disk_bytes += 2 * imaging.frames * camera.width_px * camera.height_px if keep_raw else 0
    places = np.array([profile.imaging.start_position_um or (0.0, 0.0) for profile in fields.values()]).reshape(-1, 2)
    free = shutil.disk_usage(_there(Path(out))).free
    if disk_bytes > free:
        problems.append(
            f"the raw frames take up to {disk_bytes / 1e9:.1f} GB, and the disk of {out} has {free / 1e9:.1f} GB left: "
            "free some, choose another `out`, plan fewer frames, or leave out the raw frames (`keep_raw`)"
        )
    moving_s = travel_um(places) / SPEED_UM_S + sum(_settling_s(fields, places))
    return ScanForecast(
        fields=len(fields),
        frames=frames,
        travel_mm=travel_um(places) / 1000,
        hours=(sum(seconds) + moving_s + START_S * len(fields)) / 3600,
        disk_gb=disk_bytes / 1e9,
        free_gb=free / 1e9,
        light_s=sum(seconds),
        light_s_per_field=max(seconds, default=0.0),
        problems=tuple(problems),
        rules=tuple(rule.in_words() for rule in plan.all_rules),
        bead_visits=0 if plan.bead_check is None else 1 + -(-len(fields) // plan.bead_check.every_fields),
    )


def _bead_problems(fields: Mapping[str, Profile], check: BeadCheck | None) -> list[str]:
    """Return why the beads beside the sample cannot be visited."""
    if check is None or not fields:
        return []
    limits = next(iter(fields.values())).limits
    (x_um, y_um), (low_um, high_um) = check.position_um, check.z_span_um
    try:
        limits.check(x_um=x_um, y_um=y_um, z_um=low_um)
        limits.check(z_um=high_um)
    except InputError as error:
        return [f"bead_check: {error}"]
    return []


def _settling_s(fields: Mapping[str, Profile], places: np.ndarray[Any, Any]) -> list[float]:
    """Return how long the focus lock is waited for after each move, s."""
    moved = np.r_[0.0, np.linalg.norm(np.diff(places, axis=0), axis=1)][: len(fields)]  # with every field done, none
    locks = [profile.focus_lock for profile in fields.values()]
    return [lock.settle_s(float(way)) for lock, way in zip(locks, moved, strict=True) if lock is not None]


def _there(path: Path) -> Path:
    """Return the nearest folder above a path that exists."""
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def draw_travel(plan: ScanPlan, fields: Mapping[str, Profile], path: Path) -> Path:
    """Draw the fields, the way between them and the limits, and return the picture's path; replaces an older one."""
    from matplotlib.patches import Rectangle

    profiles = list(fields.values())
    places = np.array([profile.imaging.start_position_um for profile in profiles]) / 1000
    depths = [profile.imaging.focus_um for profile in profiles]
    limits, camera, optics = profiles[0].limits, profiles[0].camera, profiles[0].optics
    wide, high = (size * optics.pixel_size_nm / 1e6 for size in (camera.width_px, camera.height_px))
    with whole_or_nothing(path, Kind.PICTURE, if_exists="overwrite") as draft, picture(draft, 7.0, 6.0) as figure:
        axes = figure.add_subplot()
        axes.plot(places[:, 0], places[:, 1], "-", color="0.6", linewidth=1)
        for x, y in places:
            axes.add_patch(Rectangle((x - wide / 2, y - high / 2), wide, high, fill=False, color="0.3", linewidth=0.6))
        known = [depth for depth in depths if depth is not None]
        if len(known) == len(depths):
            shown = axes.scatter(places[:, 0], places[:, 1], c=known, s=18, zorder=3)
            figure.colorbar(shown, label="focus (um)")
        else:
            axes.scatter(places[:, 0], places[:, 1], s=18, zorder=3)
        axes.plot(*places[0], "^", color="C2", markersize=9, label="first")
        axes.plot(*places[-1], "s", color="C3", markersize=7, label="last")
        if len(places) <= NAMED_PLACES:
            for name, (x, y) in zip(fields, places, strict=True):
                axes.annotate(name, (x, y), xytext=(3, 3), textcoords="offset points", fontsize=6)
        low, top = (limits.x_min_um / 1000, limits.y_min_um / 1000), (limits.x_max_um / 1000, limits.y_max_um / 1000)
        box = Rectangle(low, top[0] - low[0], top[1] - low[1], fill=False, color="C3", linestyle="--", label="limits")
        axes.add_patch(box)
        axes.set(xlabel="x (mm)", ylabel="y (mm)", title=f"{plan.name}: {len(places)} fields", aspect="equal")
        axes.margins(0.1)
        axes.legend(fontsize=7)
    return path
