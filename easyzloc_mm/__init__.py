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
    from easyzloc_mm.api.acquisition import forecast, live, scan
    from easyzloc_mm.api.analysis import find_pores, link, load_locs, render, resolution, score, undrift
    from easyzloc_mm.api.calibration import Calibration, acquire_beads, build_beads, calibrate, train
    from easyzloc_mm.api.check import check_calibration
    from easyzloc_mm.api.depth import correct_depth
    from easyzloc_mm.api.imaging import assign_z, localize
    from easyzloc_mm.api.model import Model
    from easyzloc_mm.api.refresh import refresh
    from easyzloc_mm.api.run import Run
    from easyzloc_mm.api.verify import verify
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
    "Calibration": "api.calibration",
    "Grid": "acquire.plans.plan",
    "Locs": "locs.locs",
    "Microscope": "microscope.protocol",
    "Model": "api.model",
    "Profile": "profile.schema",
    "Run": "api.run",
    "ScanPlan": "acquire.plans.plan",
    "acquire_beads": "api.calibration",
    "assign_z": "api.imaging",
    "build_beads": "api.calibration",
    "calibrate": "api.calibration",
    "check_calibration": "api.check",
    "connect": "microscope.connect",
    "correct_depth": "api.depth",
    "find_pores": "api.analysis",
    "forecast": "api.acquisition",
    "link": "api.analysis",
    "live": "api.acquisition",
    "load_locs": "api.analysis",
    "load_profile": "io.profiles",
    "localize": "api.imaging",
    "refresh": "api.refresh",
    "render": "api.analysis",
    "resolution": "api.analysis",
    "scan": "api.acquisition",
    "score": "api.analysis",
    "train": "api.calibration",
    "undrift": "api.analysis",
    "verify": "api.verify",
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
