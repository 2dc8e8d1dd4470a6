"""Shutter and illumination presets: the light is on exactly while something is exposed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from easyzloc_mm.errors import HardwareError, InputError
from easyzloc_mm.microscope.deadlines import CALL_S, answer, command, wait_until
from easyzloc_mm.microscope.mmcore import MMCore
from easyzloc_mm.profile.schema import Devices

Setting = tuple[str, str, str]
"""A device's label, a property of it, and its value."""


class CoreLight:
    """The light of one connection.

    The shutter is taken over from MMCore's auto-shutter, and closed: at once, or, in a Micro-Manager that somebody
    works with, at the first exposure, so that who only looks changes nothing. There, everything is given back at the
    end as it was found: what was open is open again.

    Parameters
    ----------
    core : MMCore
        With the configuration loaded.
    devices : Devices
        Labels; both shutter and illumination group may be absent.
    shared : bool
        Whether MMCore is that of a Micro-Manager that stays open.

    Raises
    ------
    HardwareError
        The shutter does not answer.
    """

    def __init__(self, core: MMCore, devices: Devices, *, shared: bool) -> None:
        self._core = core
        self._shutter, self._group = devices.shutter, devices.illumination_group
        self._held = self._released = False
        self._preset_before: str | None = None
        self._settings_before: list[Setting] = []
        self._found: _ShutterState | None = None
        self._shared = shared
        self._lit_s = 0.0
        self._lit_since_s: float | None = None
        if not shared:
            self.take_over()

    def lit_ms(self) -> float:
        """Return the time for which this connection has lit the sample, ms.

        Without a shutter only the times count in which this program exposes; it cannot switch the light off between.
        """
        since_s = self._lit_since_s  # read once: another thread may close the shutter meanwhile
        now_s = 0.0 if since_s is None else time.monotonic() - since_s
        return 1000 * (self._lit_s + now_s)

    def set_illumination(self, preset: str | None) -> None:
        """Apply a preset of the illumination group; None leaves the light as it is.

        Raises
        ------
        InputError
            There is no such preset; the message lists what there is.
        """
        self.check_preset(preset)
        core, group = self._core, self._group
        if preset is None or group is None:
            return
        if self._preset_before is None:
            self._preset_before = command("reading the light", core.get_current_config, group)
            if not self._preset_before:  # set by hand to what is no preset
                self._settings_before = _settings(command("reading the light", core.get_config_group_state, group))
        command(f"switching the light to {preset}", core.set_config, group, preset)
        command(f"waiting for the light {preset}", core.wait_for_config, group, preset)

    def check_preset(self, preset: str | None) -> None:
        """Raise `InputError` where the illumination group has no such preset; None is no preset."""
        if preset is None:
            return
        known = answer("reading the light", self._core.get_available_configs, self._group) if self._group else ()
        if preset not in known:
            raise InputError(f"there is no illumination preset '{preset}'; there is: {', '.join(known) or 'none'}")

    def take_over(self) -> None:
        """Let the light go on exactly when this program opens the shutter, not whenever the camera runs."""
        label, core = self._shutter, self._core
        if label is None or self._found is not None:
            return
        self._found = _ShutterState(
            command("reading the shutter", core.get_shutter_device),
            bool(answer("reading auto-shutter", core.get_auto_shutter)),
            bool(command("reading the shutter", core.get_shutter_open, label)),
        )
        command("taking over the shutter", core.set_shutter_device, label)
        command("taking over the shutter", core.set_auto_shutter, False)
        self._switch(False)

    @contextmanager
    def hold_shutter_open(self) -> Iterator[None]:
        """Keep the shutter open over several exposures; the outermost of nested uses opens and closes it."""
        if self._held:
            yield
            return
        self._held = True
        try:
            self.take_over()
            self._lit_since_s = time.monotonic()
            self._switch(True)
            yield
        finally:
            self._held = False
            try:
                # A stream that was left half-read may be cleared away after the devices are gone.
                if not self._released:
                    self.close_shutter()
            finally:
                self._count_light()

    def close_shutter(self) -> None:
        """Close the shutter, and wait until it is closed; one that was never taken over stays as it is.

        Raises
        ------
        HardwareError
            It does not answer: the sample may be lit.
        """
        if self._found is None:
            return
        try:
            self._switch(False)
        except HardwareError as error:
            raise HardwareError(
                f"{error}; shutter '{self._shutter}' may be open: close it by hand, or switch the light off"
            ) from error

    def restore_preset(self) -> None:
        """Apply the preset that held before, if another was applied; or, where none held, the settings one by one."""
        if self._preset_before and self._group:
            command("restoring the light", self._core.set_config, self._group, self._preset_before)
        for device, name, value in self._settings_before:
            command(f"restoring the light, {name} of {device}", self._core.set_property, device, name, value)

    def restore_device(self) -> None:
        """Make the shutter MMCore's default one again that was; presets of light may change it, too."""
        found, core = self._found, self._core
        if found is not None and str(command("reading the shutter", core.get_shutter_device)) != found.device:
            command("restoring the shutter", core.set_shutter_device, found.device)

    def reopen(self) -> None:
        """Open the shutter where it was found open, in a Micro-Manager that stays."""
        if self._found is not None and self._found.is_open and self._shared:
            self._switch(True)

    def restore_auto_shutter(self) -> None:
        """Switch MMCore's auto-shutter on again where it was on."""
        if self._found is not None:
            command("restoring auto-shutter", self._core.set_auto_shutter, self._found.is_automatic)

    def release(self) -> None:
        """Send no further command to the shutter: the connection is over."""
        self._released = True

    def _count_light(self) -> None:
        if self._lit_since_s is not None:
            self._lit_s, self._lit_since_s = self._lit_s + time.monotonic() - self._lit_since_s, None

    def _switch(self, is_open: bool) -> None:
        label = self._shutter
        if label is None:
            return
        command(f"{'opening' if is_open else 'closing'} shutter '{label}'", self._core.set_shutter_open, label, is_open)
        wait_until(CALL_S, f"shutter '{label}' stayed busy", lambda: not self._core.device_busy(label))


def _settings(state: Any) -> list[Setting]:
    """Return the settings of a group's devices; the bridge gives them as they are, pymmcore in an object."""
    if isinstance(state, list):
        return state
    each = [state.getSetting(index) for index in range(state.size())]
    return [(one.getDeviceLabel(), one.getPropertyName(), one.getPropertyValue()) for one in each]


@dataclass(frozen=True)
class _ShutterState:
    """How MMCore's shutter stood before this program came."""

    device: str
    is_automatic: bool
    is_open: bool
