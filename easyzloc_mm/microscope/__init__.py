"""The only room that reaches devices: connect, move, expose, stream, make safe."""

from easyzloc_mm.microscope.backends import connect
from easyzloc_mm.microscope.device_check import DeviceFinding, check_profile
from easyzloc_mm.microscope.protocol import Microscope

__all__ = ["DeviceFinding", "Microscope", "check_profile", "connect"]
