"""From travel of the stage to depth in the sample, where its index is not that of the immersion."""

from __future__ import annotations

import numpy as np

from easyzloc_mm.errors import InputError
from easyzloc_mm.locs.locs import Locs
from easyzloc_mm.optics.depth import DepthScale


def correct_depth(locs: Locs, scale: DepthScale) -> Locs:
    """Return the localisations with z and `lpz` in depth of the sample; the scale goes with them, in the metadata.

    Parameters
    ----------
    locs : Locs
        With z in travel of the stage, as it was localised.
    scale : DepthScale
        Of the optics, and of where the focus was.

    Raises
    ------
    InputError
        There is no z, or it was multiplied by a factor or corrected before.
    """
    if not locs.is_3d:
        raise InputError(f"{locs.name} has no z: localise it with a model")
    metadata = locs.metadata
    if metadata.depth_scale is not None:
        raise InputError(f"{locs.name} is corrected for depth already: give the run before that")
    if metadata.focal_shift_factor != 1:
        raise InputError(
            f"z of {locs.name} was multiplied by a focal_shift_factor of {metadata.focal_shift_factor:g}: localise "
            "again with 1, the factor of the optics takes its place"
        )
    z_nm = locs.table["z"].to_numpy(float)
    table = locs.table.assign(z=scale.height_nm(z_nm).astype(np.float32))
    if "lpz" in table:
        table = table.assign(lpz=(table["lpz"].to_numpy(float) * scale.slope(z_nm)).astype(np.float32))
    limits = metadata.z_range_nm
    z_range = None if limits is None else tuple(scale.height_nm(np.array(limits)).tolist())
    return locs.with_table(table, depth_scale=scale, z_range_nm=z_range)
