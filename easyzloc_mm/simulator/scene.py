"""One exposure of the embedded microscope: sample, stage, optics and camera, with the truth kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.simulator.camera import Points, VirtualCamera
from easyzloc_mm.simulator.optics.objective import embedded_optics
from easyzloc_mm.simulator.optics.psf_table import RADIUS_PX, psf_table
from easyzloc_mm.simulator.samples.drift import Drift
from easyzloc_mm.simulator.samples.samples import SMLM_FROM_UM, STRUCTURES, BeadSlide, BlinkingSample, Emitters, View
from easyzloc_mm.typing import F64, U16

POWERS = {"Off": 0.0, "Low": 0.1, "Medium": 1 / 3, "High": 1.0}
"""Illumination presets, relative to the strongest."""
FAINTEST_PHOTONS = 1.0
"""Truth rows with fewer photons in a frame are not kept: no method could find them."""


@dataclass(frozen=True)
class Setting:
    """State of the instrument during one exposure.

    Attributes
    ----------
    x_um, y_um, z_um : float
        Stage positions.
    power : float
        Illumination relative to "High"; 0 with the shutter closed.
    exposure_s : float
        Exposure.
    middle_s : float
        Middle of the exposure, seconds since the instrument was switched on.
    """

    x_um: float
    y_um: float
    z_um: float
    power: float
    exposure_s: float
    middle_s: float


@dataclass(frozen=True)
class Truth:
    """Ground truth of one exposure; arrays of shape (n,), see `Scene.table` for the meaning."""

    emitters: Emitters
    points: Points
    still_x: F64
    still_y: F64
    background: F64
    drift_nm: F64


class Scene:
    """The instrument and its slide.

    Parameters
    ----------
    profile : Profile
        Optics, camera, stage limits.
    seed : int
        Decides samples, drift and noise.
    """

    def __init__(self, profile: Profile, seed: int = 0) -> None:
        self._optics = embedded_optics(profile)
        self._camera = VirtualCamera(profile, self._optics, psf_table(self._optics), seed)
        self._pixel_um = profile.optics.pixel_size_nm / 1000
        self._width, self._height = profile.camera.width_px, profile.camera.height_px
        self._drift = Drift(seed)
        self._beads = BeadSlide(seed)
        self._molecules = BlinkingSample(seed)
        self.focus_um = (profile.limits.z_min_um + profile.limits.z_max_um) / 2
        """Stage z at which a bead at height 0 is in focus, averaged over the field."""

    def z_drift_nm(self, time_s: float) -> float:
        """Return how far the sample has risen, nm, `time_s` after the instrument was switched on."""
        return float(self._drift.at(time_s)[2])

    def expose(self, setting: Setting, *noise_seed: int) -> tuple[U16, Truth]:
        """Render one exposure.

        Parameters
        ----------
        setting : Setting
            Stage, light, time.
        *noise_seed : int
            Decides the camera noise.

        Returns
        -------
        frame : ndarray, shape (height, width), uint16
            ADU.
        truth : Truth
            Emitters, and where the image of each fell.
        """
        sample = self._molecules if setting.x_um >= SMLM_FROM_UM else self._beads
        drift = self._drift.at(setting.middle_s)
        margin = 2 * RADIUS_PX * self._pixel_um
        emitters = sample.shining(
            View(
                x_um=setting.x_um,
                y_um=setting.y_um,
                width_um=self._width * self._pixel_um + margin,
                height_um=self._height * self._pixel_um + margin,
                start_s=setting.middle_s - setting.exposure_s / 2,
                exposure_s=setting.exposure_s,
                power=setting.power,
            )
        )
        still_x = (emitters.x_um - setting.x_um) / self._pixel_um + (self._width - 1) / 2
        still_y = (emitters.y_um - setting.y_um) / self._pixel_um + (self._height - 1) / 2
        x, y = (still + move / 1000 / self._pixel_um for still, move in zip((still_x, still_y), drift[:2], strict=True))
        near = (
            (emitters.photons >= FAINTEST_PHOTONS)
            & (np.abs(x - (self._width - 1) / 2) < self._width / 2 + RADIUS_PX)
            & (np.abs(y - (self._height - 1) / 2) < self._height / 2 + RADIUS_PX)
        )
        emitters, x, y = emitters.select(near), x[near], y[near]
        stage_nm = 1000 * (setting.z_um - self.focus_um)
        z = stage_nm - self._optics.focal_surface_nm(x, y) + emitters.height_nm + drift[2]
        points = Points(x, y, z, emitters.photons)
        background = sample.background_photons_ms * 1000 * setting.exposure_s * setting.power
        frame = self._camera.photograph(points, background, setting.exposure_s, *noise_seed)
        at_points = self._camera.background_at(x, y, background)
        return frame, Truth(emitters, points, still_x[near], still_y[near], at_points, drift)

    def table(self, frames: list[int], truths: list[Truth]) -> pd.DataFrame:
        """Return the ground truth of many exposures as one table, one row per emitter and frame.

        Columns: ``frame``; ``emitter``, ``structure`` ('pore', 'filament', 'bead', 'dirt'), ``structure_id``;
        ``x``, ``y`` (sensor px, with drift), ``z`` (nm, defocus relative to the local focal surface: what a
        perfect calibration reports); ``sample_x``, ``sample_y`` (sensor px) and ``sample_z`` (nm, height)
        without drift; ``photons`` (expected, in this frame, on an infinite camera), ``background`` (photons
        per pixel). Only emitters inside the sensor are listed.
        """
        if not truths:
            return pd.DataFrame({name: np.empty(0, dtype=kind) for name, kind in COLUMNS.items()})
        emitters = Emitters.join([truth.emitters for truth in truths])
        columns = {
            "frame": np.repeat(frames, [len(truth.still_x) for truth in truths]),
            "emitter": emitters.emitter,
            "structure": np.array(STRUCTURES)[emitters.structure],
            "structure_id": emitters.structure_id,
            "x": np.concatenate([truth.points.x for truth in truths]),
            "y": np.concatenate([truth.points.y for truth in truths]),
            "z": np.concatenate([truth.points.z for truth in truths]),
            "sample_x": np.concatenate([truth.still_x for truth in truths]),
            "sample_y": np.concatenate([truth.still_y for truth in truths]),
            "sample_z": emitters.height_nm,
            "photons": emitters.photons,
            "background": np.concatenate([truth.background for truth in truths]),
        }
        table = pd.DataFrame(columns)
        inside = table["x"].between(-0.5, self._width - 0.5) & table["y"].between(-0.5, self._height - 0.5)
        return table[inside].reset_index(drop=True)

    def drift_table(self, frames: list[int], times_s: list[float]) -> pd.DataFrame:
        """Return the drift per frame: ``frame``, ``time_s``, ``x``, ``y`` (sensor px), ``z`` (nm)."""
        path = np.stack([self._drift.at(time) for time in times_s]) if times_s else np.empty((0, 3))
        pixel_nm = 1000 * self._pixel_um
        return pd.DataFrame(
            {
                "frame": np.array(frames, dtype=np.int64),
                "time_s": np.array(times_s, dtype=np.float64),
                "x": path[:, 0] / pixel_nm,
                "y": path[:, 1] / pixel_nm,
                "z": path[:, 2],
            }
        )


COLUMNS = {
    "frame": "int64",
    "emitter": "int64",
    "structure": "object",
    "structure_id": "int64",
    **dict.fromkeys(("x", "y", "z", "sample_x", "sample_y", "sample_z", "photons", "background"), "float64"),
}
