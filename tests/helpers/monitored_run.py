"""A run that a page is shown of: molecules at one place, written block by block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from easyzloc_mm.io.runs.localizations import LocalizationWriter
from easyzloc_mm.io.runs.metadata import RunMetadata

PIXEL_SIZE_NM = 100.0
FACTS = RunMetadata.model_validate(
    {
        "pixel_size_nm": PIXEL_SIZE_NM,
        "width_px": 64,
        "height_px": 48,
        "z_range_nm": [-1000.0, 1000.0],
        "complete": False,
    }
)


def molecules(frames: range, *, z_nm: float = 100.0, per_frame: int = 20, seed: int = 0) -> pd.DataFrame:
    """Molecules at x = 16 px, y = 12 px, and one in ten that must not be believed far away from there."""
    random = np.random.default_rng(seed)
    count = per_frame * len(frames)
    flag = (np.arange(count) % 10 == 0).astype(np.uint8)
    table = {
        "frame": np.repeat(np.array(frames, np.uint32), per_frame),
        "x": np.where(flag, 50.0, 16.0) + 0.1 * random.standard_normal(count),
        "y": np.where(flag, 40.0, 12.0) + 0.1 * random.standard_normal(count),
        "z": np.where(flag, -900.0, z_nm) + 10 * random.standard_normal(count),
        "lpz": np.full(count, 20.0),
        "z_flag": flag,
        "photons": np.full(count, 1500.0),
    }
    for name in ("lpx", "lpy"):
        table[name] = np.full(count, 0.1)
    for name in ("sx", "sy", "bg", "ellipticity", "net_gradient"):
        table[name] = np.ones(count)
    return pd.DataFrame(table)


@contextmanager
def monitored_run(path: Path) -> Iterator[LocalizationWriter]:
    """A run that is still being written."""
    with LocalizationWriter.create(path, FACTS) as writer:
        yield writer
