"""The exact optics tabulated for fast rendering: cubic B-splines in z, y, x, linear between field nodes.

The image intensity is band-limited (lateral period at least ``emission / (2 NA)``, axial about 620 nm for an oil
objective), so a cubic spline through samples at twice that rate reproduces it to a few parts in a thousand.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.simulator.optics import FIELD_MARGIN, OpticsModel
from easyzloc_mm.simulator.pupil import image_fields, intensity

Single = NDArray[np.float32]

FORMAT = 1
"""Part of the cache key: raise it when the way of tabulating changes."""
RADIUS_PX = 20
Z_REACH_NM = 3600.0
FIELD_NODES = 7
SPLINE_MARGIN = 4
"""Samples beyond the patch that the four taps of the spline may touch."""


@dataclass(frozen=True)
class PsfTable:
    """Spline coefficients of the image of a point.

    Attributes
    ----------
    coefficients : ndarray, shape (FIELD_NODES, FIELD_NODES, planes, S, S), float32
        Field row, field column, z, y, x.
    z_start_nm, z_step_nm : float
        First plane and step.
    oversampling : int
        Samples per pixel.
    outside : ndarray, shape (planes, RADIUS_PX + 1), float32
        Largest part of the tabulated energy, over the field, that a patch of that radius leaves out.
    """

    coefficients: Single
    z_start_nm: float
    z_step_nm: float
    oversampling: int
    outside: Single


def psf_table(model: OpticsModel) -> PsfTable:
    """Tabulate `model`, or read the table from the user's cache.

    A cache that cannot be read or written only costs the seconds of building. The table does not depend on the size
    of the camera, since aberrations go with field coordinates.
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
        with np.load(_cache_file(key), allow_pickle=False) as stored:
            return PsfTable(
                coefficients=stored["coefficients"],
                z_start_nm=float(stored["z_start_nm"]),
                z_step_nm=float(stored["z_step_nm"]),
                oversampling=int(stored["oversampling"]),
                outside=stored["outside"],
            )
    except (OSError, ValueError, KeyError, EOFError):
        # Absent, unreadable or cut off: built anew.
        return None


def _keep(key: str, table: PsfTable) -> PsfTable:
    path = _cache_file(key)
    draft = path.with_name(f"{uuid.uuid4().hex[:8]}.npz")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(draft, **vars(table))
        os.replace(draft, path)
    except OSError:
        # No writable cache: the table lives in memory only.
        draft.unlink(missing_ok=True)
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
    nodes = np.linspace(-FIELD_MARGIN, FIELD_MARGIN, FIELD_NODES)
    table = np.empty((FIELD_NODES, FIELD_NODES, planes, side, side), dtype=np.float32)
    for row, v in enumerate(nodes):
        for column, u in enumerate(nodes):
            for plane in range(planes):
                z = z_start + plane * z_step
                pupil = model.pupil_for(z, RADIUS_PX * optics.pixel_size_nm)
                fields = image_fields(model.factor(pupil, float(u), float(v), z), grid, grid, pupil)
                table[row, column, plane] = _filter(intensity(fields, pupil), box) * optics.pixel_size_nm**2
            table[row, column] = _spline_coefficients(table[row, column])
    return PsfTable(table, float(z_start), float(z_step), oversampling, _outside(table, oversampling))


def _pixel_filter(oversampling: int, lateral: float) -> NDArray[np.float64]:
    """Weights that integrate a band-limited image over a pixel (mean over it), fitted to the box's spectrum."""
    taps = oversampling + 1
    frequency = np.linspace(0, lateral / oversampling, 200)
    basis = np.cos(2 * np.pi * np.outer(frequency, np.arange(taps + 1)))
    basis[:, 1:] *= 2
    half = np.linalg.lstsq(basis, np.sinc(oversampling * frequency), rcond=None)[0]
    return np.concatenate([half[:0:-1], half])


def _filter(image: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    rows = sum(w * image[i : image.shape[0] - len(weights) + 1 + i] for i, w in enumerate(weights))
    assert isinstance(rows, np.ndarray)
    columns = sum(w * rows[:, i : rows.shape[1] - len(weights) + 1 + i] for i, w in enumerate(weights))
    return np.asarray(columns)


def _spline_coefficients(samples: Single) -> Single:
    from scipy.ndimage import spline_filter

    return np.asarray(spline_filter(samples, order=3, output=np.float32, mode="mirror"))


def _outside(table: Single, oversampling: int) -> Single:
    """Energy beyond each radius; spline coefficients have the same sums as the samples, to what matters here."""
    middle = table.shape[-1] // 2
    total = np.empty((*table.shape[:3], RADIUS_PX + 1), dtype=np.float32)
    for radius in range(RADIUS_PX + 1):
        reach = slice(middle - oversampling * radius, middle + oversampling * radius + 1)
        total[..., radius] = table[..., reach, reach].sum(axis=(-1, -2))
    left_out = (total[..., -1:] - total) / total[..., -1:]
    return np.asarray(left_out.max(axis=(0, 1)))
