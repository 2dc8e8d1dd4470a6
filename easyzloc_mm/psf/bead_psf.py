"""The PSF of single beads: free of most camera noise, and on a fine grid.

Each bead is fitted along z by a cubic B-spline, which takes most of its noise out, and registered to its centre: no
optical model enters. `field_psf` then joins all beads of a field. Cubic splines as a PSF model are those of [1]_.

References
----------
.. [1] Li et al., Real-time 3D single-molecule localization using experimental point spread functions, Nature Methods
   15, 367 (2018), https://doi.org/10.1038/nmeth.4661
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from easyzloc_mm.camera.crops import LARGEST_ROI_PX, ROI_PX
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.dataset import BeadDataset
from easyzloc_mm.numerics.spline import cubic_b_spline
from easyzloc_mm.numerics.statistics import robust_sd
from easyzloc_mm.psf.registration import rim_background
from easyzloc_mm.typing import F32, F64, I64

IN_FOCUS_NM = 200.0
"""Planes nearer to focus than this give a bead's brightness and background."""
PITCH_PX = 2 / 3
"""Distance of the lateral B-spline knots: finer than the pixels, so that sampling does not broaden the image."""
BEYOND_CROP_PX = 8
"""What a bead's region is larger than a crop: room for the crop at any sub-pixel place and with its errors, and for the
interpolation around it."""
PADDING = 3
"""Knots by which `SplinePsf.padded` extends the edges, where the PSF has faded out."""
COARSE = 2
"""A depth is near enough to a fit's start when it is no more than a knot away."""
Z_PITCH_NM = 80.0
"""Distance of the axial knots; the axial period of a high-NA image is 600 nm and more."""
Z_ROUGHNESS = 1e-3
COVERING_SHARE = 0.9
"""Of the beads: the depths that so many cover are modelled."""


def knots_of(roi_px: int) -> int:
    """Return the knots per lateral axis for crops of an edge: 2 px farther than a crop reaches, with its errors."""
    return 2 * ((3 * (roi_px // 2) + 8) // 2) + 1


ROI_OF_KNOTS = {knots_of(roi_px): roi_px for roi_px in range(ROI_PX, LARGEST_ROI_PX + 1, 2)}


@dataclass(frozen=True)
class SplinePsf:
    """Images of a point at several places: cubic B-splines in z, y and x.

    Attributes
    ----------
    coefficients : ndarray, shape (T, Z, knots, knots), float32
        Expected photons per pixel for one photon of a focused spot, by place, z knot, y knot, x knot. The middle
        lateral knot lies at the emitter.
    z_start_nm, z_pitch_nm : float
        First z knot and distance of the knots.
    low_nm, high_nm : ndarray, shape (T,), float32
        Depths that each place covers.
    x, y : ndarray, shape (T,)
        Places, sensor pixels.
    """

    coefficients: F32
    z_start_nm: float
    z_pitch_nm: float
    low_nm: F32
    high_nm: F32
    x: F64
    y: F64

    def __len__(self) -> int:
        return len(self.coefficients)

    @property
    def roi_px(self) -> int:
        """Edge of the crops that the images are for."""
        return ROI_OF_KNOTS[self.coefficients.shape[-1]]

    @cached_property
    def padded(self) -> F32:
        """Coefficients with their edges repeated, shape (T, Z, knots * knots)."""
        margin = (PADDING, PADDING)
        return np.pad(self.coefficients, ((0, 0), (0, 0), margin, margin), "edge").reshape(
            *self.coefficients.shape[:2], -1
        )

    @cached_property
    def coarse(self) -> F32:
        """Lateral coefficients at every `COARSE`-th z knot, padded, shape (T, depths, knots * knots).

        The first depth is that of knot 1.
        """
        below, here, above = (self.padded[:, k:][:, : self.padded.shape[1] - 2 : COARSE] for k in range(3))
        return np.ascontiguousarray((below + above) / np.float32(6) + here * np.float32(2 / 3))

    @property
    def z_range_nm(self) -> tuple[float, float]:
        """Return the depths (nm) that nine in ten places cover."""
        low = float(np.quantile(self.low_nm, COVERING_SHARE))
        high = float(np.quantile(self.high_nm, 1 - COVERING_SHARE))
        return low, high


def point_image(table: SplinePsf, place: int, z_nm: float, dx_px: float, dy_px: float, half_px: int) -> F64:
    """Return the image of one photon of an emitter, on a square of any size; for many crops there are kernels.

    Parameters
    ----------
    table : SplinePsf
    place : int
        Index in `table`.
    z_nm : float
    dx_px, dy_px : float
        The emitter, from the centre of the middle pixel.
    half_px : int
        Pixels to either side of the middle one.

    Returns
    -------
    ndarray, shape (2 * half_px + 1, 2 * half_px + 1)
        Expected photons per pixel; 0 beyond the knots.
    """
    knots, across = table.coefficients.shape[1:3]
    depth = cubic_b_spline((z_nm - table.z_start_nm) / table.z_pitch_nm - np.arange(knots, dtype=float))
    near = np.flatnonzero(depth)
    plane = np.tensordot(depth[near], table.coefficients[place, near], axes=1)
    pixels = np.arange(-half_px, half_px + 1, dtype=float)
    middle = np.arange(across, dtype=float) - across // 2
    rows, columns = (cubic_b_spline((pixels - at)[:, None] / PITCH_PX - middle) for at in (dy_px, dx_px))
    return np.asarray(rows @ plane @ columns.T)


@dataclass(frozen=True)
class BeadPsfs:
    """PSFs at places, be they beads or a grid over the field, and the camera: all that simulated emitters need.

    Attributes
    ----------
    table : SplinePsf
        Of beads: one place per bead.
    field_size_px : (int, int)
    field_known : bool
        Whether places in the field mean anything.
    read_noise_e : float
        In effective photons (`CameraResponse.effective`), as everything that is drawn from here.
    spread_px : (float, float)
        Emitters lie up to half of this away from their place in x and y: the distance of the table's places.
    bead_id : ndarray of int, shape (T,)
        Which bead each place of the table is; one that was recorded several times is several places. Empty where places
        are no beads.
    noise : ndarray, shape (T,)
        Variance of the light of a plane's region, of one photon of the bead: how much noise the images have, up to a
        factor. Empty where places are no beads.
    """

    table: SplinePsf
    field_size_px: tuple[int, int]
    field_known: bool
    read_noise_e: float
    spread_px: tuple[float, float] = (0.0, 0.0)
    bead_id: I64 = field(default_factory=lambda: np.empty(0, np.int64))
    noise: F64 = field(default_factory=lambda: np.empty(0))

    def __len__(self) -> int:
        return len(self.table)

    @property
    def z_range_nm(self) -> tuple[float, float]:
        """Return the depths (nm) that nine in ten beads cover."""
        return self.table.z_range_nm

    @classmethod
    def from_beads(cls, beads: BeadDataset, chosen: NDArray[np.integer], roi_px: int = ROI_PX) -> BeadPsfs:
        """Prepare beads, one by one: memory does not grow with the number of planes.

        Parameters
        ----------
        beads : BeadDataset
        chosen : ndarray of int
            Numbers of the beads.
        roi_px : int
            Edge of the crops that their images are for.

        Raises
        ------
        InputError
            A chosen bead has no plane near its focus.
        """
        first, last, planes = _covered(beads, chosen)
        step = float(np.median((last - first) / np.maximum(planes - 1, 1)))
        pitch = max(Z_PITCH_NM, 1.2 * step)
        low = float(np.quantile(first, 0.05))
        high = float(np.quantile(last, 0.95))
        knots = int(np.ceil((high - low) / pitch)) + 5
        start = (low + high) / 2 - (knots - 1) / 2 * pitch
        across = knots_of(roi_px)
        coefficients = np.empty((len(chosen), knots, across, across), np.float32)
        noise = np.empty(len(chosen))
        for row, bead in enumerate(chosen):
            z_nm, photons, brightness = bead_photons(beads, int(bead))
            noise[row] = _noise(photons, brightness)
            inside = (z_nm > start + pitch) & (z_nm < start + (knots - 2) * pitch)
            along_z = _z_fit(z_nm[inside], start, pitch, knots) / brightness
            # The lateral shift of the stage is taken out knot by knot: within one it is a few nanometres.
            path = beads.centres(bead, start + pitch * np.arange(knots))
            columns, rows = (_registrations(photons.shape[2], axis, across) for axis in path)
            smooth = np.tensordot(along_z, photons[inside], axes=1)
            coefficients[row] = rows @ smooth @ columns.transpose(0, 2, 1)
        table = SplinePsf(
            coefficients=coefficients,
            z_start_nm=start,
            z_pitch_nm=pitch,
            low_nm=np.maximum(first, start + pitch).astype(np.float32),
            high_nm=np.minimum(last, start + (knots - 2) * pitch - 0.01).astype(np.float32),
            x=beads.x[chosen],
            y=beads.y[chosen],
        )
        known, noise_e = beads.field_known, beads.response.effective().read_noise_e
        return cls(table, beads.field_size_px, known, noise_e, bead_id=beads.bead_id[chosen], noise=noise)


def z_range_of_beads(beads: BeadDataset, chosen: NDArray[np.integer]) -> tuple[float, float]:
    """Return the depths (nm) that nine in ten of some beads cover: `BeadPsfs.z_range_nm`, without preparing any."""
    first, last, _ = _covered(beads, chosen)
    return float(np.quantile(first, COVERING_SHARE)), float(np.quantile(last, 1 - COVERING_SHARE))


def _covered(beads: BeadDataset, chosen: NDArray[np.integer]) -> tuple[F64, F64, I64]:
    """Return the first and the last label (nm) of each bead, and how many planes have one."""
    labels = beads.z_nm[chosen].astype(float)
    finite = np.isfinite(labels)
    first = np.min(np.where(finite, labels, np.inf), axis=1)
    last = np.max(np.where(finite, labels, -np.inf), axis=1)
    return first, last, finite.sum(axis=1)


def _noise(photons: F32, brightness: float) -> float:
    """Return the variance of all pixels of a plane together, per square of the brightness, by the rim's scatter."""
    rim = np.concatenate([photons[:, [0, -1]].ravel(), photons[:, 1:-1, [0, -1]].ravel()])
    return float((brightness + photons[0].size * robust_sd(rim) ** 2) / brightness**2)


def bead_photons(beads: BeadDataset, bead: int) -> tuple[F64, F32, float]:
    """Return the images of a bead through focus, free of background and bleaching.

    Divided by the brightness they are the images of one photon.

    Parameters
    ----------
    beads : BeadDataset
    bead : int
        Its number in the data set.

    Returns
    -------
    z_nm : ndarray, shape (P,)
        Labels of the planes.
    photons : ndarray, shape (P, R, R)
        Effective photons above background, as bright in every plane as in focus (`beads.light`).
    brightness : float
        Effective photons of the bead in one plane in focus.

    Raises
    ------
    InputError
        The bead has no plane near its focus.
    """
    known = np.isfinite(beads.z_nm[bead])
    z_nm = beads.z_nm[bead, known].astype(float)
    nearest = float(np.abs(z_nm).min(initial=np.inf))
    if nearest > IN_FOCUS_NM:
        raise InputError("a bead has no plane near its focus: build the bead data set again from whole stacks")
    near = np.abs(z_nm) <= max(IN_FOCUS_NM, 1.01 * nearest)
    planes = beads.rois[bead][known].astype(np.float32)
    response = beads.response.effective()
    photons = (planes - np.float32(response.baseline_adu)) * np.float32(response.electrons_per_adu)
    # The rim of the ROI is darkest where the bead is sharp: that is the background of the whole stack.
    photons -= np.float32(rim_background(photons[near], together=True))
    # A bead that bleaches along the scan would otherwise give away its z by its brightness.
    photons /= beads.light[bead][known][:, None, None]
    return z_nm, photons, float(photons[near].sum(axis=(1, 2)).mean())


def _z_fit(z_nm: F64, start: float, pitch: float, knots: int) -> F64:
    """Return least squares along z as a matrix (knots, planes); without planes the spline goes on straight."""
    design = cubic_b_spline((z_nm[:, None] - start) / pitch - np.arange(knots))
    bend = np.diff(np.eye(knots), 2, axis=0)
    normal = design.T @ design + Z_ROUGHNESS * len(z_nm) / knots * bend.T @ bend + 1e-9 * np.eye(knots)
    return np.asarray(np.linalg.solve(normal, design.T))


def _registrations(size: int, centres: F64, knots: int) -> F32:
    """Return matrices (n, knots, size): pixels of a ROI to B-spline coefficients around each of n centres."""
    at = np.clip(centres[:, None] + (np.arange(knots) - knots // 2) * PITCH_PX, 0, size - 1)
    pixels = np.asarray(ndimage.spline_filter1d(np.eye(size), 3, axis=0, mode="mirror"))
    around = cubic_b_spline(at[:, :, None] - np.arange(-2, size + 2))
    spread = around[:, :, 2:-2].copy()
    for beyond, mirrored in ((0, 2), (1, 1), (-2, -2), (-1, -3)):
        spread[:, :, mirrored] += around[:, :, beyond]
    return np.asarray(ndimage.spline_filter1d(spread @ pixels, 3, axis=1, mode="mirror"), np.float32)
