"""Fields of nuclear pores as tables of localisations."""

from __future__ import annotations

import numpy as np
import pandas as pd

from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.locs.locs import Locs

PIXEL_NM, MARGIN_PX, EDGE_PX = 110.0, 3, 90
FACTS = RunMetadata(pixel_size_nm=PIXEL_NM, width_px=EDGE_PX, height_px=EDGE_PX, frames=10_000)


def as_table(field: pd.DataFrame) -> pd.DataFrame:
    """Columns of a run, `MARGIN_PX` pixels from its edge, of what `pore_field` gives."""
    table = {
        "frame": field["frame"].astype(np.uint32), "x": field["x_nm"] / PIXEL_NM + MARGIN_PX,
        "y": field["y_nm"] / PIXEL_NM + MARGIN_PX, "photons": 1000.0, "sx": 1.0, "sy": 1.0, "bg": 10.0,
        "lpx": field["lpx_nm"] / PIXEL_NM, "lpy": field["lpy_nm"] / PIXEL_NM, "ellipticity": 0.0, "net_gradient": 1.0,
        "z": field["z"], "lpz": field["lpz"],
    }  # fmt: skip
    made = pd.DataFrame(table, index=range(len(field))).astype({n: np.float32 for n in table if n != "frame"})
    return made.assign(z_flag=np.uint8(0))


def as_locs(field: pd.DataFrame) -> Locs:
    """Return the same with the facts of its run."""
    return Locs(as_table(field), FACTS)
