"""Bead stacks from images of any format: planes keep the z of their place, and black ones are missing ones."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pandas as pd

from easyzloc_mm.camera.blank import blank_images
from easyzloc_mm.camera.photon_transfer import FULL_SCALES
from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.beads.stack import COLUMNS, OTHER_STACK, BeadStack, StackPixels, check_planes
from easyzloc_mm.io.sources.images import COUNTS, Images, check_pixel_nm, check_step_nm
from easyzloc_mm.typing import F64, I64

PLANE_AXES = ("Z", "I", "Q")
"""Axes that mean planes: z, or a sequence of images that the file does not name."""


def stack_of(
    images: Images, fov: int, *, z_step_nm: float | None, pixel_size_nm: float | None, frames_are_planes: bool = False
) -> BeadStack:
    """Make a bead stack of images along one axis; what is wrong with them is said.

    Parameters
    ----------
    images : Images
    fov : int
        Number of the stack in its file or folder.
    z_step_nm, pixel_size_nm : float or None
        For what the images do not state; they win over what these state.
    frames_are_planes : bool
        Whether a time series counts as planes although nobody gave a step.

    Raises
    ------
    InputError
        Not planes alone, no counts, too few planes, or a sampling that is unknown or cannot be.
    """
    path = images.source
    allowed = (*PLANE_AXES, "T") if z_step_nm or frames_are_planes else PLANE_AXES
    if images.axes not in allowed:
        cure = "if its frames are z planes, give `z_step_nm`" if images.axes == "T" else "save one z stack per image"
        shape = (*images.sizes, *images.shape_yx)
        raise InputError(f"{path} image {fov} has axes {images.axes}YX {shape} instead of z, y, x: {cure}")
    if images.dtype not in COUNTS:
        raise InputError(f"{path} has {images.dtype} pixels: save the camera's own counts, 8 or 16 bit unsigned")
    images.warn()
    places = np.flatnonzero(images.there)
    pixels = images.read(places.tolist())
    came = ~blank_images(pixels)
    black = int(np.count_nonzero(~came))
    if black == len(came):
        if int(pixels.max(initial=0)) in FULL_SCALES:
            raise InputError(f"{path} image {fov} is saturated in every plane: lower the exposure or the light")
        raise InputError(f"{path} image {fov} is blank: all pixels of its planes are alike; check light and shutter")
    if black:
        places, pixels = places[came], pixels[came]
        warnings.warn(
            f"{path} image {fov}: {black} of {len(came)} planes are black: they count as missing, and the others keep "
            "their z",
            EasyZlocWarning,
            stacklevel=4,
        )
    check_planes(len(pixels), f"{path} image {fov}", OTHER_STACK)
    measured = _measured_um(images, places) if z_step_nm is None else None
    step = z_step_nm or images.sampling.step_nm or _step_of(measured, places)
    step, pixel = _checked(images, step, pixel_size_nm, given_step=z_step_nm is not None)
    nominal = places * step / 1000
    table = pd.DataFrame({"requested_z_um": nominal, "measured_z_um": nominal if measured is None else measured})
    table = table.assign(x_um=math.nan, y_um=math.nan, exposure_ms=math.nan, illumination=None, time_s=math.nan)
    return BeadStack(
        fov=fov,
        pixels=StackPixels(pixels, len(pixels)),
        planes=table[list(COLUMNS)],
        pixel_size_nm=pixel,
        z_step_nm=step,
        response=None,
        source=path,
        planes_lost=images.lost + black,
    )


def _measured_um(images: Images, places: I64) -> F64 | None:
    """Return the stage reading of each plane, um; None where one lacks it, or all are alike: nobody knew the stage."""
    z_um = images.sampling.z_um
    if z_um is None or int(places[-1]) >= len(z_um):
        return None
    readings = z_um[places]
    return readings if np.isfinite(readings).all() and len(np.unique(readings)) > 1 else None


def _step_of(measured_um: F64 | None, places: I64) -> float | None:
    if measured_um is None:
        return None
    return 1000 * float(np.median(np.abs(np.diff(measured_um) / np.diff(places)))) or None


def _checked(
    images: Images, step: float | None, pixel_size_nm: float | None, *, given_step: bool
) -> tuple[float, float]:
    """Return the distance of planes and the pixel size, nm, if both are known and can be."""
    path, sampling = images.source, images.sampling
    unread = f" (it states {'; '.join(sampling.unread)})" if sampling.unread else ""
    if step is None:
        raise InputError(f"{path} does not say how far its planes lie apart{unread}: give `z_step_nm`")
    pixel = pixel_size_nm or sampling.pixel_nm
    if pixel is None:
        raise InputError(f"{path} does not say its pixel size{unread}: give `pixel_size_nm`")
    check_step_nm(step, "`z_step_nm`" if given_step else str(path))
    check_pixel_nm(pixel, "`pixel_size_nm`" if pixel_size_nm else str(path))
    return float(step), float(pixel)
