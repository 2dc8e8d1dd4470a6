"""Correlation of two halves of a data set in Fourier space, ring by ring or shell by shell.

After [1]_ (threshold 1/7). The curve is known the better, the more independent frequencies a ring holds; the limits of
the resolution follow from that by drawing curves within their errors.

References
----------
.. [1] R. P. J. Nieuwenhuizen et al., "Measuring image resolution in optical nanoscopy", Nature Methods 10 (2013) 557,
   doi:10.1038/nmeth.2448.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from easyzloc_mm.typing import F64, I64, Bool

THRESHOLD = 1 / 7
DRAWS = 300
TAPER = 0.125
"""Part of the edge over which the window falls to 0 on every side."""
SMOOTH_RINGS = 0.03
"""Half width of the moving mean over the curve, as part of its length."""


@dataclass(frozen=True)
class Correlation:
    """Sums over frequencies, of which rings and cones are made.

    Attributes
    ----------
    frequency : ndarray, shape (rings,)
        Middle of each ring, per nm.
    cross, one, two, independent : ndarray, shape (rings,)
        Sums of the cross spectrum and the two power spectra, and the number of independent frequencies.
    block_frames : int
        Frames of a block of the halves.
    """

    frequency: F64
    cross: F64
    one: F64
    two: F64
    independent: F64
    block_frames: int
    spectra: tuple[F64, F64, F64, tuple[F64, ...]] | None = None
    ring: I64 | None = None

    def curve(self) -> F64:
        """Correlation per ring."""
        return self.cross / np.maximum(np.sqrt(self.one * self.two), 1e-30)

    def smooth(self) -> tuple[F64, F64]:
        """Return the moving mean of the curve, weighted by independent frequencies, and its standard error."""
        half = max(1, int(SMOOTH_RINGS * len(self.frequency)))
        kernel = np.ones(2 * half + 1)
        weight = np.convolve(np.pad(self.independent, half, mode="edge"), kernel, "valid")
        value = np.convolve(np.pad(self.curve() * self.independent, half, mode="edge"), kernel, "valid")
        mean = value / np.maximum(weight, 1e-30)
        return mean, (1 - np.clip(mean, -1, 1) ** 2) / np.sqrt(np.maximum(weight, 1.0)) + 1e-12

    def cone(self, axis: int, half_angle_degrees: float) -> Correlation:
        """Return the same from the frequencies near one axis only (0 x, 1 y, 2 z).

        Raises
        ------
        ValueError
            The correlation is of an image, which has no cones.
        """
        if self.spectra is None or self.ring is None:
            raise ValueError("only a correlation in three dimensions has cones")
        cross, one, two, frequencies = self.spectra
        grid = np.meshgrid(*(f**2 for f in frequencies), indexing="ij", sparse=True)
        total = sum(grid)
        inside = (grid[axis] >= np.cos(np.radians(half_angle_degrees)) ** 2 * total).ravel()
        rings = len(self.frequency)
        ring = self.ring[inside]

        def add(values: F64) -> F64:
            return np.asarray(np.bincount(ring, values.ravel()[inside], rings + 1)[:rings], float)

        count = np.bincount(ring, minlength=rings + 1)[:rings]
        share = self.independent / np.maximum(np.bincount(self.ring, minlength=rings + 1)[:rings], 1)
        return Correlation(self.frequency, add(cross), add(one), add(two), count * share, self.block_frames)


def _tapered(size: int) -> F64:
    edge = max(1, int(TAPER * size))
    ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(edge) + 0.5) / edge)
    window = np.ones(size)
    window[:edge], window[-edge:] = ramp, ramp[::-1]
    return window


def fourier_correlation(
    places: list[F64], halves: list[Bool], span: F64, bin_nm: float, block_frames: int
) -> Correlation:
    """Correlate two halves of sets of points; the spectra of all sets are added up.

    Parameters
    ----------
    places : list of ndarray, shape (n, 2 or 3)
        Points in each window, nm from its corner.
    halves : list of ndarray of bool, shape (n,)
        Which of them are in the first half.
    span : ndarray, shape (2 or 3,)
        Edges of a window, nm.
    bin_nm : float
        Of the histogram.
    block_frames : int
        For the record.
    """
    import scipy.fft

    shape = np.maximum(np.ceil(span / bin_nm).astype(int), 8)
    # Smooth edges everywhere but along z, where the sample ends by itself.
    windows = [_tapered(size) if axis < 2 else np.ones(size) for axis, size in enumerate(shape)]
    padded = [scipy.fft.next_fast_len(int(size), real=True) for size in shape]
    cross: Any = 0.0
    one: Any = 0.0
    two: Any = 0.0
    for place, first in zip(places, halves, strict=True):
        index = np.clip((place / bin_nm).astype(np.int64), 0, shape - 1)
        flat = np.ravel_multi_index(tuple(index.T), tuple(shape))
        spectra = []
        for half in (first, ~first):
            image = np.bincount(flat[half], minlength=int(np.prod(shape))).reshape(shape).astype(np.float32)
            for axis, window in enumerate(windows):
                image *= window.astype(np.float32).reshape([-1 if a == axis else 1 for a in range(len(shape))])
            spectra.append(scipy.fft.rfftn(image, s=padded))
        cross = cross + (spectra[0] * spectra[1].conj()).real
        one, two = one + np.abs(spectra[0]) ** 2, two + np.abs(spectra[1]) ** 2
    frequencies = tuple(
        scipy.fft.rfftfreq(size, bin_nm) if axis == len(padded) - 1 else scipy.fft.fftfreq(size, bin_nm)
        for axis, size in enumerate(padded)
    )
    step = 1 / float(np.max(span[:2]))
    squares = np.meshgrid(*(f**2 for f in frequencies), indexing="ij", sparse=True)
    radius = np.sqrt(sum(squares))
    rings = int(0.5 / bin_nm / step)
    ring = np.minimum((radius / step).astype(np.int64).ravel(), rings)

    def add(values: F64) -> F64:
        return np.asarray(np.bincount(ring, values.ravel(), rings + 1)[:rings], float)

    count = np.bincount(ring, minlength=rings + 1)[:rings].astype(float) * len(places)
    # Zeros around the image and soft edges correlate neighbouring frequencies.
    independent = count * float(np.prod([w.mean() for w in windows]) * np.prod(shape / np.array(padded)))
    solid = len(shape) == 3
    return Correlation(
        frequency=np.asarray((np.arange(rings) + 0.5) * step, float),
        cross=add(cross),
        one=add(one),
        two=add(two),
        independent=np.maximum(independent, 1.0),
        block_frames=block_frames,
        spectra=(cross, one, two, frequencies) if solid else None,
        ring=ring if solid else None,
    )


@dataclass(frozen=True)
class Crossing:
    """Resolution by a correlation curve, nm.

    Attributes
    ----------
    nm : float or None
        Where the curve first falls below 1/7; None where it never does.
    ci_nm : list of float or None
        95 % limits; None where too many of the drawn curves never fall below.
    """

    nm: float | None
    ci_nm: list[float] | None


UNKNOWN = Crossing(None, None)


def crossing(correlation: Correlation, *, seed: int = 0) -> Crossing:
    """Return the resolution where the smoothed curve first falls below 1/7, with limits by resampling within errors."""
    mean, sigma = correlation.smooth()
    found = _first_below(mean, correlation.frequency)
    if found is None:
        return UNKNOWN
    rng = np.random.default_rng(seed)
    half = max(1, int(SMOOTH_RINGS * len(mean)))
    drawn = []
    for _ in range(DRAWS):
        # Neighbouring points of a moving mean share their noise.
        noise = np.convolve(rng.normal(size=len(mean) + 2 * half), np.ones(2 * half + 1), "valid")
        value = _first_below(mean + sigma * noise / np.sqrt(2 * half + 1), correlation.frequency)
        if value is not None:
            drawn.append(value)
    limits = [float(v) for v in np.percentile(drawn, [2.5, 97.5])] if len(drawn) > DRAWS / 2 else None
    return Crossing(found, limits)


def _first_below(curve: F64, frequency: F64) -> float | None:
    below = np.flatnonzero(curve < THRESHOLD)
    if not len(below):
        return None
    k = int(below[0])
    if k == 0:
        return None
    share = (curve[k - 1] - THRESHOLD) / max(curve[k - 1] - curve[k], 1e-12)
    return float(1 / (frequency[k - 1] + share * (frequency[k] - frequency[k - 1])))
