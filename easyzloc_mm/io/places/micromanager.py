"""Position lists of Micro-Manager, ``.pos``: property maps of version 2, and JSON of 1.4."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.places.place import Place
from easyzloc_mm.io.reading import reading
from easyzloc_mm.profile.schema import Profile

FORMAT = "Micro-Manager position list"
CURE = "save it again in Micro-Manager's Stage Position List"

Stages = dict[str, list[float]]
"""Position of each device of one entry: x and y, or z alone, um."""


def read_position_list(path: Path, profile: Profile | None, device_map: Mapping[str, str]) -> list[Place]:
    """Read the places of a position list, and hold its devices against the profile's."""
    with reading(path, FORMAT, cure=CURE):
        stored = json.loads(path.read_text(encoding="utf-8-sig"))
        entries = list(_version_2(stored) if "map" in stored else _version_1(stored))
    return [_place(path, label, stages, profile, device_map) for label, stages in entries]


def _version_2(stored: dict[str, Any]) -> Iterator[tuple[str, Stages]]:
    """Entries of a property map: each value is ``{"type": ..., "scalar": value}`` or ``{..., "array": [...]}``."""
    for entry in stored["map"]["StagePositions"]["array"]:
        stages = {}
        for device in entry["DevicePositions"]["array"]:
            where = device["Position_um"]
            stages[str(device["Device"]["scalar"])] = [float(v) for v in where.get("array", [where.get("scalar")])]
        yield str(entry.get("Label", {}).get("scalar", "")), stages


def _version_1(stored: dict[str, Any]) -> Iterator[tuple[str, Stages]]:
    for entry in stored["POSITIONS"]:
        stages = {
            str(device["DEVICE"]): [float(device[axis]) for axis in ("X", "Y")[: int(device["AXES"])]]
            for device in entry["DEVICES"]
        }
        yield str(entry.get("LABEL", "")), stages


def _place(path: Path, label: str, stages: Stages, profile: Profile | None, device_map: Mapping[str, str]) -> Place:
    xy: list[float] | None = None
    z_um: float | None = None
    for device, where in stages.items():
        ours = device_map.get(device, device)
        kind = _kind(ours, len(where), profile)
        if kind == "xy":
            xy = where
        elif kind == "z":
            z_um = where[0]
        elif kind == "offset":
            warnings.warn(
                f"{path} has positions of '{device}', which is the focus lock's offset and not z: they are left out",
                EasyZlocWarning,
                stacklevel=4,
            )
        elif kind is None:
            assert profile is not None
            raise InputError(
                f"{path} was made with stage '{device}', and this microscope has xy_stage '{profile.devices.xy_stage}' "
                f"and z_stage '{profile.devices.z_stage}': if one of them stands where '{device}' stood, say so in a "
                f'TOML plan, device_map = {{ "{device}" = "..." }} ("" leaves it out)'
            )
    if xy is None or len(xy) != 2:
        raise InputError(f"{path}: position '{label}' has no x and y; {CURE}")
    return Place(label, xy[0], xy[1], z_um)


def _kind(label: str, axes: int, profile: Profile | None) -> str | None:
    """Return what a device is here; None where the profile does not know it."""
    if not label:
        return "left out"
    if profile is None:
        return "xy" if axes == 2 else "z"
    lock = profile.focus_lock
    known = {profile.devices.xy_stage: "xy", profile.devices.z_stage: "z"}
    if lock is not None and lock.offset_device is not None:
        known[lock.offset_device] = "offset"
    return known.get(label)
