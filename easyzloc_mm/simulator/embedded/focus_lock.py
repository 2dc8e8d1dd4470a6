"""A focus lock with the habits of real ones, on MMCore's demo autofocus: it says "locked" and "not busy" too early.

MMCore's device holds what is commanded (on or off, the offset); z follows here, through the demo stage, whenever
somebody reads it. Micrometres of offset are micrometres of z.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from easyzloc_mm.profile.schema import Devices
from easyzloc_mm.simulator.embedded.demo_core import DemoCore, replace_call

FOLLOW_S = 0.2
"""z comes within 1/e of its distance in so much time after the lock was switched on."""
STALE_S = 0.3
"""So long it says "locked" when it has found nothing."""
OIL_S = 1.0
LARGE_MOVE_UM = 200.0
"""After a larger move of the sample the reflection is lost, and the oil comes to rest only after `OIL_S`."""
CAPTURE_UM = 8.0
"""From further away it finds nothing without a search."""
CREEP_UM_S = 0.1 / 1200
"""While it says "locked", the focus wanders: 100 nm in 20 minutes."""


class SimulatedFocusLock:
    """Replaces the calls on a core that concern the focus lock and z; made before the camera that reads z.

    Parameters
    ----------
    core : DemoCore
        With a ``DAutoFocus`` as its default autofocus device.
    devices : Devices
        Labels.
    focus_um : float
        z of the focus at offset 0, without drift.
    drift_nm : callable
        Gives the sample's rise, nm, at a time in s since the instrument was switched on.
    clock : callable
        Gives the time, s.
    """

    def __init__(
        self,
        core: DemoCore,
        devices: Devices,
        focus_um: float,
        drift_nm: Callable[[float], float],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._core, self._devices, self._focus_um, self._drift_nm = core, devices, focus_um, drift_nm
        self._clock, self._lock, self._start_s = clock, threading.RLock(), clock()
        self._on_s: float | None = None
        self._from_um = 0.0
        self._finds_nothing = False
        self._rest_s = self._start_s
        self._real = {
            name: getattr(core, name)
            for name in ("get_position", "set_position", "set_xy_position", "enable_continuous_focus", "full_focus")
        }
        for name, call in (
            ("get_position", self._get_position),
            ("set_position", self._set_position),
            ("set_xy_position", self._set_xy_position),
            ("enable_continuous_focus", self._enable),
            ("is_continuous_focus_locked", self._is_locked),
            ("full_focus", self._search),
        ):
            replace_call(core, name, call)

    def _line_um(self, now_s: float) -> float:
        creep_um = CREEP_UM_S * (now_s - self._on_s) if self._on_s is not None else 0.0
        drift_um = self._drift_nm(now_s - self._start_s) / 1000
        return self._focus_um + self._core.get_auto_focus_offset() - drift_um + creep_um

    def _get_position(self, *label: str) -> float:
        with self._lock:
            if self._on_s is not None and not self._finds_nothing and label in ((), (self._devices.z_stage,)):
                now_s = self._clock()
                line_um = self._line_um(now_s)
                left = math.exp(-(now_s - self._on_s) / FOLLOW_S)
                self._real["set_position"](self._devices.z_stage, line_um + (self._from_um - line_um) * left)
            return float(self._real["get_position"](*label))

    def _set_position(self, *arguments: str | float) -> None:
        with self._lock:
            if self._on_s is not None and arguments[0] == self._devices.z_stage:
                self._enable(False)  # as some stands do, without a word
            self._real["set_position"](*arguments)

    def _set_xy_position(self, *arguments: str | float) -> None:
        xy = self._devices.xy_stage
        before = (self._core.get_x_position(xy), self._core.get_y_position(xy))
        self._real["set_xy_position"](*arguments)
        with self._lock:
            # The stage itself takes time too; the reflection is gone from the moment that it starts.
            moved_um = math.dist(before, [float(value) for value in arguments[-2:]])
            if moved_um > LARGE_MOVE_UM:
                self._rest_s = self._clock() + OIL_S
                if self._on_s is not None:
                    self._finds_nothing, self._on_s = True, self._clock()

    def _enable(self, is_on: bool) -> None:
        with self._lock:
            self._real["enable_continuous_focus"](is_on)
            if not is_on:
                self._on_s = None
                return
            self._on_s = now_s = self._clock()
            self._from_um = float(self._real["get_position"](self._devices.z_stage))
            self._finds_nothing = now_s < self._rest_s or abs(self._from_um - self._line_um(now_s)) > CAPTURE_UM

    def _is_locked(self) -> bool:
        with self._lock:
            return self._on_s is not None and (not self._finds_nothing or self._clock() - self._on_s < STALE_S)

    def _search(self) -> None:
        with self._lock:
            self._real["full_focus"]()
            now_s = self._clock()
            if now_s >= self._rest_s:
                self._real["set_position"](self._devices.z_stage, self._line_um(now_s))
                self._finds_nothing = False
