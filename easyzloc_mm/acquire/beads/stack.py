"""One bead stack on the microscope: arrive, settle, and photograph plane after plane."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

import numpy as np

from easyzloc_mm.acquire.beads.plan import FieldPlan
from easyzloc_mm.beads.camera_response import mean_of_frames
from easyzloc_mm.errors import EasyZlocWarning
from easyzloc_mm.io.beads.writer import PlaneRecord
from easyzloc_mm.microscope.protocol import Microscope
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.typing import U16, StagePosition

FIRST_PLANE_TRIES = 5
CREEP_UM = 0.01
"""A stage whose reading moves less than this between two images has settled."""
FIRST_PLANE_UM = 0.1
"""Largest distance of the first plane from its target; of every plane the stage's own reading is stored."""


class StackCamera:
    """Photographs planes by a profile's bead plan.

    Parameters
    ----------
    microscope : Microscope
        Connected.
    profile : Profile
    """

    def __init__(self, microscope: Microscope, profile: Profile) -> None:
        self._microscope = microscope
        self._plan = profile.beads
        self._maximum = 2**profile.camera.bit_depth - 1
        self._exposure_ms = 0.0

    def arrive(self, field: FieldPlan) -> None:
        """Go to a place, below its first plane, and set its light."""
        self._microscope.move_z(field.approach_z_um)
        self._microscope.move_xy(field.x_um, field.y_um)
        self._microscope.set_illumination(field.illumination)
        self._exposure_ms = self._microscope.set_exposure(field.exposure_ms)

    @property
    def nominal(self) -> int:
        """Number of the plane nearest to focus."""
        plan = self._plan
        return int(np.argmin(np.abs(plan.z_start_nm + plan.z_step_nm * np.arange(plan.planes))))

    def take(self, field: FieldPlan, keep: Callable[[int, U16, PlaneRecord], None]) -> U16:
        """Photograph one stack and return the image in its nominal focus.

        Parameters
        ----------
        field : FieldPlan
            Where the stage has arrived.
        keep : callable
            Given each plane's number, image and record as soon as it is taken.
        """
        with self._microscope.hold_shutter_open():
            self._first_plane(field.z_um[0])
            for plane, z_um in enumerate(field.z_um):
                image, position, taken_s = self._plane(z_um)
                record = PlaneRecord(
                    requested_z_um=z_um,
                    measured_z_um=position.z_um,
                    x_um=position.x_um,
                    y_um=position.y_um,
                    exposure_ms=self._exposure_ms,
                    illumination=field.illumination,
                    time_s=taken_s,
                )
                keep(plane, image, record)
                if plane == self.nominal:
                    middle = image
        return middle

    def take_again(self, field: FieldPlan) -> U16:
        """Photograph the plane in nominal focus once more."""
        self._microscope.move_z(field.approach_z_um)
        with self._microscope.hold_shutter_open():
            return self._plane(field.z_um[self.nominal])[0]

    def _first_plane(self, z_um: float) -> None:
        """Wait until the stage stands at the first plane: it comes from afar, and its creep would bend the stack."""
        before = np.inf
        for _ in range(FIRST_PLANE_TRIES):
            _, position, _ = self._plane(z_um)
            now = self._microscope.position().z_um
            still = abs(now - position.z_um) <= CREEP_UM and (abs(now - z_um) <= FIRST_PLANE_UM or now == before)
            if still:
                break
            before = now
        if not still or abs(now - z_um) > FIRST_PLANE_UM:
            state = "is still moving" if not still else "stands"
            warnings.warn(
                f"the first plane was asked for at {z_um:.3f} um and the stage {state} at {now:.3f} um: raise "
                "beads.settle_ms, or check the stage",
                EasyZlocWarning,
                stacklevel=2,
            )

    def _plane(self, z_um: float) -> tuple[U16, StagePosition, float]:
        self._microscope.move_z(z_um)
        time.sleep(self._plan.settle_ms / 1000)
        position = self._microscope.position()
        taken_s = time.time()
        frames = (self._microscope.expose() for _ in range(self._plan.frames_per_plane))
        return mean_of_frames(frames, self._maximum), position, taken_s
