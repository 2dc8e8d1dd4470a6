"""What a connected microscope consists of, for a first profile."""

from __future__ import annotations

from dataclasses import dataclass

from easyzloc_mm.errors import InputError
from easyzloc_mm.microscope.connect import open_core
from easyzloc_mm.microscope.deadlines import within
from easyzloc_mm.microscope.mmcore import MMCore
from easyzloc_mm.microscope.setup.checks import DEVICE_KINDS, check_idle, fitting_devices, use_camera
from easyzloc_mm.microscope.setup.identity import CameraIdentity, camera_identity
from easyzloc_mm.profile.schema import Connection
from easyzloc_mm.typing import StagePosition

READ_S = 30.0


@dataclass(frozen=True)
class Discovered:
    """A microscope as Micro-Manager describes it.

    Attributes
    ----------
    devices : dict of str to str
        Label by field of the profile's ``[devices]``: Micro-Manager's own choice, or the only device of its kind.
    choices : dict of str to tuple of str
        All labels of that kind.
    groups : dict of str to tuple of str
        Configuration groups and their presets.
    width_px, height_px, bit_depth : int
        Of the camera as it is set now.
    pixel_size_nm : float or None
        Where Micro-Manager knows it.
    position : StagePosition
        Where the stages stand.
    identity : CameraIdentity
        Of the camera.
    """

    devices: dict[str, str]
    choices: dict[str, tuple[str, ...]]
    groups: dict[str, tuple[str, ...]]
    width_px: int
    height_px: int
    bit_depth: int
    pixel_size_nm: float | None
    position: StagePosition
    identity: CameraIdentity


def discover(connection: Connection) -> Discovered:
    """Return what the microscope behind `connection` consists of. Moves no stage, opens no shutter.

    Raises
    ------
    InputError
        Micro-Manager is not found, or a camera or stage that the program needs is missing.
    HardwareError
        A device fails or stays silent.
    """
    with open_core(connection) as core:
        return within(READ_S, "reading the devices", lambda: _read(core))


def _read(core: MMCore) -> Discovered:
    check_idle(core)
    choices = {field: tuple(fitting_devices(core, kind)) for field, kind in DEVICE_KINDS.items()}
    chosen = {
        "camera": str(core.get_camera_device()),
        "shutter": str(core.get_shutter_device()),
        "z_stage": str(core.get_focus_device()),
        "xy_stage": str(core.get_xy_stage_device()),
    }
    devices = {}
    for field, labels in choices.items():
        if chosen[field] in labels:
            devices[field] = chosen[field]
        elif len(labels) == 1:
            devices[field] = labels[0]
    missing = sorted({"camera", "z_stage", "xy_stage"} - set(devices))
    if missing:
        raise InputError(
            f"the Micro-Manager configuration has no {missing[0].replace('_', ' ')} that it uses by default: "
            "choose one in its Hardware Configuration Wizard (default devices), then try again"
        )
    use_camera(core, devices["camera"])
    try:
        return _described(core, devices, choices)
    finally:
        if chosen["camera"]:
            use_camera(core, chosen["camera"])


def _described(core: MMCore, devices: dict[str, str], choices: dict[str, tuple[str, ...]]) -> Discovered:
    pixel_nm = 1000 * float(core.get_pixel_size_um())
    xy, z = devices["xy_stage"], devices["z_stage"]
    return Discovered(
        devices=devices,
        choices=choices,
        groups={group: tuple(core.get_available_configs(group)) for group in core.get_available_config_groups()},
        width_px=int(core.get_image_width()),
        height_px=int(core.get_image_height()),
        bit_depth=int(core.get_image_bit_depth()),
        pixel_size_nm=pixel_nm if pixel_nm > 0 else None,
        position=StagePosition(
            float(core.get_x_position(xy)), float(core.get_y_position(xy)), float(core.get_position(z))
        ),
        identity=camera_identity(core, devices["camera"]),
    )
