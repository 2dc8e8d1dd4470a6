"""What the uncertainty of its neighbours adds to an emitter's own.

A fit takes the light of the neighbours for known. That light was fitted too, and what it is wrong by, the emitter makes
up for. With s_i the score of emitter i in the pixels of its own crop, A the derivative of all scores by the light of
all emitters, and B the covariance of the scores, the fits have the covariance A^-1 B A^-T (the sandwich of [1]_);
for an emitter by itself that is the inverse of its Fisher information.

References
----------
.. [1] Huber, The behavior of maximum likelihood estimates under nonstandard conditions, Proceedings of the Fifth
   Berkeley Symposium on Mathematical Statistics and Probability 1, 221 (1967).
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from easyzloc_mm.psf.bead_psf import SplinePsf
from easyzloc_mm.psf.kernels.crop_size import sized
from easyzloc_mm.psf.kernels.joint import PARAMETERS, sensitivities, shared_information
from easyzloc_mm.psf.mle import SpotPrior
from easyzloc_mm.typing import F32, F64, I64

MOST_NEIGHBOURS = 8
"""The nearest so many are counted."""
SINGULAR = 1e-6
"""Added to what is known of each parameter, as a part of it: two emitters at one place know nothing of each other."""


def widening(
    table: SplinePsf, place: I64, theta: F64, model: F32, variance: F32, prior: SpotPrior, reach_px: float
) -> F64:
    """Return by what factor the neighbours widen the uncertainty of x, y and z of each emitter of a frame.

    Parameters
    ----------
    table : SplinePsf
    place : ndarray, shape (n,)
        Index of each emitter's PSF in the table.
    theta : ndarray, shape (n, 5)
        x, y (pixels of the frame), z (knots), photons, background.
    model : ndarray, shape (Y, X), float32
        Light of all emitters.
    variance : ndarray, shape (1, 1) or (Y, X), float32
        Of the read noise.
    prior : SpotPrior
        What the fits know of place and photons beforehand.
    reach_px : float
        Emitters nearer to each other are neighbours.

    Returns
    -------
    ndarray, shape (n, 3)
        1 or more.
    """
    if len(theta) < 2:
        return np.ones((len(theta), 3))
    members = _groups(theta, reach_px)
    sensitivity = np.empty((len(theta), PARAMETERS, table.roi_px, table.roi_px), np.float32)
    sensitivities(table.padded, place, theta, sized(table.roi_px), model, variance, sensitivity)
    columns, rows = np.rint(theta[:, :2].T).astype(np.int64, order="C")
    spread = np.empty((len(theta), PARAMETERS * members.shape[1], PARAMETERS * members.shape[1]))
    shared_information(sensitivity, columns, rows, members, spread)
    known = np.zeros((len(theta), PARAMETERS))
    known[:, :2], known[:, 3] = prior.place_sd_px**-2, (prior.log_photons_sd * np.maximum(theta[:, 3], 1.0)) ** -2
    known = np.where(members[:, :, None] >= 0, known[members], 1.0).reshape(len(theta), -1)
    diagonal = np.arange(known.shape[1])
    spread[:, diagonal, diagonal] += known
    # In units of what is known of each parameter: those of photons and of pixels differ by orders of magnitude.
    unit = 1 / np.sqrt(spread[:, diagonal, diagonal])
    spread *= unit[:, :, None] * unit[:, None, :]
    spread[:, diagonal, diagonal] += SINGULAR
    slope = spread.copy()
    # A fit has a background of its own, and knows nothing of that of its neighbours.
    owner = diagonal // PARAMETERS
    slope[:, (owner[:, None] != owner) & (diagonal % PARAMETERS == PARAMETERS - 1)] = 0.0
    inverse = np.linalg.inv(slope)[:, :3]
    joint = np.einsum("npi,nij,npj->np", inverse, spread, inverse, optimize=True)
    alone = np.linalg.inv(spread[:, :PARAMETERS, :PARAMETERS])[:, np.arange(3), np.arange(3)]
    return np.asarray(np.sqrt(np.maximum(joint / alone, 1.0)))


def _groups(theta: F64, reach_px: float) -> I64:
    """Return each emitter and its nearest neighbours within reach, itself first; -1 where there are no more."""
    most = min(MOST_NEIGHBOURS + 1, len(theta))
    away, members = cKDTree(theta[:, :2]).query(theta[:, :2], k=most, distance_upper_bound=reach_px)
    members[~np.isfinite(away)] = -1
    # Of two at the same place either may come first.
    own = members == np.arange(len(theta))[:, None]
    own[:, 0] |= ~own.any(axis=1)
    members[own] = members[:, 0]
    members[:, 0] = np.arange(len(theta))
    # In one order whatever their number: for each order a kernel is compiled.
    return np.ascontiguousarray(members[:, (members >= 0).any(axis=0)], np.int64)
