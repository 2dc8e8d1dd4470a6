"""The noise of images beside what the camera's units say, measured around molecules, where their own light is faint.

A fit that is as good as its noise allows leaves chi squared of one per pixel. Taken over all pixels it also rises where
the PSF of the sample differs from the beads'; taken where the background outshines the molecule, and from second
differences between neighbouring pixels, which know no smooth rest, it is the noise alone: the mean deviance of Poisson
counts (quasi-likelihood's dispersion [1]_), whatever lets the units be wrong.

References
----------
.. [1] Wedderburn, Quasi-likelihood functions, generalized linear models, and the Gauss-Newton method, Biometrika 61,
   439 (1974), https://doi.org/10.1093/biomet/61.3.439
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.camera.crops import UNSEEN_NOISE_E
from easyzloc_mm.camera.response import CameraResponse, PixelResponse
from easyzloc_mm.localization.matched.crowds.members import NEAR_PX, tree_of_frames
from easyzloc_mm.numerics.kernel import kernel
from easyzloc_mm.psf.bead_psf import PITCH_PX, SplinePsf
from easyzloc_mm.psf.kernels.spline import draw, drawing
from easyzloc_mm.psf.mle import Optimum, read_variance
from easyzloc_mm.typing import F32, F64, I64, Bool

FAINT = 1.0
"""A pixel is looked at where the molecules' light is below so many times the variance of everything else."""
LEAST_DIFFERENCES = 60
"""A crop with fewer says nothing."""
SOME_MOLECULES = 100
"""Of a block, on which its noise is measured, or twice as many."""
LEAST_LONELY = 0.5
"""Share of molecules that have no other one within `NEAR_PX` without which a block says nothing."""
MEDIAN = 0.994
"""Of such means over their expectation: they are a little skewed."""


def noise_of_some(
    at: tuple[NDArray[np.integer], F64, F64],
    crops: F32,
    noise_e: float | F32,
    table: SplinePsf,
    place: I64,
    optimum: Optimum,
    response: CameraResponse | PixelResponse,
) -> tuple[float, ...]:
    """Return `noise_ratios` of some molecules of a block, over what `response` says; of crowded ones nothing.

    Parameters
    ----------
    at : tuple of ndarray, each of shape (n,)
        Frame, x and y (pixels) of all molecules of the block.
    crops, noise_e
        As `camera.crops.crops_and_noise` cuts them.
    table, place, optimum
        As for `noise_ratios`.
    response : CameraResponse or PixelResponse
        Of the frames' pixels, in effective photons.
    """
    some = np.arange(0, len(crops), max(1, len(crops) // SOME_MOLECULES))
    lonely = _lonely(*at, some)
    # Where most have neighbours, those that seem alone have some that were not found.
    if lonely.sum() <= LEAST_LONELY * len(some):
        return ()
    some = some[lonely]
    rounding = np.median(response.electrons_per_adu) ** 2 / 12
    variance = np.broadcast_to(np.square(np.asarray(noise_e, np.float32)), crops.shape)[some] + np.float32(rounding)
    return tuple(noise_ratios(crops[some], table, place[some], optimum[some], np.sqrt(variance)).tolist())


def _lonely(frame: NDArray[np.integer], x: F64, y: F64, some: I64) -> Bool:
    """Return which of some molecules have no other one near them: so much of what no fit explains is the other's."""
    if len(x) < 2:
        return np.ones(len(some), bool)
    tree = tree_of_frames(frame, x, y, NEAR_PX)
    distance, _ = tree.query(tree.data[some], k=2, distance_upper_bound=NEAR_PX)
    return np.asarray(np.isinf(distance[:, 1]))


def noise_ratios(crops: F32, table: SplinePsf, place: I64, optimum: Optimum, read_noise_e: float | F32) -> F64:
    """Return measured over expected variance around each molecule that shows it, shape (m,), m <= n.

    Parameters
    ----------
    crops : ndarray, shape (n, size, size), float32
        Effective photons.
    table : SplinePsf
    place : ndarray, shape (n,)
        Which place of the table each molecule lies at.
    optimum : Optimum
        What fits them.
    read_noise_e : float or ndarray, shape (n, size, size)
        Rounding to whole counts included.
    """
    variance = read_variance(read_noise_e, crops.shape)
    knots = (optimum.z_nm - table.z_start_nm) / table.z_pitch_nm
    theta = np.stack([optimum.x_px, optimum.y_px, knots, optimum.photons, optimum.background], axis=1)
    out = np.empty(len(crops))
    _ratios(np.ascontiguousarray(crops), variance, table.coefficients, place, theta, out)
    return out[np.isfinite(out)] / MEDIAN


@kernel()
def _ratios(crops, variance, tables, place, theta, out):  # type: ignore[no-untyped-def]
    size = crops.shape[1]
    work, image = drawing(size, tables.shape[2]), np.empty((size, size), np.float32)
    rest, expected, usable = np.empty((size, size)), np.empty((size, size)), np.empty((size, size), np.bool_)
    for i in range(len(crops)):
        x, y, z, photons, background = theta[i]
        draw(tables[place[i]], x, y, z, PITCH_PX, work, image)
        for a in range(size):
            for b in range(size):
                light = max(photons * image[a, b], 0.0)
                floor = background + variance[i, a, b]
                expected[a, b] = max(light + floor, 1e-3)
                rest[a, b] = crops[i, a, b] - photons * image[a, b] - background
                usable[a, b] = light <= FAINT * floor and variance[i, a, b] < UNSEEN_NOISE_E**2
        total, count = 0.0, 0
        for a in range(size):
            for b in range(1, size - 1):
                if usable[a, b - 1] and usable[a, b] and usable[a, b + 1]:
                    bend = rest[a, b - 1] - 2 * rest[a, b] + rest[a, b + 1]
                    total += bend**2 / (expected[a, b - 1] + 4 * expected[a, b] + expected[a, b + 1])
                    count += 1
                if usable[b - 1, a] and usable[b, a] and usable[b + 1, a]:
                    bend = rest[b - 1, a] - 2 * rest[b, a] + rest[b + 1, a]
                    total += bend**2 / (expected[b - 1, a] + 4 * expected[b, a] + expected[b + 1, a])
                    count += 1
        out[i] = total / count if count >= LEAST_DIFFERENCES else np.nan
