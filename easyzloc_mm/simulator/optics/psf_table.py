"""The exact optics tabulated for fast rendering: cubic B-splines in z, y, x, quadratic between field nodes.

The image intensity is band-limited (lateral period at least ``emission / (2 NA)``, axial about 620 nm for an
oil objective), so a cubic spline through samples at twice that rate reproduces it to a few parts in a
thousand [1]_.

References
----------
.. [1] M. Unser, "Splines: a perfect fit for signal and image processing", IEEE Signal Process. Mag. 16, 22-38 (1999),
   doi:10.1109/79.799930.
"""

from __future__ import annotations

import contextlib
import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.io.writing.atomic import replacing
from easyzloc_mm.optics.pupil import image_fields, intensity
from easyzloc_mm.simulator.optics.objective import FIELD_MARGIN, OpticsModel
from easyzloc_mm.typing import F32, AnyFloat

FORMAT = 3
"""Part of the cache key: raise it when the way of tabulating changes."""
RADIUS_PX = 20
FADE_FROM_PX = 16.0
"""From here to `RADIUS_PX` the image fades out, so that a bright defocused bead has no visible rim."""
Z_REACH_NM = 3600.0
FIELD_NODES = 7
LARGEST = 32767
SPLINE_MARGIN = 4
"""Samples beyond the patch that the four taps of the spline may touch."""


@dataclass(frozen=True)
class PsfTable:
    """Spline coefficients of the image of a point.

    Attributes
    ----------
    coefficients : ndarray, shape (FIELD_NODES, FIELD_NODES, planes, S, S), int16
        Field row, field column, z, y, x; to be multiplied by `scale`. Half the memory traffic of float32, and
        the step is 3e-5 of a plane's peak.
    scale : ndarray, shape (FIELD_NODES, FIELD_NODES, planes), float32
        Photons per pixel, for 1 photon, per step of the coefficients.
    z_start_nm, z_step_nm : float
        First plane and step.
    oversampling : int
        Samples per pixel.
    outside : ndarray, shape (planes, RADIUS_PX + 1), float32
        Largest part of the tabulated energy, over the field, that a patch of that radius leaves out.
    """

    coefficients: NDArray[np.int16]
    scale: F32
    z_start_nm: float
    z_step_nm: float
    oversampling: int
    outside: F32


def psf_table(model: OpticsModel) -> PsfTable:
    """Return the table of `model`, from memory, from the user's cache, or built.

    A cache that cannot be read or written only costs the seconds of building. The table does not depend on
    the size of the camera, since aberrations go with field coordinates.
    """
    key = _digest(model)
    if key not in _in_memory:
        _in_memory[key] = _from_cache(key) or _keep(key, _build(model))
    return _in_memory[key]


_in_memory: dict[str, PsfTable] = {}


def _digest(model: OpticsModel) -> str:
    parts = (FORMAT, RADIUS_PX, Z_REACH_NM, FIELD_NODES, model.optics.model_dump_json(), model.aberrations)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _cache_file(key: str) -> Path:
    import platformdirs

    return Path(platformdirs.user_cache_dir("easyzloc-mm", appauthor=False)) / f"psf-{key}.npz"


def _from_cache(key: str) -> PsfTable | None:
    try:
        # NumPy leaves a broken file open that it has opened itself.
        with _cache_file(key).open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return PsfTable(
                coefficients=stored["coefficients"],
                scale=stored["scale"],
                z_start_nm=float(stored["z_start_nm"]),
                z_step_nm=float(stored["z_step_nm"]),
                oversampling=int(stored["oversampling"]),
                outside=stored["outside"],
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        # Absent, unreadable or cut off: built anew.
        return None


def _keep(key: str, table: PsfTable) -> PsfTable:
    """Write a table to the cache, and return it."""
    path = _cache_file(key)
    # Without a writable cache the table lives in memory only, and the next start takes seconds longer.
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as draft, draft.open("wb") as file:
            np.savez(file, **vars(table))
    return table


def _build(model: OpticsModel) -> PsfTable:
    optics = model.optics
    # Highest lateral frequency, cycles per pixel, and the axial period of the intensity.
    lateral = 2 * optics.na / optics.emission_nm * optics.pixel_size_nm
    aperture = np.sqrt(1 - (optics.na / optics.immersion_index) ** 2)
    axial = optics.emission_nm / (optics.immersion_index * (1 - aperture))
    oversampling = max(2, int(np.ceil(lateral / 0.25)))
    z_step = min(100.0, axial / 6)
    planes = 2 * int(np.ceil(Z_REACH_NM / z_step)) + 1
    z_start = -(planes - 1) / 2 * z_step

    box = _pixel_filter(oversampling, lateral)
    half = oversampling * RADIUS_PX + SPLINE_MARGIN
    reach = half + len(box) // 2
    step = optics.pixel_size_nm / oversampling
    grid = np.arange(-reach, reach + 1) * step
    side = 2 * half + 1
    fade = _fade(half, oversampling) * optics.pixel_size_nm**2
    nodes = np.linspace(-FIELD_MARGIN, FIELD_MARGIN, FIELD_NODES)
    table = np.empty((FIELD_NODES, FIELD_NODES, planes, side, side), dtype=np.int16)
    scale = np.empty(table.shape[:3], dtype=np.float32)
    samples = np.empty((planes, side, side), dtype=np.float32)
    for row, v in enumerate(nodes):
        for column, u in enumerate(nodes):
            for plane in range(planes):
                z = z_start + plane * z_step
                pupil = model.pupil_for(z, RADIUS_PX * optics.pixel_size_nm)
                fields = image_fields(model.factor(pupil, float(u), float(v), z), grid, grid, pupil)
                samples[plane] = _filter(intensity(fields, pupil), box) * fade
            coefficients = _spline_coefficients(samples)
            scale[row, column] = np.abs(coefficients).max(axis=(1, 2)) / LARGEST
            table[row, column] = np.round(coefficients / scale[row, column][:, None, None])
    return PsfTable(table, scale, float(z_start), float(z_step), oversampling, _outside(table, oversampling))


def _fade(half: int, oversampling: int) -> AnyFloat:
    offsets = np.arange(-half, half + 1) / oversampling
    distance = np.hypot(offsets[None, :], offsets[:, None])
    part = np.clip((distance - FADE_FROM_PX) / (RADIUS_PX - FADE_FROM_PX), 0, 1)
    return np.asarray((1 + np.cos(np.pi * part)) / 2)


def _pixel_filter(oversampling: int, lateral: float) -> AnyFloat:
    """Weights that take the mean of a band-limited image over a pixel, fitted to the box's spectrum."""
    taps = oversampling + 1
    frequency = np.linspace(0, lateral / oversampling, 200)
    basis = np.cos(2 * np.pi * np.outer(frequency, np.arange(taps + 1)))
    basis[:, 1:] *= 2
    half = np.linalg.lstsq(basis, np.sinc(oversampling * frequency), rcond=None)[0]
    return np.concatenate([half[:0:-1], half])


def _filter(image: AnyFloat, weights: AnyFloat) -> AnyFloat:
    from scipy.ndimage import convolve1d

    margin = len(weights) // 2
    filtered = convolve1d(convolve1d(image, weights, axis=0), weights, axis=1)
    return np.asarray(filtered[margin:-margin, margin:-margin])


def _spline_coefficients(samples: F32) -> F32:
    from scipy.ndimage import spline_filter

    return np.asarray(spline_filter(samples, order=3, output=np.float32, mode="mirror"))


def _outside(table: NDArray[np.int16], oversampling: int) -> F32:
    """Part of the energy beyond each radius; spline coefficients have practically the sums of the samples."""
    middle = table.shape[-1] // 2
    total = np.empty((*table.shape[:3], RADIUS_PX + 1), dtype=np.float32)
    for radius in range(RADIUS_PX + 1):
        reach = slice(middle - oversampling * radius, middle + oversampling * radius + 1)
        total[..., radius] = table[..., reach, reach].sum(axis=(-1, -2), dtype=np.int64)
    left_out = (total[..., -1:] - total) / total[..., -1:]
    return np.asarray(left_out.max(axis=(0, 1)))
