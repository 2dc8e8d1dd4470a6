"""The z and xy stages: every move is checked against the limits, waited for, and measured."""

from __future__ import annotations

from collections.abc import Callable

from easyzloc_mm.errors import InputError
from easyzloc_mm.microscope.deadlines import CALL_S, answer, command, wait_until, within
from easyzloc_mm.microscope.mmcore import MMCore
from easyzloc_mm.profile.schema import Devices, Limits
from easyzloc_mm.typing import StagePosition

MOVE_S = 60.0
"""Deadline of a stage move, s; a slow stage crosses a slide in this time."""
Z_TOLERANCE_UM = 0.1
XY_TOLERANCE_UM = 3.0
"""How far from its target a stage may report to be once it is no longer busy."""


class CoreStages:
    """The stages of one connection; where they stand when it begins is where they are brought back to.

    Parameters
    ----------
    core : MMCore
        With the configuration loaded.
    devices : Devices
        Labels.
    limits : Limits
        Where the stages may go.

    Raises
    ------
    HardwareError
        A stage does not answer.
    """

    def __init__(self, core: MMCore, devices: Devices, limits: Limits) -> None:
        self._core = core
        self._z, self._xy = devices.z_stage, devices.xy_stage
        self._limits = limits
        self._origin = self.position()
        self._z_moved = self._xy_moved = False

    @property
    def moved(self) -> bool:
        """Whether this connection has moved a stage."""
        return self._z_moved or self._xy_moved

    def position(self) -> StagePosition:
        """Return where the stages report to be, um."""
        core, xy = self._core, self._xy
        return within(
            CALL_S,
            "reading the stages",
            lambda: StagePosition(
                float(core.get_x_position(xy)), float(core.get_y_position(xy)), float(core.get_position(self._z))
            ),
        )

    def move_z(self, z_um: float) -> float:
        """Move the z stage, wait until it has arrived, and return where it reports to be, um."""
        core, label = self._core, self._z
        self._limits.check(z_um=z_um)
        if not self._z_moved:
            self._check_origin(z_um=self._origin.z_um)
            self._z_moved = True
        target = f"z = {z_um:.3f} um"
        command(f"moving z to {z_um:.3f} um", core.set_position, label, float(z_um), seconds=MOVE_S)
        self._wait_for(label, target, lambda: abs(core.get_position(label) - z_um) <= Z_TOLERANCE_UM)
        return float(answer("reading the z stage", core.get_position, label))

    def move_xy(self, x_um: float, y_um: float) -> tuple[float, float]:
        """Move the xy stage, wait until it has arrived, and return where it reports to be, um."""
        core, label = self._core, self._xy
        self._limits.check(x_um=x_um, y_um=y_um)
        if not self._xy_moved:
            self._check_origin(x_um=self._origin.x_um, y_um=self._origin.y_um)
            self._xy_moved = True
        target = f"x, y = {x_um:.1f}, {y_um:.1f} um"
        command(f"moving to {target}", core.set_xy_position, label, float(x_um), float(y_um), seconds=MOVE_S)
        self._wait_for(
            label,
            target,
            lambda: (
                abs(core.get_x_position(label) - x_um) <= XY_TOLERANCE_UM
                and abs(core.get_y_position(label) - y_um) <= XY_TOLERANCE_UM
            ),
        )
        x_um = float(answer("reading the xy stage", core.get_x_position, label))
        return x_um, float(answer("reading the xy stage", core.get_y_position, label))

    def return_z(self) -> None:
        """Bring z back to where it stood, if it was moved."""
        if self._z_moved:
            self.move_z(self._origin.z_um)

    def return_xy(self) -> None:
        """Bring x and y back to where they stood, if they were moved."""
        if self._xy_moved:
            self.move_xy(self._origin.x_um, self._origin.y_um)

    def _check_origin(self, **position: float) -> None:
        """Refuse to leave a position outside the limits: the stage could not be brought back to it."""
        try:
            self._limits.check(**position)
        except InputError as error:
            raise InputError(f"the stage stands outside the profile's limits now: {error}") from None

    def _wait_for(self, label: str, target: str, near: Callable[[], bool]) -> None:
        within(
            MOVE_S + CALL_S,
            f"waiting for {target}",
            lambda: wait_until(
                MOVE_S,
                f"stage '{label}' did not reach {target}",
                lambda: not self._core.device_busy(label) and near(),
            ),
        )
