"""Images of the measured PSF at many depths and places, prepared for finding molecules by correlation.

A matched filter finds a known signal in white noise with the highest possible ratio of signal to noise [1]_. Templates
are images less their mean over a wider surrounding, so that a constant background does not matter, and have unit norm,
so that the correlation with an image of unit noise is that ratio. The bank stands twice: of 2x2-binned pixels, factored
into a few separable filters, for the whole frame (what is out of focus is large, and one pixel in four is enough to
notice what is in focus); and of whole pixels, for the surroundings of what was noticed. Each is there for a
background that is known, for an even one, and for backgrounds that are lit more and more unevenly (`uneven_light`).

References
----------
.. [1] Turin, An introduction to matched filters, IRE Transactions on Information Theory 6, 311 (1960),
   https://doi.org/10.1109/TIT.1960.1057571
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import maximum_filter
from scipy.signal import fftconvolve

from easyzloc_mm.camera.crops import ROI_PX
from easyzloc_mm.psf.bead_psf import PITCH_PX, SplinePsf
from easyzloc_mm.psf.field_psf import FieldPsf
from easyzloc_mm.psf.kernels.spline import draw, drawing
from easyzloc_mm.psf.uneven_light import UNKNOWN_LEVEL, best_filters, light_covariance, probe
from easyzloc_mm.typing import F32, F64

BINNED_PX = 11
"""Edge of the images in binned pixels: as far as the measured PSF reaches."""
AROUND_PX = 15
"""Edge, in binned pixels, of the surrounding whose mean is taken off."""
REACH_PX = 9
"""From the emitter, as far as beads are measured."""
WHOLE_PX = 2 * REACH_PX + 1
"""Edge of the templates in whole pixels."""
LANES = 8
"""Numbers that a processor computes with at once."""
DEPTH_STEP_NM = 125.0
TILES = 3
"""Per axis of the field: within one, the PSF changes little enough to be found by one template."""
KEPT_ENERGY = 0.975
"""Of the templates: what is left out lowers the ratio of signal to noise by half of the rest."""
MOST_COMPONENTS, MOST_FILTERS = 7, 4
LEVEL_ERROR = 0.05
"""Standard deviation of a background that nine tiles agree on (`matched.background.agreed`), in units of the noise of a
binned pixel: that of the mean of their medians."""
LEVEL_KNOWN, LEVEL_UNKNOWN = 0, 1
"""Filters for a background that is known so well, and for one that is even, but of any level."""
UNEVENNESS = (0.1, 0.18, 0.32, 0.56, 1.0, 1.8, 3.2, 10.0)
"""Standard deviations of uneven light that there are filters for, in units of the noise of a binned pixel."""
PROBE_PX = (15, 9)
"""Edges, in binned pixels, of the squares in which uneven light is looked for."""
OVERLAP_PX = 6
"""Distance of two emitters, in binned pixels, beyond which neither is mistaken for the other; with larger crops, whose
lobes go farther, it is as far as half of the crop and the lobes of another emitter."""


@dataclass(frozen=True)
class DetectionBank:
    """Templates by tile of the field and depth.

    Attributes
    ----------
    z_nm : ndarray, shape (K,)
        Depths.
    tiles : int
        Tiles of the field per axis; they are numbered row by row.
    field_size_px : (int, int)
        Width and height of the field that the tiles divide.
    filters_x : ndarray, shape (q, BINNED_PX), float32
        Filters along x, of binned pixels.
    filters_y : ndarray, shape (C, q, BINNED_PX), float32
        Filters along y: a component is the sum over q of filter y times filter x.
    weights : ndarray, shape (L, tiles * tiles, K, C + 1), float32
        A template is the sum of weighted components, and last of the surrounding's mean; by what is known of the
        background: `LEVEL_KNOWN`, `LEVEL_UNKNOWN`, and by unevenness of the light.
    whole : ndarray, shape (L, tiles * tiles, K, WHOLE_PX, 24), float32
        Templates in whole pixels; columns of zeros make a row a whole number of `LANES`.
    whole_sum : ndarray, shape (L, tiles * tiles, K), float32
        So many times the surrounding's mean is taken off.
    overlap : ndarray, shape (L, K, K, 2 * reach + 1, 2 * reach + 1), float32
        Correlation of the template of one depth with the image of another, by their distance in binned pixels (y, x).
    unevenness : ndarray, shape (L,)
        Standard deviation of the light that each is for, in units of the noise of a binned pixel; 0 of the first
        two.
    probes : ndarray, shape (P, AROUND_PX, AROUND_PX), float32
        Filters of unit norm that uneven light shows in.
    probe_px : ndarray, shape (P,)
        Edges of the squares that they look at, in binned pixels.
    probe_gain : ndarray, shape (P,)
        Variance of what they show of light of unit variance.
    """

    z_nm: F64
    tiles: int
    field_size_px: tuple[int, int]
    filters_x: F32
    filters_y: F32
    weights: F32
    whole: F32
    whole_sum: F32
    overlap: F32
    unevenness: F64
    probes: F32
    probe_px: F64
    probe_gain: F64

    @classmethod
    def of(
        cls, psf: FieldPsf, table: SplinePsf, field_size_px: tuple[int, int], z_range_nm: tuple[float, float]
    ) -> DetectionBank:
        """Return the bank of a field's PSF.

        Parameters
        ----------
        psf : FieldPsf
        table : SplinePsf
            The same, tabulated (`FieldPsf.table`).
        field_size_px : (int, int)
            Width and height of the field.
        z_range_nm : (float, float)
            Depths in which emitters are to be found.
        """
        tiles = TILES if psf.degree else 1
        low, high = max(table.z_range_nm[0], z_range_nm[0]), min(table.z_range_nm[1], z_range_nm[1])
        z_nm = np.linspace(low, high, int(np.ceil((high - low) / DEPTH_STEP_NM)) + 1)
        u, v = (grid.ravel() for grid in np.meshgrid(*(((np.arange(tiles) + 0.5) / tiles),) * 2))
        width, height = field_size_px
        places = psf.place(u * (width - 1), v * (height - 1), field_size_px)
        images = np.stack([[_image(table, place, z) for z in z_nm] for place in places])
        binned, _ = _normalised(_binned(images), AROUND_PX)
        filters_x, filters_y, weights = _factored(binned)
        components = np.einsum("cqi,qj->cij", filters_y, filters_x)
        uneven = np.square(UNEVENNESS)
        weights = _weighted(binned, weights, components, uneven)
        whole, whole_sum = _whole(images, uneven)
        reach = OVERLAP_PX + (table.roi_px - ROI_PX) // 2
        middle = len(binned) // 2
        probes = np.stack([probe(edge, AROUND_PX) for edge in PROBE_PX])
        flat = probes.reshape(len(probes), -1)
        return cls(
            z_nm=z_nm,
            tiles=tiles,
            field_size_px=field_size_px,
            filters_x=filters_x.astype(np.float32),
            filters_y=filters_y.astype(np.float32),
            weights=weights.astype(np.float32),
            whole=np.pad(whole, ((0, 0),) * 4 + ((0, -WHOLE_PX % LANES),)).astype(np.float32),
            whole_sum=whole_sum.astype(np.float32),
            overlap=_overlaps(_templates(binned[middle], uneven), binned[middle], reach),
            unevenness=np.array([0.0, 0.0, *UNEVENNESS]),
            probes=probes.astype(np.float32),
            probe_px=np.array(PROBE_PX, float),
            probe_gain=np.einsum("pi,ij,pj->p", flat, light_covariance(AROUND_PX, 2), flat),
        )


def _weighted(binned: F64, weights: F64, components: F64, uneven: F64) -> F64:
    """Return the weights of components and surrounding by unevenness, shape (L, tiles, K, C + 1).

    Parameters
    ----------
    binned : ndarray, shape (tiles, K, BINNED_PX, BINNED_PX)
        Images.
    weights : ndarray, shape (tiles, K, C)
        Of the components, for images.
    components : ndarray, shape (C, BINNED_PX, BINNED_PX)
    uneven : ndarray, shape (L - 1,)
        Variance of the light.
    """
    flat = np.tensordot(weights, components, axes=1)
    total = flat.sum(axis=(2, 3))
    norm = np.sqrt(np.sum(flat**2, axis=(2, 3)) - total**2 / AROUND_PX**2)
    even = np.concatenate([weights, -total[..., None]], axis=2) / norm[..., None]
    basis = np.vstack([_placed(components, AROUND_PX), _mean_of(AROUND_PX)])
    asked = basis, _placed(binned, AROUND_PX), light_covariance(AROUND_PX, 2)
    known = best_filters(*asked, np.zeros(1), LEVEL_ERROR**2)
    return np.concatenate([known, even[None], best_filters(*asked, uneven)])


def _whole(images: F32, uneven: F64) -> tuple[F64, F64]:
    """Return templates of whole pixels by unevenness, and how much of the surrounding's mean is taken off."""
    even, even_sum = _normalised(images, 2 * AROUND_PX)
    # Of a binned pixel, the light's share of the noise is twice that of a whole one.
    known, known_sum = _any_template(images, 2 * AROUND_PX, 1, np.zeros(1), LEVEL_ERROR**2 / 4)
    found, found_sum = _any_template(images, 2 * AROUND_PX, 1, uneven / 4)
    return np.concatenate([known, even[None], found]), np.concatenate([-known_sum, even_sum[None], -found_sum])


def _templates(binned: F64, uneven: F64) -> F64:
    """Return templates of images (K, size, size) by unevenness, shape (L, K, AROUND_PX, AROUND_PX)."""
    even = _placed(binned, AROUND_PX) - binned.mean(axis=(1, 2))[:, None] * (BINNED_PX / AROUND_PX) ** 2
    asked = binned, AROUND_PX, 2
    known, found = _any_template(*asked, np.zeros(1), LEVEL_ERROR**2), _any_template(*asked, uneven)
    others = (_placed(own, AROUND_PX) + around[..., None] / AROUND_PX**2 for own, around in (known, found))
    first, rest = others
    return np.concatenate([first, even[None], rest]).reshape(-1, len(binned), AROUND_PX, AROUND_PX)


def _any_template(
    images: F64 | F32, around: int, pixel_px: int, uneven: F64, level: float = UNKNOWN_LEVEL
) -> tuple[F64, F64]:
    """Return the best templates for images, and how much of the mean around is added to them."""
    size = images.shape[-1]
    basis = np.vstack([_placed(np.eye(size**2).reshape(-1, size, size), around), _mean_of(around)])
    found = best_filters(basis, _placed(images, around), light_covariance(around, pixel_px), uneven, level)
    return found[..., :-1].reshape(len(uneven), *images.shape), found[..., -1]


def _placed(images: F64 | F32, around: int) -> F64:
    """Return images (..., size, size) in the middle of a larger square, 0 beside them, as lines (..., around^2)."""
    first = (around - images.shape[-1]) // 2
    last = around - images.shape[-1] - first
    placed = np.pad(images, ((0, 0),) * (images.ndim - 2) + ((first, last),) * 2)
    return np.asarray(placed.reshape(*images.shape[:-2], -1), np.float64)


def _mean_of(around: int) -> F64:
    return np.full((1, around**2), 1 / around**2)


def _image(table: SplinePsf, place: int, z_nm: float) -> F32:
    """Return the image of one photon at the middle of a pixel, as far as it was measured."""
    size, knots = WHOLE_PX, table.coefficients.shape[2]
    image = np.empty((size, size), np.float32)
    depth = (z_nm - table.z_start_nm) / table.z_pitch_nm
    draw(table.coefficients[place], 0.0, 0.0, depth, PITCH_PX, drawing(size, knots), image)
    return image


def _binned(images: F32) -> F64:
    """Return images in binned pixels, for an emitter in either of the two pixels, per axis, of the middle one."""
    size, edge = images.shape[-1], 2 * BINNED_PX
    total = np.zeros((*images.shape[:-2], BINNED_PX, BINNED_PX))
    for y in (0, 1):
        for x in (0, 1):
            first_y, first_x = BINNED_PX - 1 + y - size // 2, BINNED_PX - 1 + x - size // 2
            canvas = np.zeros((*images.shape[:-2], edge, edge))
            canvas[..., first_y : first_y + size, first_x : first_x + size] = images
            total += canvas.reshape(*images.shape[:-2], BINNED_PX, 2, BINNED_PX, 2).sum(axis=(-3, -1))
    return total


def _normalised(images: F64 | F32, around_px: int) -> tuple[F64, F64]:
    """Return images, and their sums, scaled to unit norm less their mean over a square of `around_px`."""
    total = images.sum(axis=(-2, -1), dtype=np.float64)
    norm = np.sqrt(np.sum(np.square(images, dtype=np.float64), axis=(-2, -1)) - total**2 / around_px**2)
    return np.asarray(images / norm[..., None, None]), total / norm


def _factored(templates: F64) -> tuple[F64, F64, F64]:
    """Return filters along x, along y and weights of templates, shape (tiles, depths, size, size)."""
    size = templates.shape[-1]
    left, values, components = np.linalg.svd(templates.reshape(-1, size * size), full_matrices=False)
    count = _enough(values, MOST_COMPONENTS)
    weights = (left * values)[:, :count].reshape(*templates.shape[:2], count)
    # Components count by their energy in the templates: the filters along x are those that they share.
    strength = values[:count, None] / values[0]
    rows = (strength * components[:count]).reshape(count * size, size)
    _, values, filters = np.linalg.svd(rows, full_matrices=False)
    filters_x = filters[: _enough(values, MOST_FILTERS)]
    filters_y = np.einsum("cij,qj->cqi", components[:count].reshape(count, size, size), filters_x)
    return filters_x, filters_y, weights


def _enough(singular_values: F64, most: int) -> int:
    energy = np.cumsum(singular_values**2) / np.sum(singular_values**2)
    return min(int(np.searchsorted(energy, KEPT_ENERGY)) + 1, most)


def _overlaps(templates: F64, images: F64, reach: int) -> F32:
    """Return `_overlap` by unevenness of the light.

    Templates for uneven light are sharp. Half of a pixel, or of a step in depth, beside the place for which overlaps
    are computed they may show more: for them it is the highest nearby.
    """
    known, even, *uneven = (_overlap(one, images, reach) for one in templates)
    return np.stack([known, even, *(maximum_filter(one, (1, 3, 3, 3)) for one in uneven)])


def _overlap(templates: F64, images: F64, reach: int) -> F32:
    """Return correlations of templates, shape (K, AROUND_PX, AROUND_PX), with images, by their distance."""
    count, size = len(images), images.shape[-1]
    reach = min(reach, (AROUND_PX + size) // 2 - 1)
    out = np.empty((count, count, 2 * reach + 1, 2 * reach + 1), np.float32)
    middle = (AROUND_PX + size) // 2 - 1
    near = slice(middle - reach, middle + reach + 1)
    for k, template in enumerate(templates):
        out[k] = fftconvolve(images, template[None, ::-1, ::-1], axes=(1, 2))[:, near, near]
    return out
