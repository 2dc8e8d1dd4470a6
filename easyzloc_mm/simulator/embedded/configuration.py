"""Micro-Manager configuration of the embedded microscope."""

from __future__ import annotations

from easyzloc_mm.errors import InputError
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.simulator.scene import POWERS

LIGHT_DEVICE = "Embedded light"
"""State device whose position is the index of the illumination preset."""
FIRST_PRESET = "Medium"
"""How the light stands when the instrument is switched on."""


def configuration_text(profile: Profile, focus_um: float) -> str:
    """Return a .cfg that gives the demo devices the profile's labels, camera and illumination group.

    Raises
    ------
    InputError
        A label cannot stand in a Micro-Manager configuration, or two devices share one.
    """
    devices, camera = profile.devices, profile.camera
    kinds = [(devices.camera, "DCam"), (devices.z_stage, "DStage"), (devices.xy_stage, "DXYStage")]
    if devices.shutter is not None:
        kinds.append((devices.shutter, "DShutter"))
    kinds += _focus_lock(profile)
    kinds.append((LIGHT_DEVICE, "DStateDevice"))
    labels = [label for label, _ in kinds]
    for label in labels:
        if not label.strip() or "," in label or label in ("Core", "DHub") or labels.count(label) > 1:
            raise InputError(
                f"devices: '{label}' cannot be a device label of the embedded microscope: each device needs "
                "its own label, without commas"
            )
    presets = {
        *POWERS,
        *profile.beads.illuminations,
        *((profile.imaging.illumination,) if profile.imaging.illumination else ()),
    } - set(POWERS)
    if presets:
        raise InputError(
            f"the embedded microscope has no illumination preset {', '.join(sorted(presets))}: use {', '.join(POWERS)}"
        )
    lines = [
        "Property,Core,Initialize,0",
        "Device,DHub,DemoCamera,DHub",
        *(f"Device,{label},DemoCamera,{kind}" for label, kind in kinds),
        f"Property,{LIGHT_DEVICE},Number of positions,{len(POWERS)}",
        *(f"Parent,{label},DHub" for label in labels),
        "Property,Core,Initialize,1",
        f"FocusDirection,{devices.z_stage},1",
        f"Property,Core,Camera,{devices.camera}",
        f"Property,Core,Focus,{devices.z_stage}",
        f"Property,Core,XYStage,{devices.xy_stage}",
        *([f"Property,Core,Shutter,{devices.shutter}"] if devices.shutter else []),
        *([f"Property,Core,AutoFocus,{profile.focus_lock.device}"] if profile.focus_lock else []),
        "Property,Core,AutoShutter,1",
        f"Property,{devices.camera},PixelType,16bit",
        f"Property,{devices.camera},BitDepth,{_adapter_depth(camera.bit_depth)}",
        f"Property,{devices.camera},OnCameraCCDXSize,{camera.width_px}",
        f"Property,{devices.camera},OnCameraCCDYSize,{camera.height_px}",
        f"Property,{devices.camera},FastImage,1",
        f"Property,{devices.z_stage},Position,{focus_um}",
        f"Property,{LIGHT_DEVICE},State,{list(POWERS).index(FIRST_PRESET)}",
        *(f"Label,{LIGHT_DEVICE},{index},{name}" for index, name in enumerate(POWERS)),
    ]
    if devices.illumination_group:
        lines += [
            f"ConfigGroup,{devices.illumination_group},{name},{LIGHT_DEVICE},State,{index}"
            for index, name in enumerate(POWERS)
        ]
    lines += [
        f"ConfigPixelSize,Res0,{devices.camera},OnCameraCCDXSize,{camera.width_px}",
        f"PixelSize_um,Res0,{profile.optics.pixel_size_nm / 1000}",
    ]
    return "\n".join(lines) + "\n"


def _focus_lock(profile: Profile) -> list[tuple[str, str]]:
    lock = profile.focus_lock
    if lock is None:
        return []
    if lock.offset_device is not None or lock.state_property is not None:
        raise InputError(
            "the embedded microscope's focus lock has no offset device and no property of its state: leave out "
            "focus_lock.offset_device and focus_lock.state_property"
        )
    return [(lock.device, "DAutoFocus")]


def _adapter_depth(bits: int) -> int:
    """Smallest depth of the demo camera that holds `bits`."""
    return next(depth for depth in (8, 10, 12, 14, 16) if depth >= bits)
