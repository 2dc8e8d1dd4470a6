"""From molecules to runs on the microscope: one place, or many."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from easyzloc_mm.api.model import Model, as_model
from easyzloc_mm.api.run import Run
from easyzloc_mm.microscope.protocol import Microscope
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.typing import IfExists, Progress

if TYPE_CHECKING:
    from easyzloc_mm.acquire.plans.forecast import ScanForecast
    from easyzloc_mm.acquire.plans.plan import ScanPlan
    from easyzloc_mm.acquire.scans.scan import ScanReport
    from easyzloc_mm.localization.live.status import LiveStatus


def live(
    microscope: Microscope,
    model: Model | str | Path,
    out: str | Path,
    *,
    frames: int | None = None,
    keep_raw: bool = True,
    hold_focus_nm: float | None = None,
    if_exists: IfExists = "error",
    progress: Progress | None = None,
    on_status: Callable[[LiveStatus], None] | None = None,
    stop: threading.Event | None = None,
    refresh_after: int | None = None,
) -> Run:
    """Image molecules and localise them in 3D while the camera runs.

    Parameters
    ----------
    microscope : Microscope
        Connected; the imaging plan of its profile says where, how long and how bright.
    model : Model or path
        Calibration of this instrument.
    out : path
        ``RUN.zarr``, written in place: whatever ends the run, what was committed stays readable.
    frames : int, optional
        Camera frames, in place of the profile's.
    keep_raw : bool
        Store the frames too.
    hold_focus_nm : float, optional
        Hold the focus by the molecules' z: correct drifts of more than this, nm, as `focus` of the profile says.
    if_exists : {'error', 'overwrite'}
        What becomes of a run that is there already.
    progress : callable, optional
        Given (message, fraction).
    on_status : callable, optional
        Given a `LiveStatus` about twice a second.
    stop : threading.Event, optional
        Ends the run early and cleanly.
    refresh_after : int, optional
        Where the beads' PSF is not that of the molecules: make a model for the sample (``RUN.model``) of so many that
        carry no flag, and localise the rest of the run with it. Without it, the run says so and goes on.

    Raises
    ------
    InputError
        The sample's place leaves the limits, the model does not fit, or `out` cannot be written; nothing has moved.
    HardwareError
        The camera or a stage failed; the frames that were got are localised and kept.

    References
    ----------
    .. [1] Boland et al., "Model-free machine learning-based 3D single molecule localisation microscopy", Journal of
       Microscopy (2025), doi:10.1111/jmi.13420.

    Examples
    --------
    >>> with ez.connect(ez.load_profile("demo")) as microscope:
    ...     run = ez.live(microscope, "demo_model", "cell1.zarr", frames=20)
    >>> run.report.frames, run.report.frames_lost
    (20, 0)
    """
    from easyzloc_mm.acquire.live import run_live

    profile = microscope.profile
    if hold_focus_nm is not None:
        profile = profile.replace(focus={"hold": "molecules", "tolerance_nm": hold_focus_nm})
    report = run_live(
        microscope,
        profile,
        as_model(model, profile).card,
        Path(out),
        frames=frames or profile.imaging.frames,
        keep_raw=keep_raw,
        if_exists=if_exists,
        progress=progress,
        on_status=on_status,
        stop=stop,
        refresh_after=refresh_after,
    )
    return Run(Path(out), report)


def scan(
    microscope: Microscope,
    plan: ScanPlan | str | Path,
    model: Model | str | Path,
    out: str | Path,
    *,
    keep_raw: bool = True,
    if_exists: Literal["resume", "overwrite"] = "resume",
    progress: Progress | None = None,
    around_run: Callable[[Path], AbstractContextManager[object]] = nullcontext,
) -> ScanReport:
    """Run a live 3D run at every place of a plan: one store per field of view, and a ledger.

    Parameters
    ----------
    microscope : Microscope
        Connected.
    plan : ScanPlan or path
        A TOML plan, a position list of Micro-Manager (.pos), a plan of useq-schema (.json, .yaml), or a CSV file.
    model : Model or path
    out : path
        Folder of the runs, of a plate of pictures, and of a page (`ScanReport.page`). A scan that was cut off continues
        where it stopped.
    keep_raw : bool
        Store the frames too.
    if_exists : {'resume', 'overwrite'}
        'overwrite' starts anew.
    progress : callable, optional
        Given (message, fraction).
    around_run : callable, optional
        Gives a context that is entered around each field's run; called with the run, ``NAME.zarr``.

    Raises
    ------
    InputError
        A place leaves the profile's limits, the disk cannot hold it, or `out` belongs to another scan; nothing has
        moved.
    HardwareError
        The microscope is gone, or (at the end) some fields failed; finished fields are kept.

    Examples
    --------
    >>> plan = ez.ScanPlan(name="two", frames=10, positions_um=[(0.0, 0.0), (100.0, 0.0)])
    >>> with ez.connect(ez.load_profile("demo")) as microscope:
    ...     report = ez.scan(microscope, plan, "demo_model", "two_fields")
    >>> report.done
    2
    """
    from easyzloc_mm.acquire.scans.scan import run_scan

    profile = microscope.profile
    return run_scan(
        microscope,
        profile,
        _as_plan(plan, profile),
        as_model(model, profile).card,
        Path(out),
        keep_raw=keep_raw,
        if_exists=if_exists,
        progress=progress,
        around_run=around_run,
    )


def forecast(
    profile: Profile,
    plan: ScanPlan | str | Path,
    out: str | Path,
    *,
    keep_raw: bool = True,
    picture: str | Path | None = None,
) -> ScanForecast:
    """Say what a scan will need, before anything moves: limits, time, room on the disk, light.

    Parameters
    ----------
    profile : Profile
    plan : ScanPlan or path
        As for `scan`.
    out : path
        Where the scan would be.
    keep_raw : bool
        Whether it would store the frames too.
    picture : path, optional
        Where a map of the way is drawn, .png.

    Returns
    -------
    ScanForecast
        `problems` is empty where the scan can be run.

    Examples
    --------
    >>> plan = ez.ScanPlan(name="two", frames=1000, positions_um=[(0.0, 0.0), (3000.0, 4000.0)])
    >>> found = ez.forecast(ez.load_profile("demo"), plan, "two_fields")
    >>> found.travel_mm, found.frames, found.light_s, found.problems
    (5.0, 2000, 60.0, ())
    """
    from easyzloc_mm.acquire.scans.scan import forecast_scan

    drawn = None if picture is None else Path(picture)
    return forecast_scan(profile, _as_plan(plan, profile), Path(out), keep_raw=keep_raw, picture=drawn)


def _as_plan(plan: ScanPlan | str | Path, profile: Profile) -> ScanPlan:
    from easyzloc_mm.acquire.plans.plan import ScanPlan

    return plan if isinstance(plan, ScanPlan) else ScanPlan.from_file(Path(plan), profile)
