"""The level of an even background, from the medians of tiles of a frame: what is known of it around a molecule."""

from __future__ import annotations

import numpy as np

from easyzloc_mm.numerics.kernel import kernel
from easyzloc_mm.numerics.statistics import MAD_TO_SD
from easyzloc_mm.typing import F64, AnyFloat

SAMPLES = 8
"""Of a tile, along each axis."""
TILE_PX2 = 1024.0
"""Of a tile, pixels."""
REACH_TILES = 2
"""To either side of a place, whose tiles say something of it."""
MEDIAN_TO_MEAN = 1.2533
"""Standard error of a median over that of a mean, of a normal distribution."""
LIT_PX2 = 160.0
"""That an emitter lights more brightly than its background, about."""
MOST_LIT = 0.25
"""Share of the tiles, above which emitters are a crowd."""
OWN_ERROR = 1.5
"""Of the median of n tiles, in units of the noise of one over the root of n: its standard error, and what differences
between tiles that are too small to be seen may make of it."""
ALIKE = 1.5
"""Tiles that differ by less (robust standard deviation), in units of their noise, are of an even background."""


@kernel()
def level_of(medians, read_variance, emitters):  # type: ignore[no-untyped-def]
    """Photons per pixel, and their standard deviation, from medians of 2x2 pixels of the tiles around a place.

    The median of them. Where tiles differ by more than their noise, so may the background within them. The light of
    emitters raises the median of a tile by as much as a share of its pixels lies above. In a crowd it is the light of
    all, what each has around it: as uncertain as tiles differ.

    Parameters
    ----------
    medians : ndarray, shape (n,)
    read_variance : float
        Of a pixel, effective electrons squared.
    emitters : float
        In these tiles.
    """
    middle = _middle(medians)
    spread = MAD_TO_SD * _middle(np.abs(medians - middle))
    noise = noise_of_median(middle, read_variance)
    if crowded(emitters, len(medians)):
        return middle / 4, max(spread, noise) / 4
    # A median moves by the root of pi / 2 standard deviations of a pixel times the share.
    raised = SAMPLES * _lit(emitters, len(medians))
    uneven = max(spread**2 - (ALIKE * noise) ** 2, 0.0)
    return middle / 4, np.sqrt(noise**2 * (OWN_ERROR**2 / len(medians) + raised**2) + uneven) / 4


@kernel()
def crowded(emitters, tiles):  # type: ignore[no-untyped-def]
    """Whether so many emitters light so many tiles all over."""
    return _lit(emitters, tiles) > MOST_LIT


@kernel()
def _lit(emitters, tiles):  # type: ignore[no-untyped-def]
    return emitters * LIT_PX2 / (TILE_PX2 * tiles)


@kernel()
def _middle(values):  # type: ignore[no-untyped-def]
    """Median of a few values, by insertion: numpy's takes seconds to compile."""
    ordered = values.copy()
    for i in range(1, len(ordered)):
        value, j = ordered[i], i
        while j and ordered[j - 1] > value:
            ordered[j] = ordered[j - 1]
            j -= 1
        ordered[j] = value
    return 0.5 * (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2])


@kernel()
def noise_of_median(median, read_variance):  # type: ignore[no-untyped-def]
    """Return the standard deviation of the median of a tile's 2x2 pixels."""
    return MEDIAN_TO_MEAN * np.sqrt(np.maximum(median + 4 * read_variance, 0.0)) / SAMPLES


def levels_around(background: AnyFloat, read_variance: float, seed: int) -> F64:
    """Return what even frames around molecules say of their backgrounds: `level_of` of drawn medians, shape (n, 2).

    Parameters
    ----------
    background : ndarray, shape (n,)
        The truth, photons per pixel.
    read_variance : float
        Of a pixel, effective electrons squared.
    seed : int
    """
    binned = 4 * np.asarray(background, np.float64)
    noise = noise_of_median(binned, read_variance)
    tiles = (2 * REACH_TILES + 1) ** 2
    draws = np.random.default_rng(seed).normal(binned[:, None], noise[:, None], (len(binned), tiles))
    return np.asarray(_levels(np.maximum(draws, 0.0), read_variance))


@kernel()
def _levels(medians, read_variance):  # type: ignore[no-untyped-def]
    found = np.empty((len(medians), 2))
    for i in range(len(medians)):
        found[i] = level_of(medians[i], read_variance, 1.0)
    return found
