"""Frames in, 3D localisations out: the one pipeline that live runs and files share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from easyzloc_mm.localize.fit import fit_frames
from easyzloc_mm.network import ModelBundle
from easyzloc_mm.network.inputs import crop_photons
from easyzloc_mm.profile import CameraUnits, LocalizeSettings

PACKAGES = ("easyzloc-mm", "picassosr", "numpy", "onnxruntime", "zarr")


@dataclass(frozen=True)
class LocalizeReport:
    """What a run gave.

    Attributes
    ----------
    frames, frames_lost : int
        Frames that were localised, and frames that were lost on the way from the camera.
    frames_per_s : float
        Over the whole run, until the last row was written.
    localizations : int
        Rows in the table.
    fits_rejected : int
        Spots whose 2D fit failed.
    p95_latency_s : float
        From a frame's arrival to its rows in the table's writer, 95th percentile; 0 for files.
    min_net_gradient : float
        Threshold of detection, as set or found.
    """

    frames: int
    frames_lost: int
    frames_per_s: float
    localizations: int
    fits_rejected: int
    p95_latency_s: float
    min_net_gradient: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for printing."""
        return asdict(self)


class Localizer:
    """Detect, fit, predict z; safe to call from several threads.

    Parameters
    ----------
    bundle : ModelBundle
        Calibration of the instrument.
    units : CameraUnits
        Of the camera that took the frames.
    box_px : int
        Box of detection and fit.
    min_net_gradient : float
        Threshold of detection, ADU.
    """

    def __init__(self, bundle: ModelBundle, units: CameraUnits, box_px: int, min_net_gradient: float) -> None:
        self._bundle, self._units, self.box_px = bundle, units, box_px
        self.min_net_gradient = min_net_gradient

    def localize(self, frames: NDArray[np.uint16], numbers: NDArray[np.integer]) -> tuple[pd.DataFrame, int]:
        """Localise a block of frames.

        Parameters
        ----------
        frames : ndarray, shape (T, Y, X), uint16
            ADU; their pixels are sensor pixels.
        numbers : ndarray, shape (T,)
            Frame numbers.

        Returns
        -------
        table : DataFrame
            Columns of a localisation table (DESIGN, section 4), all finite.
        rejected : int
            Spots whose 2D fit failed.
        """
        table, rejected = fit_frames(frames, self.min_net_gradient, self.box_px, self._units)
        x, y = table["x"].to_numpy(float), table["y"].to_numpy(float)
        crops = crop_photons(frames, table["frame"].to_numpy(), x, y, self._units)
        prediction = self._bundle.predict(crops, x, y)
        table["z"], table["lpz"], table["z_flag"] = prediction.z_nm, prediction.lpz_nm, prediction.z_flag
        table["frame"] = np.asarray(numbers, np.uint32)[table["frame"].to_numpy(np.int64)]
        return table, rejected


def run_attributes(
    bundle: ModelBundle,
    units: CameraUnits,
    settings: LocalizeSettings,
    shape_yx: tuple[int, int],
    pixel_size_nm: float,
    provenance: Mapping[str, Any],
) -> dict[str, Any]:
    """Provenance that is stored with a run."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return {
        "pixel_size_nm": float(pixel_size_nm),
        "height_px": int(shape_yx[0]),
        "width_px": int(shape_yx[1]),
        "camera_units": units.model_dump(mode="json"),
        "model": {"path": str(bundle.path), "digest": bundle.digest(), "recipe": bundle.calibration["recipe"]},
        "z_range_nm": list(bundle.z_range_nm),
        "localize": settings.model_dump(mode="json"),
        "versions": found,
        "units": {"x": "px", "y": "px", "sx": "px", "sy": "px", "lpx": "px", "lpy": "px", "z": "nm", "lpz": "nm"},
        "complete": False,
        **provenance,
    }
