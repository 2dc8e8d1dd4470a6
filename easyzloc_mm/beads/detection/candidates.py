"""Bead candidates of all stacks: what was found, before anyone judged it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from easyzloc_mm.beads.detection.form import PsfForm
from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.numerics.field_polynomial import field_coordinates
from easyzloc_mm.typing import F64, I64, U16, Bool


@dataclass(frozen=True)
class Candidates:
    """What was found, before anyone judged it; arrays of shape (n,).

    Attributes
    ----------
    rois : ndarray, shape (n, P, R, R), uint16
        ADU; planes beyond those of a bead's own stack are zero.
    stage_nm : sequence of ndarray
        Rising stage positions of each bead's planes.
    x, y : ndarray
        Where each was found, sensor pixels.
    x0, y0 : ndarray
        Sensor pixel of the ROI's corner.
    stack : ndarray
        Which stack each is from.
    edge : ndarray of bool
        Whether the ROI leaves the image.
    neighbour_px, neighbour_nm : ndarray
        Nearest other object (`find.Found`).
    field_size_px : (int, int)
        Width and height of the image.
    field_known : bool
        Whether places mean anything.
    response : CameraResponse
        Of single frames.
    full_scale_adu : int
    frames : ndarray
        Camera frames whose mean each plane is.
    lateral_shift_px_per_um : ndarray, shape (n, 2)
        Common lateral shift of the bead's stack, pixels per um of rising z.
    form : PsfForm
        What the beads look like.
    bead_id : ndarray
        Which bead each is: recordings of one bead share a number. Empty until `recurrence.mark_recurring`.
    copy : ndarray of bool
        Whether another candidate has the same pixels and stands for both; as `bead_id`.
    """

    rois: U16
    stage_nm: Sequence[F64]
    x: F64
    y: F64
    x0: I64
    y0: I64
    stack: I64
    edge: Bool
    neighbour_px: F64
    neighbour_nm: F64
    field_size_px: tuple[int, int]
    field_known: bool
    response: CameraResponse
    full_scale_adu: int
    frames: I64
    lateral_shift_px_per_um: F64
    form: PsfForm = field(default_factory=PsfForm)
    bead_id: I64 = field(default_factory=lambda: np.empty(0, np.int64))
    copy: Bool = field(default_factory=lambda: np.empty(0, bool))

    @property
    def place(self) -> F64:
        """Return places in the field (`field_coordinates`), shape (n, 2)."""
        return np.asarray(field_coordinates(self.x, self.y, self.field_size_px), np.float64)
