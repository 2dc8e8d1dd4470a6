"""Ground truth of the embedded microscope's runs: asked of the simulator, by those who know that they simulate."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from easyzloc_mm.errors import EasyZlocWarning
from easyzloc_mm.io.runs.ground_truth import write_records

CAMERA_ATTRIBUTE = "easyzloc_camera"
"""Name under which the running MMCore carries its substituted camera."""


def ground_truth() -> dict[str, pd.DataFrame]:
    """Return the truth of the last stream of the embedded microscope that is connected in this process.

    A stream is every sequence since the light last went off, or stage, exposure or illumination last changed; its
    frames are counted through, as `Microscope.stream` counts them.

    Returns
    -------
    dict of str to DataFrame
        ``emitters`` (see `Scene.table`) and ``drift`` (see `Scene.drift_table`); empty where the connected microscope
        is not the embedded one, or none is connected.
    """
    from mmpycorex import Core, is_pymmcore_active

    camera = getattr(Core(), CAMERA_ATTRIBUTE, None) if is_pymmcore_active() else None
    return camera.records() if camera is not None else {}


@contextmanager
def truth_beside(run: Path) -> Iterator[None]:
    """Write the ground truth of what was streamed inside beside the run, ``RUN.records/``, however it ended.

    Enter it after `connect`. On a real microscope nothing is written, and the truth of an overwritten simulated run is
    removed.

    Parameters
    ----------
    run : Path
        ``RUN.zarr``; nothing is written if it was not begun.

    Warns
    -----
    EasyZlocWarning
        The disk refuses the tables; that must not hide what ended the run.
    """
    try:
        yield
    finally:
        if Path(run).exists():
            try:
                write_records(run, ground_truth())
            except OSError as error:
                warnings.warn(f"the ground truth of {run} could not be written: {error}", EasyZlocWarning, stacklevel=3)
