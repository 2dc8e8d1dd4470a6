"""Which camera it is, and in which mode it reads out, by the properties that its adapter has."""

from __future__ import annotations

from dataclasses import dataclass

from easyzloc_mm.microscope.mmcore import MMCore

SERIALS = ("SerialNumber", "Serial Number", "CameraSerialNumber", "Camera Serial Number", "CameraID", "Camera ID")
"""Names of the property that holds a camera's number, in adapters that are known; the first that is there counts."""
MODES = (
    "ReadoutMode", "Readout Mode", "ReadoutRate", "Readout Rate", "PixelReadoutRate", "Pixel Readout Rate",
    "Sensor Mode", "SensorMode", "ScanMode", "Scan Mode", "Port", "Output_Amplifier", "Sensitivity/DynamicRange",
    "PreAmpGain", "Pre-Amp-Gain", "Gain", "EMGain", "EM Gain", "MultiplierGain", "EMSwitch", "BitDepth", "PixelType",
)  # fmt: skip
"""Properties that change baseline, gain or read noise; the image size and the exposure are none of them."""


@dataclass(frozen=True)
class CameraIdentity:
    """A camera and its readout mode; empty where the adapter does not tell.

    Attributes
    ----------
    serial : str
    readout_mode : str
        Properties and their values, in a fixed order.
    """

    serial: str
    readout_mode: str


def camera_identity(core: MMCore, label: str) -> CameraIdentity:
    """Return which camera answers to a label. On the device's thread.

    Parameters
    ----------
    core : MMCore
    label : str
        Of the camera.
    """

    def told(names: tuple[str, ...]) -> list[tuple[str, str]]:
        there = [name for name in names if core.has_property(label, name)]
        values = [(name, str(core.get_property(label, name)).strip()) for name in there]
        return [(name, value) for name, value in values if value]

    serial = next((value for _, value in told(SERIALS)), "")
    return CameraIdentity(serial, "; ".join(f"{name} {value}" for name, value in told(MODES)))
