"""3D single-molecule localisation at acquisition time, on an unmodified microscope.

    import easyzloc_mm as ez

    profile = ez.load_profile("demo")
    calibration = ez.calibrate(profile, "today")
    with ez.connect(profile) as microscope:
        run = ez.live(microscope, calibration.model, "cell1.zarr")
    ez.undrift(run).save("cell1.hdf5")

What stands in ``__all__`` is public; everything one package down may change. Importing the package is cheap: a name
loads what it needs when it is first used, and TensorFlow and Picasso only where they work.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from easyzloc_mm._version import __version__
from easyzloc_mm.errors import EasyZlocError, EasyZlocWarning, HardwareError, InputError, LocalizerError

if TYPE_CHECKING:
    from easyzloc_mm.acquire.plans.plan import Grid, ScanPlan
    from easyzloc_mm.api.analysing.analysis import find_pores, link, load_locs, render, resolution, score, undrift
    from easyzloc_mm.api.analysing.depth import correct_depth
    from easyzloc_mm.api.analysing.verify import verify
    from easyzloc_mm.api.calibrating.calibration import Calibration, acquire_beads, build_beads, calibrate, train
    from easyzloc_mm.api.calibrating.check import check_calibration
    from easyzloc_mm.api.imaging.acquisition import forecast, live, scan
    from easyzloc_mm.api.imaging.movies import assign_z, localize
    from easyzloc_mm.api.imaging.refresh import refresh
    from easyzloc_mm.api.model import Model
    from easyzloc_mm.api.run import Run
    from easyzloc_mm.io.profiles import load_profile
    from easyzloc_mm.locs.locs import Locs
    from easyzloc_mm.microscope.connect import connect
    from easyzloc_mm.microscope.protocol import Microscope
    from easyzloc_mm.profile.schema import Profile

__all__ = [
    "Calibration",
    "EasyZlocError",
    "EasyZlocWarning",
    "Grid",
    "HardwareError",
    "InputError",
    "LocalizerError",
    "Locs",
    "Microscope",
    "Model",
    "Profile",
    "Run",
    "ScanPlan",
    "__version__",
    "acquire_beads",
    "assign_z",
    "build_beads",
    "calibrate",
    "check_calibration",
    "connect",
    "correct_depth",
    "find_pores",
    "forecast",
    "link",
    "live",
    "load_locs",
    "load_profile",
    "localize",
    "refresh",
    "render",
    "resolution",
    "scan",
    "score",
    "train",
    "undrift",
    "verify",
]

_HOMES = {
    "Calibration": "api.calibrating.calibration",
    "Grid": "acquire.plans.plan",
    "Locs": "locs.locs",
    "Microscope": "microscope.protocol",
    "Model": "api.model",
    "Profile": "profile.schema",
    "Run": "api.run",
    "ScanPlan": "acquire.plans.plan",
    "acquire_beads": "api.calibrating.calibration",
    "assign_z": "api.imaging.movies",
    "build_beads": "api.calibrating.calibration",
    "calibrate": "api.calibrating.calibration",
    "check_calibration": "api.calibrating.check",
    "connect": "microscope.connect",
    "correct_depth": "api.analysing.depth",
    "find_pores": "api.analysing.analysis",
    "forecast": "api.imaging.acquisition",
    "link": "api.analysing.analysis",
    "live": "api.imaging.acquisition",
    "load_locs": "api.analysing.analysis",
    "load_profile": "io.profiles",
    "localize": "api.imaging.movies",
    "refresh": "api.imaging.refresh",
    "render": "api.analysing.analysis",
    "resolution": "api.analysing.analysis",
    "scan": "api.imaging.acquisition",
    "score": "api.analysing.analysis",
    "train": "api.calibrating.calibration",
    "undrift": "api.analysing.analysis",
    "verify": "api.analysing.verify",
}
"""Where each public name is defined, for loading it when it is first used (PEP 562)."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
