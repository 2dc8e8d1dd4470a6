"""The profile held against the devices that are really there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from easyzloc_mm.errors import HardwareError, InputError
from easyzloc_mm.microscope.mmcore import MMCore
from easyzloc_mm.profile.schema import Profile

DEVICE_KINDS = {"camera": 2, "shutter": 3, "z_stage": 5, "xy_stage": 6}
"""MMCore's numbers of device types, by field of the profile's ``[devices]``."""
AUTO_FOCUS_KIND = 9
"""MMCore's number of autofocus devices."""
LEAST_BUFFER_S = 2.0
"""A shorter image buffer overflows at the first hiccup of the disk."""


class Status(StrEnum):
    """What a checked thing is."""

    OK = "ok"
    WARN = "warn"
    """Usable, but it should be looked at."""
    FAIL = "fail"
    """Not usable."""


@dataclass(frozen=True)
class Finding:
    """One checked thing, and what its status means for the person at the microscope."""

    subject: str
    status: Status
    text: str


LAST_OF_LATIN_1 = 0xFF
IN_USE = "the camera is running already, in Micro-Manager's Live view or in another run"
WAIT_FOR_IT = "switch Live off, or wait for the run to end"


def check_idle(core: MMCore) -> None:
    """Refuse a microscope whose camera somebody uses: setting it up would end that run, or hang MMCore.

    Raises
    ------
    HardwareError
        A sequence is running.
    """
    if core.is_sequence_running():
        raise HardwareError(f"{IN_USE}: {WAIT_FOR_IT}")


def check_labels_cross_the_bridge(profile: Profile) -> None:
    """Refuse labels that come as question marks over the Java bridge, which speaks Latin-1.

    Raises
    ------
    InputError
        The profile names one; the message says which.
    """
    named = {f"devices.{field}": label for field, label in profile.devices.model_dump().items() if label}
    lock, imaging = profile.focus_lock, profile.imaging
    if lock is not None:
        named |= {"focus_lock.device": lock.device, "focus_lock.offset_device": lock.offset_device or ""}
        named |= {"focus_lock.state_property": lock.state_property or "", "focus_lock.states": "".join(lock.states)}
    interlocks = (f"{lock.device}{lock.property}{lock.value}" for lock in profile.watch.interlocks)
    named["watch.interlocks"] = "".join(interlocks)
    named["beads.illuminations"] = "".join(profile.beads.illuminations)
    named["imaging.illumination"] = imaging.illumination or ""
    named["imaging.bleach_illumination"] = imaging.bleach_illumination or ""
    for field, label in named.items():
        strange = "".join(letter for letter in label if ord(letter) > LAST_OF_LATIN_1)
        if strange:
            raise InputError(
                f"{field} = '{label}': '{strange}' does not come through Micro-Manager's server; rename it in "
                'Micro-Manager, or use connection.backend = "python"'
            )


def use_camera(core: MMCore, label: str) -> None:
    """Make a camera MMCore's default one, if it is not already: to set it may take seconds."""
    if core.get_camera_device() != label:
        core.set_camera_device(label)


def check_profile(profile: Profile, core: MMCore) -> list[Finding]:
    """Return how every device label, preset and camera property that `profile` names fits. Moves and opens nothing.

    Parameters
    ----------
    profile : Profile
        What the instrument should be.
    core : MMCore
        With the configuration loaded.

    Returns
    -------
    list of Finding
        With ``fail`` where the profile cannot be used with these devices.
    """
    findings = [*_labels(profile, core), *_focus_lock(profile, core), *_interlocks(profile, core)]
    if any(finding.status == Status.FAIL for finding in findings):
        return findings
    return [*findings, *_presets(profile, core), *_camera(profile, core), *_positions(profile, core)]


def _labels(profile: Profile, core: MMCore) -> Iterator[Finding]:
    loaded = core.get_loaded_devices()
    for field, kind in DEVICE_KINDS.items():
        label = getattr(profile.devices, field)
        if label is None:
            yield Finding(field, Status.WARN, "no shutter in the profile: the program cannot switch the light off")
            continue
        fitting = fitting_devices(core, kind)
        if label in fitting:
            yield Finding(field, Status.OK, label)
        else:
            what = "is another kind of device" if label in loaded else "is not in the Micro-Manager configuration"
            yield Finding(
                field, Status.FAIL, f"devices.{field} = '{label}' {what}; it has: {', '.join(fitting) or 'none'}"
            )


def _focus_lock(profile: Profile, core: MMCore) -> Iterator[Finding]:
    lock = profile.focus_lock
    if lock is None:
        if core.is_continuous_focus_enabled():
            text = "one is on, and the profile has no [focus_lock]: it will move z back; switch it off, or describe it"
            yield Finding("focus lock", Status.WARN, text)
        return
    named = (("device", lock.device, AUTO_FOCUS_KIND), ("offset_device", lock.offset_device, DEVICE_KINDS["z_stage"]))
    for field, label, kind in named:
        fitting = fitting_devices(core, kind)
        if label is not None and label not in fitting:
            text = f"focus_lock.{field} = '{label}' is no such device; there is: {', '.join(fitting) or 'none'}"
            yield Finding("focus lock", Status.FAIL, text)
            return
    if lock.state_property is not None and not _has_property(core, lock.device, lock.state_property):
        text = f"focus_lock.state_property = '{lock.state_property}' is no property of {lock.device}"
        yield Finding("focus lock", Status.FAIL, text)
        return
    yield Finding("focus lock", Status.OK, lock.device)


def _interlocks(profile: Profile, core: MMCore) -> Iterator[Finding]:
    for lock in profile.watch.interlocks:
        if not _has_property(core, lock.device, lock.property):
            text = f"watch.interlocks: there is no device '{lock.device}' with a property '{lock.property}'"
            yield Finding("interlock", Status.FAIL, text)


def _has_property(core: MMCore, label: str, name: str) -> bool:
    return label in core.get_loaded_devices() and bool(core.has_property(label, name))


def fitting_devices(core: MMCore, kind: int) -> list[str]:
    """Return the labels of the loaded devices of a kind (`DEVICE_KINDS`)."""
    return [name for name in core.get_loaded_devices() if int(core.get_device_type(name)) == kind]


def _presets(profile: Profile, core: MMCore) -> Iterator[Finding]:
    group = profile.devices.illumination_group
    if group is None:
        return
    groups = core.get_available_config_groups()
    if group not in groups:
        yield Finding(
            "illumination_group",
            Status.FAIL,
            f"devices.illumination_group = '{group}' is not in the configuration; it has: " + ", ".join(groups),
        )
        return
    known = core.get_available_configs(group)
    named = {
        *profile.beads.illuminations,
        *((profile.imaging.illumination,) if profile.imaging.illumination else ()),
    }
    missing = sorted(named - set(known))
    if missing:
        text = f"group '{group}' has no preset {', '.join(missing)}; it has: {', '.join(known)}"
        yield Finding("illumination presets", Status.FAIL, text)
    else:
        yield Finding("illumination presets", Status.OK, f"{group}: {', '.join(known)}")


def _camera(profile: Profile, core: MMCore) -> Iterator[Finding]:
    use_camera(core, profile.devices.camera)
    width, height = int(core.get_image_width()), int(core.get_image_height())
    wanted = profile.camera
    same = (width, height) == (wanted.width_px, wanted.height_px)
    yield Finding(
        "camera size",
        Status.OK if same else Status.FAIL,
        f"{width} x {height} px"
        + (
            ""
            if same
            else f", but camera.width_px x height_px is {wanted.width_px} x {wanted.height_px}: correct the "
            "profile, or the camera's ROI and binning"
        ),
    )
    depth, channels = int(core.get_bytes_per_pixel()), int(core.get_number_of_components())
    fits = depth in (1, 2) and channels == 1
    yield Finding(
        "pixel type",
        Status.OK if fits else Status.FAIL,
        f"{8 * depth} bit, {channels} channel(s)" + ("" if fits else ": set the camera to 16 bit grey"),
    )
    bits = int(core.get_image_bit_depth())
    if bits != wanted.bit_depth:
        yield Finding("bit depth", Status.WARN, f"the camera has {bits} bit, camera.bit_depth is {wanted.bit_depth}")
    pixel_nm = float(core.get_pixel_size_um()) * 1000
    if pixel_nm > 0 and abs(pixel_nm / profile.optics.pixel_size_nm - 1) > 0.02:
        yield Finding(
            "pixel size",
            Status.WARN,
            f"{pixel_nm:.4g} nm in Micro-Manager, optics.pixel_size_nm is {profile.optics.pixel_size_nm:.4g}",
        )
    frame_mb = width * height * depth / 2**20
    seconds = profile.connection.buffer_size_mb / frame_mb * profile.imaging.exposure_ms / 1000
    yield Finding(
        "image buffer",
        Status.OK if seconds >= LEAST_BUFFER_S else Status.WARN,
        f"holds {seconds:.1f} s at {profile.imaging.exposure_ms:g} ms"
        + ("" if seconds >= LEAST_BUFFER_S else "; raise connection.buffer_size_mb"),
    )


def _positions(profile: Profile, core: MMCore) -> Iterator[Finding]:
    devices, limits = profile.devices, profile.limits
    xy = (float(core.get_x_position(devices.xy_stage)), float(core.get_y_position(devices.xy_stage)))
    for axis, value in zip("xyz", (*xy, float(core.get_position(devices.z_stage))), strict=True):
        (low, high), inside = limits.range_um(axis), limits.contains(**{f"{axis}_um": value})
        yield Finding(
            f"{axis} position",
            Status.OK if inside else Status.WARN,
            f"{value:.3f} um, limits {low:g}..{high:g}"
            + ("" if inside else ": move the stage inside before a run, or correct the profile's [limits]"),
        )
