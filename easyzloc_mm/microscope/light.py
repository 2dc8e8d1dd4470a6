"""Shutter and illumination presets: the light is on exactly while something is exposed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from easyzloc_mm.errors import InputError
from easyzloc_mm.microscope.deadlines import CALL_S, answer, command, wait_until
from easyzloc_mm.microscope.mmcore import MMCore
from easyzloc_mm.profile.schema import Devices


class CoreLight:
    """The light of one connection. Takes the shutter over from MMCore's auto-shutter, and closes it.

    Parameters
    ----------
    core : MMCore
        With the configuration loaded.
    devices : Devices
        Labels; both shutter and illumination group may be absent.

    Raises
    ------
    HardwareError
        The shutter does not answer.
    """

    def __init__(self, core: MMCore, devices: Devices) -> None:
        self._core = core
        self._shutter, self._group = devices.shutter, devices.illumination_group
        self._held = self._released = self._preset_changed = False
        self._auto_shutter_before = bool(answer("reading auto-shutter", core.get_auto_shutter))
        self._preset_before = answer("reading the light", core.get_current_config, self._group) if self._group else None
        if self._shutter:
            # The light goes on exactly when this program opens it, not whenever the camera runs.
            command("taking over the shutter", core.set_shutter_device, self._shutter)
            command("taking over the shutter", core.set_auto_shutter, False)
            self.close_shutter()

    def set_illumination(self, preset: str | None) -> None:
        """Apply a preset of the illumination group; None leaves the light as it is.

        Raises
        ------
        InputError
            There is no such preset; the message lists what there is.
        """
        if preset is None:
            return
        core, group = self._core, self._group
        known = answer("reading the light", core.get_available_configs, group) if group else ()
        if group is None or preset not in known:
            raise InputError(f"there is no illumination preset '{preset}'; there is: {', '.join(known) or 'none'}")
        command(f"switching the light to {preset}", core.set_config, group, preset)
        command(f"waiting for the light {preset}", core.wait_for_config, group, preset)
        self._preset_changed = True

    @contextmanager
    def hold_shutter_open(self) -> Iterator[None]:
        """Keep the shutter open over several exposures; the outermost of nested uses opens and closes it."""
        if self._held:
            yield
            return
        self._held = True
        try:
            self._switch(True)
            yield
        finally:
            self._held = False
            # A stream that was left half-read may be cleared away after the devices are gone.
            if not self._released:
                self.close_shutter()

    def close_shutter(self) -> None:
        """Close the shutter, and wait until it is closed."""
        self._switch(False)

    def restore_preset(self) -> None:
        """Apply the preset that held before, if another was applied."""
        if self._preset_changed and self._group and self._preset_before:
            command("restoring the light", self._core.set_config, self._group, self._preset_before)

    def restore_auto_shutter(self) -> None:
        """Give the shutter back to MMCore as it was."""
        if self._shutter:
            command("restoring auto-shutter", self._core.set_auto_shutter, self._auto_shutter_before)

    def release(self) -> None:
        """Send no further command to the shutter: the connection is over."""
        self._released = True

    def _switch(self, is_open: bool) -> None:
        label = self._shutter
        if label is None:
            return
        command(f"{'opening' if is_open else 'closing'} shutter '{label}'", self._core.set_shutter_open, label, is_open)
        wait_until(CALL_S, f"shutter '{label}' stayed busy", lambda: not self._core.device_busy(label))
