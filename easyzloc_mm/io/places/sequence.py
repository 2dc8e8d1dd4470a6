"""Places of a plan of useq-schema: a whole sequence with positions and grids, or a plan of a well plate."""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from easyzloc_mm._extras import need
from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.places.place import Place
from easyzloc_mm.io.reading import reading
from easyzloc_mm.profile.schema import Profile

MOST_PLACES = 100_000
UNUSED = ("channels", "time_plan", "z_plan", "autofocus_plan")
"""What a sequence says of light, time and depth is the profile's here."""


def read_sequence(path: Path, profile: Profile | None, _device_map: Mapping[str, str]) -> list[Place]:
    """Read the places of a plan, in its own order."""
    need("useq-schema", extra="plans", module="useq")
    from pydantic import ValidationError

    with reading(path, "useq plan", ValidationError, cure="write it with useq-schema"):
        stored = _load(path)
    if not isinstance(stored, dict):
        raise InputError(f"{path} is no plan of useq-schema: write it with useq-schema")
    unused = [key for key in UNUSED if stored.get(key)]
    if unused:
        warnings.warn(
            f"{path}: only its positions are used; {', '.join(unused)} are left out: light, exposure and depth are the "
            "profile's",
            EasyZlocWarning,
            stacklevel=4,
        )
    if _draws_anew(stored):
        raise InputError(
            f"{path} has random points without `random_seed`, which lie elsewhere each time: give one, so that a scan "
            "that was cut off can go on"
        )
    places_only = _with_field_of_view({key: stored[key] for key in stored if key not in UNUSED}, profile)
    with reading(path, "useq plan", ValidationError, cure="write it with useq-schema"):
        places, depths_left_out = _places(places_only)
    if depths_left_out:
        warnings.warn(
            f"{path}: the z of its wells ({depths_left_out[0]:g} um, ...) is left out: a plate says no depth to count "
            "it from; the profile's focus is used, and a list of positions may give each its own",
            EasyZlocWarning,
            stacklevel=4,
        )
    if len(places) > MOST_PLACES:
        raise InputError(f"{path} has more than {MOST_PLACES} positions: make it smaller")
    return places


def _draws_anew(plan: Any) -> bool:
    """Return whether a plan, or a part of it, is of random points without a seed."""
    if isinstance(plan, dict):
        return ("num_points" in plan and plan.get("random_seed") is None) or any(map(_draws_anew, plan.values()))
    return isinstance(plan, list) and any(map(_draws_anew, plan))


def _load(path: Path) -> Any:
    import yaml

    text = path.read_text(encoding="utf-8")
    if path.suffix.lower() == ".json":
        return json.loads(text)
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _with_field_of_view(stored: dict[str, Any], profile: Profile | None) -> dict[str, Any]:
    """Give grids that state no field of view this camera's: their steps are in fields."""
    if profile is None:
        return stored
    pixel_um = profile.optics.pixel_size_nm / 1000
    view = {"fov_width": profile.camera.width_px * pixel_um, "fov_height": profile.camera.height_px * pixel_um}

    def filled(plan: Any, key: str) -> Any:
        if isinstance(plan, dict):
            inside = {name: filled(value, name) for name, value in plan.items()}
            is_grid = key in ("grid_plan", "well_points_plan") and "x" not in inside
            return {**view, **{k: v for k, v in inside.items() if v is not None}} if is_grid else inside
        return [filled(part, "") for part in plan] if isinstance(plan, list) else plan

    return dict(filled(stored, ""))


def _places(stored: dict[str, Any]) -> tuple[list[Place], list[float]]:
    """Return the places, and what z the wells of a plate are given.

    A plate says no depth: useq gives each of its places a z of 0, or whatever its well points say beside that.
    """
    import useq

    if "plate" in stored:
        wells = list(itertools.islice(useq.WellPlatePlan.model_validate(stored), MOST_PLACES + 1))
        places = [Place(str(well.name or ""), float(well.x or 0), float(well.y or 0), None) for well in wells]
        return places, [float(well.z) for well in wells if well.z]
    sequence = useq.MDASequence.model_validate(stored)
    of_plate = isinstance(sequence.stage_positions, useq.WellPlatePlan)
    places, left_out = [], []
    for event in itertools.islice(sequence, MOST_PLACES + 1):
        if event.x_pos is None or event.y_pos is None:
            raise ValueError("a position has no x and y")
        name, grid = str(event.pos_name or ""), event.index.get("g")
        name = f"{name}_{grid:04d}" if grid is not None else name
        places.append(Place(name, event.x_pos, event.y_pos, None if of_plate else event.z_pos))
        if of_plate and event.z_pos:
            left_out.append(event.z_pos)
    return places, left_out
