"""The focus lock: its true state, switched on and off, verified, and z read back."""

from __future__ import annotations

import logging
import math
import time

from easyzloc_mm.errors import HardwareError, InputError
from easyzloc_mm.microscope.deadlines import command
from easyzloc_mm.microscope.mmcore import MMCore
from easyzloc_mm.microscope.stages import CoreStages
from easyzloc_mm.profile.focus import FocusLockSettings, FocusState
from easyzloc_mm.profile.schema import Limits
from easyzloc_mm.typing import StagePosition

logger = logging.getLogger(__name__)

LOOK_S = 0.1
LOOKS = 4
"""So often, `LOOK_S` apart, it must say that it holds, and z must stand still, before it is believed."""
STILL_UM = 0.03
SEARCH_S = 60.0
"""Deadline of a search for the reflection, s."""


class CoreFocusLock:
    """The focus lock of one connection; what was found on is on again at the end.

    Parameters
    ----------
    core : MMCore
        With the configuration loaded.
    settings : FocusLockSettings
    stages : CoreStages
        Those that it moves.
    limits : Limits
        Where z may go.

    Raises
    ------
    HardwareError
        It does not answer.
    """

    def __init__(self, core: MMCore, settings: FocusLockSettings, stages: CoreStages, limits: Limits) -> None:
        self._core, self._settings, self._stages, self._limits = core, settings, stages, limits
        self._device_before = str(command("reading the focus lock", core.get_auto_focus_device))
        self._taken_over = False
        self._offset_before: float | None = None
        self._held_at: StagePosition = stages.position()  # moves before the first hold count from here
        self._is_on = self._found_on = self._read_on()

    @property
    def is_on(self) -> bool:
        """Whether z is the lock's, so that nobody else may move it: also where somebody has switched it on by hand."""
        return self._is_on or self._read_on()

    def state(self) -> FocusState:
        """Return what it does now, as the device tells."""
        core, settings = self._core, self._settings
        if settings.state_property is not None:
            word = str(command("reading the focus lock", core.get_property, settings.device, settings.state_property))
            return settings.states.get(word, FocusState.OUT_OF_RANGE if self._read_on() else FocusState.OFF)
        if not self._read_on():
            return FocusState.OFF
        locked = bool(command("reading the focus lock", core.is_continuous_focus_locked))
        return FocusState.LOCKED if locked else FocusState.OUT_OF_RANGE

    def off(self) -> None:
        """Switch it off, and give z back to the stage."""
        self._take_over()
        if self._read_on():
            command("switching the focus lock off", self._core.enable_continuous_focus, False)
        self._is_on = False

    def hold(self) -> float:
        """Switch it on, wait until it holds the focus, and return where z is then, um.

        The wait is by the distance that the sample was moved since it last held. If it finds nothing it searches once.

        Raises
        ------
        HardwareError
            It does not hold the focus, or holds it too far from where z was; it is off then.
        """
        here = self._stages.position()
        moved_um = math.hypot(here.x_um - self._held_at.x_um, here.y_um - self._held_at.y_um)
        self._take_over()
        time.sleep(self._settings.settle_s(moved_um))
        self._switch_on()
        if not self._holds():
            logger.info("the focus lock finds nothing at z = %.3f um: it searches", here.z_um)
            self._search()
            self._switch_on()
            if not self._holds():
                self.off()
                raise HardwareError(
                    f"focus lock '{self._settings.device}' does not hold the focus at x, y = {here.x_um:.1f}, "
                    f"{here.y_um:.1f} um: focus by hand and let it lock, or raise focus_lock.timeout_s"
                )
        self._held_at = self._checked(here.z_um)
        logger.info("focus lock holds at z = %.3f um, %+.3f um from before", self._held_at.z_um,
                    self._held_at.z_um - here.z_um)  # fmt: skip
        return self._held_at.z_um

    def search(self) -> float:
        """Let it look for the reflection over its whole range once, and return where z is then, um; it is off then."""
        before_um = self._stages.position().z_um
        self.off()
        self._take_over()
        self._search()
        return self._checked(before_um).z_um

    def offset(self) -> float:
        """Return the distance that it keeps between reflection and focus, in the device's own units."""
        device, core = self._settings.offset_device, self._core
        if device is not None:
            return float(command("reading the focus lock's offset", core.get_position, device))
        self._take_over()
        return float(command("reading the focus lock's offset", core.get_auto_focus_offset))

    def set_offset(self, offset: float) -> float:
        """Set the offset, wait until z has followed, and return where z is then, um."""
        if not math.isfinite(offset):
            raise InputError(f"a focus lock's offset of {offset}: give a number")
        if self._offset_before is None:
            self._offset_before = self.offset()
        self._command_offset(offset)
        before_um = self._stages.position().z_um
        time.sleep(self._settings.settle_s(0.0))
        if self._is_on and not self._holds():
            self.off()
            raise HardwareError(
                f"focus lock '{self._settings.device}' lost the focus at offset {offset:g}: choose one nearer to "
                f"{self._offset_before:g}"
            )
        return self._checked(before_um).z_um

    def restore_offset(self) -> None:
        """Give the offset back as it was found."""
        if self._offset_before is not None:
            self._command_offset(self._offset_before)

    def restore(self) -> None:
        """Give the lock back as it was found: on where it was on."""
        if not self._taken_over:
            return
        if self._found_on:
            self.hold()
        else:
            self.off()

    def restore_device(self) -> None:
        """Make the focus lock MMCore's default one again that was."""
        if self._taken_over and self._device_before != self._settings.device:
            command("restoring the focus lock", self._core.set_auto_focus_device, self._device_before)

    def _command_offset(self, offset: float) -> None:
        device, core = self._settings.offset_device, self._core
        what = f"setting the focus lock's offset to {offset:g}"
        if device is not None:
            command(what, core.set_position, device, float(offset))
        else:
            self._take_over()
            command(what, core.set_auto_focus_offset, float(offset))

    def _read_on(self) -> bool:
        """Whether it is on: MMCore answers for its default device, which who only looks leaves as it is."""
        borrowed = not self._taken_over and self._device_before != self._settings.device
        if borrowed:
            command("reading the focus lock", self._core.set_auto_focus_device, self._settings.device)
        try:
            return bool(command("reading the focus lock", self._core.is_continuous_focus_enabled))
        finally:
            if borrowed:
                command("reading the focus lock", self._core.set_auto_focus_device, self._device_before)

    def _take_over(self) -> None:
        if self._taken_over:
            return
        self._taken_over = True
        if self._device_before != self._settings.device:
            command("taking over the focus lock", self._core.set_auto_focus_device, self._settings.device)

    def _switch_on(self) -> None:
        self._is_on = True
        command("switching the focus lock on", self._core.enable_continuous_focus, True)
        time.sleep(self._settings.settle_s(0.0))

    def _search(self) -> None:
        command("searching with the focus lock", self._core.full_focus, seconds=SEARCH_S)

    def _holds(self) -> bool:
        """Whether, within the time-out, it says so several times in a row while z stands still."""
        end = time.monotonic() + self._settings.timeout_s
        looks, z_um = 0, self._stages.position().z_um
        while looks < LOOKS:
            time.sleep(LOOK_S)
            now_um = self._stages.position().z_um
            still = abs(now_um - z_um) <= STILL_UM
            looks = looks + 1 if still and self.state() is FocusState.LOCKED else 0
            z_um = now_um
            if looks == 0 and time.monotonic() >= end:
                return False
        return True

    def _checked(self, before_um: float) -> StagePosition:
        """Return where the stages are; refuse a z that is another surface's, or outside the limits."""
        here = self._stages.position()
        far = abs(here.z_um - before_um) > self._settings.range_um
        if far or not self._limits.contains(z_um=here.z_um):
            self.off()
            what = f"more than focus_lock.range_um = {self._settings.range_um:g} um" if far else "outside [limits],"
            raise HardwareError(
                f"focus lock '{self._settings.device}' took z from {before_um:.3f} to {here.z_um:.3f} um, {what} away: "
                "it is switched off; focus by hand, and let it lock on the sample's own cover slip"
            )
        return here
