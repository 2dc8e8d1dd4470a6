"""A first profile for a microscope: the commented template, filled in with what the instrument reports."""

from __future__ import annotations

import json
import re

from easyzloc_mm.io.camera_database import MeasuredCamera
from easyzloc_mm.io.profiles import shipped_profiles
from easyzloc_mm.microscope.setup.discover import Discovered
from easyzloc_mm.profile.plausible import TO_CHECK
from easyzloc_mm.profile.schema import Connection

XY_REACH_UM, Z_REACH_UM = 1000.0, 5.0
"""Limits around where the stages stand: narrow, since it is unknown where the objective would touch."""
LIGHT_WORDS = ("laser", "light", "illum", "led", "power", "excitation")
NO_LIGHT = ("path", "lightsheet")
"""Words of groups that only sound like it: a light path leads the light elsewhere."""
BITS = range(8, 17)
BY_HAND = {
    "optics": ("na", "immersion_index", "sample_index", "emission_nm", "pixel_size_nm"),
    "camera": ("baseline_adu", "electrons_per_adu", "read_noise_e", "excess_noise"),
}
"""Fields that no device reports, by section of the profile."""

Value = str | float | int | None


def draft_profile(
    found: Discovered,
    connection: Connection,
    *,
    name: str,
    known: dict[str, float],
    measured_before: MeasuredCamera | None = None,
) -> tuple[str, list[str]]:
    """Return the template with its values replaced by this microscope's.

    Parameters
    ----------
    found : Discovered
        What the microscope reports.
    connection : Connection
        How it was reached.
    name : str
        Of the profile.
    known : dict of str to float
        Values that only a person knows, by field: ``na``, ``emission_nm``, ``pixel_size_nm``, ...
    measured_before : MeasuredCamera, optional
        This camera in this readout mode, as `camera-calibrate` measured it once.

    Returns
    -------
    text : str
        The profile, TOML, with the template's comments.
    to_check : list of str
        Fields whose values are the template's and not this microscope's, or were chosen among several; the text marks
        them, too.
    """
    at = found.position
    pixel_nm = known.get("pixel_size_nm", found.pixel_size_nm)
    values: dict[str, dict[str, Value]] = {
        "": {"name": name, "description": "written by easyzloc-mm profile new"},
        "connection": {
            "backend": str(connection.backend),
            "mm_dir": str(connection.mm_dir) if connection.mm_dir else None,
            "config_file": str(connection.config_file) if connection.config_file else None,
            "java_port": connection.java_port,
        },
        "devices": {
            **dict.fromkeys(("shutter", "illumination_group")),
            **found.devices,
            "illumination_group": light_group(found),
        },
        "optics": {**({"pixel_size_nm": round(pixel_nm, 3)} if pixel_nm else {})},
        "camera": {
            "width_px": found.width_px,
            "height_px": found.height_px,
            **({"bit_depth": found.bit_depth} if found.bit_depth in BITS else {}),
            **({"serial": found.identity.serial} if found.identity.serial else {}),
            **({"readout_mode": found.identity.readout_mode} if found.identity.readout_mode else {}),
        },
        "limits": {
            f"{axis}_{end}_um": round(centre + sign * reach, 3)
            for axis, centre, reach in (("x", at.x_um, XY_REACH_UM), ("y", at.y_um, XY_REACH_UM),
                                        ("z", at.z_um, Z_REACH_UM))
            for end, sign in (("min", -1), ("max", 1))
        },
    }  # fmt: skip
    measured = measured_units(measured_before)
    values["camera"] |= measured
    for section, fields in BY_HAND.items():
        values[section] |= {field: known[field] for field in fields if field in known}
    template = shipped_profiles()["template"].read_text(encoding="utf-8")
    doubtful = {f"{part}.{field}": "the template's value" for part, fields in BY_HAND.items() for field in fields
                if field not in values[part]}  # fmt: skip
    doubtful |= _chosen(found, values["devices"])
    remarks = {name: f"{TO_CHECK}: {why}" for name, why in doubtful.items()}
    if measured_before is not None:
        remarks |= {f"camera.{field}": measured_before.in_words() for field in measured if field not in known}
    lines, section = [], ""
    for line in template.splitlines():
        header = re.fullmatch(r"\[(\w+)\]", line)
        if header:
            section = header[1]
        filled = _filled(line, values.get(section, {}))
        key = re.match(r"\w+", filled)
        remark = remarks.get(f"{section}.{key[0]}") if key else None
        lines.append(filled if remark is None else f"{filled.partition('  #')[0].rstrip()}    # {remark}")
    return "\n".join(lines[_first_key(lines) :]) + "\n", [*doubtful, "limits"]


def measured_units(camera: MeasuredCamera | None) -> dict[str, Value]:
    """Return the camera's units by field, rounded as far as they are known; nothing where it was not measured."""
    if camera is None:
        return {}
    response = camera.response
    return {
        "baseline_adu": round(response.baseline_adu, 1),
        "electrons_per_adu": float(f"{response.electrons_per_adu:.4g}"),
        "read_noise_e": float(f"{response.read_noise_e:.3g}"),
        "excess_noise": response.excess_noise,
    }


def _chosen(found: Discovered, devices: dict[str, Value]) -> dict[str, str]:
    """Return the devices that were chosen among several, each with the others."""
    choices = {**found.choices, "illumination_group": tuple(found.groups)}
    why = {}
    for field, chosen in devices.items():
        others = [label for label in choices.get(field, ()) if label != chosen]
        if chosen and others:
            why[f"devices.{field}"] = f"chosen by Micro-Manager or by its name; there are also {', '.join(others)}"
    return why


def light_group(found: Discovered) -> str | None:
    """Return the configuration group that probably switches the light: the first whose name suggests it."""
    named = [
        group
        for group in found.groups
        if any(word in group.lower() for word in LIGHT_WORDS) and not any(word in group.lower() for word in NO_LIGHT)
    ]
    return named[0] if named else None


def _first_key(lines: list[str]) -> int:
    # The template's header is about copying it, which makes no sense in a copy.
    return next(index for index, line in enumerate(lines) if line.startswith("name"))


def _filled(line: str, values: dict[str, Value]) -> str:
    """Return a line with this microscope's value; comment the line out where the microscope has nothing of the kind."""
    match = re.fullmatch(r"(?:# )?(\w+) = (?:\"[^\"]*\"|'[^']*'|[^#\s]+)(\s*#.*)?", line)
    if match is None or match[1] not in values:
        return line
    value = values[match[1]]
    if value is None:
        return f"# {match[1]} = (none)"
    # JSON's strings and numbers are TOML's too.
    return f"{match[1]} = {json.dumps(value)}{match[2] or ''}"
