"""Whether the picture rises in proportion to the light that it was made from, place by place and over the run.

What the camera saw in ten successive parts of the run is held against the light that the rows of the same frames
account for, drawn as the run's own mean spots. Both are blurred by one more spot's width and compared in squares, each
without its best paraboloid and without its mean over the run, so that only light that changes counts: neither the
background nor the camera's baseline, whatever their shape. The `share` of a square is the slope of localised light on
seen light: 1 where all of it is in the picture, 0.5 where half the molecules are missing. After SQUIRREL [1]_, which
compares a picture with a wide-field image; here both come from the same frames, so that neither chance nor bleaching
comes between them.

References
----------
.. [1] S. Culley et al., "Quantitative mapping and minimization of super-resolution optical imaging artifacts", Nature
   Methods 15 (2018) 263, doi:10.1038/nmeth.4605.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, uniform_filter

from easyzloc_mm._models import FrozenModel
from easyzloc_mm.analysis.quality.light import Light
from easyzloc_mm.typing import F32, F64, Bool

SQUARE_PX = 16
"""Edge of a square that is compared: a few spots' widths."""
LESS, MORE = 0.3, 0.7
"""A square is off where its share is so far below the field's, or above, relative to that, ...

More above: spots that are sharper than the mean of their kind stand out by up to a half."""
SIGMAS = 4.0
"""... and so many standard deviations of its own (jackknife over the run's parts)."""
REACHES = (1, 3)
"""A square's own, or that of so many by so many around it: faint ones together are as certain as a bright one."""
SIGNAL_TO_NOISE = 1.0
"""Of what rises and falls in a square, over what photon noise alone makes of it: below, it is not compared."""
FAINT = 0.1
"""Squares that rise and fall by less of what is typical are not compared: steps of the background count there."""
MARGIN_PX = 8
"""At the edges of the image: light of molecules beyond them falls there."""
LISTED = 10


class OffSquare(FrozenModel):
    """A part of the field where the picture holds another share of the light than elsewhere.

    Attributes
    ----------
    x_um, y_um : float
        Its centre, from the first pixel of the sensor.
    share, deviation : float
        Its share over the field's, with the standard deviation of that.
    """

    x_um: float
    y_um: float
    share: float
    deviation: float


class Linearity(FrozenModel):
    """How the localised light follows the light that the camera saw.

    Attributes
    ----------
    frames : int
        Frames that were compared, evenly over the run.
    share, share_flagged_too : float
        Of the light that blinks, what the rows without a flag, and all rows, account for (median square).
    correlation : float
        Pearson's, of what changes in the two images (as SQUIRREL's RSP, in the squares that are compared).
    over_run : tuple of float
        Share in ten successive parts of the run, over that of the run.
    square_um : float
        Edge of the squares that are compared.
    squares, squares_short, squares_over : int
        Squares that hold light enough, and how many of them hold less, or more, of it than the others do.
    off : tuple of OffSquare
        The farthest off of these.
    """

    frames: int
    share: float
    share_flagged_too: float
    correlation: float
    over_run: tuple[float, ...]
    square_um: float
    squares: int
    squares_short: int
    squares_over: int
    off: tuple[OffSquare, ...]

    def in_words(self) -> str:
        """Return, for people, whether the picture rises in proportion to the light."""
        counts = ((self.squares_short, "less"), (self.squares_over, "more"))
        parts = [f"{count} hold {word} of it" for count, word in counts if count]
        if not parts:
            return f"The picture rises in proportion to the light in all {self.squares} squares that could be compared."
        return (
            f"The picture does not rise in proportion to the light everywhere: of {self.squares} squares, "
            f"{' and '.join(parts)} than the rest of the field, beyond chance. "
            "Densities there cannot be compared with those elsewhere."
        )


@dataclass(frozen=True)
class LinearityMap:
    """What is drawn of a comparison.

    Attributes
    ----------
    found : Linearity
    seen, localized : ndarray, shape (height, width)
        Mean of the frames, and what the rows account for; blurred, photons per pixel and frame.
    share : ndarray, shape (rows, columns)
        Of each square over that of the field; NaN where it was not compared.
    off : ndarray of bool, shape (rows, columns)
    """

    found: Linearity
    seen: F64
    localized: F64
    share: F64
    off: Bool


@dataclass(frozen=True)
class _Squares:
    """The squares of an image, from its middle; what does not fill a square at the edges is left out."""

    shape_yx: tuple[int, int]

    def first(self, axis: int) -> int:
        """First row or column that lies in a square."""
        return MARGIN_PX + (self.shape_yx[axis] - 2 * MARGIN_PX) % SQUARE_PX // 2

    def count(self, axis: int) -> int:
        """How many squares lie along it."""
        return max((self.shape_yx[axis] - 2 * MARGIN_PX) // SQUARE_PX, 0)

    def of(self, image: F64) -> F64:
        """Return the pixels of each square, shape (rows, columns, pixels)."""
        (top, down), (left, across) = ((self.first(axis), self.count(axis)) for axis in (0, 1))
        inside = image[top : top + down * SQUARE_PX, left : left + across * SQUARE_PX]
        parts = inside.reshape(down, SQUARE_PX, across, SQUARE_PX).swapaxes(1, 2)
        return parts.reshape(down, across, SQUARE_PX**2)

    def relief(self, image: F64) -> F64:
        """Return what rises above its surroundings: the squares without the best paraboloid of each."""
        pixels = self.of(image)
        return pixels - (pixels @ SURROUNDINGS) @ SURROUNDINGS.T

    def middle_px(self, axis: int, number: int) -> float:
        """Row or column of the middle of a square."""
        return self.first(axis) + (number + 0.5) * SQUARE_PX - 0.5


def _surroundings() -> F64:
    """Orthonormal paraboloids over a square, shape (pixels, 6)."""
    y, x = (axis.ravel() for axis in np.meshgrid(*(np.linspace(-1, 1, SQUARE_PX),) * 2, indexing="ij"))
    terms, _ = np.linalg.qr(np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1))
    return np.asarray(terms)


SURROUNDINGS = _surroundings()


def linearity(light: Light) -> LinearityMap | str:
    """Compare the light that was localised with the light that was seen.

    Parameters
    ----------
    light : Light

    Returns
    -------
    LinearityMap or str
        Or why they cannot be compared.
    """
    squares = _Squares((light.seen.shape[1], light.seen.shape[2]))
    if not squares.count(0) * squares.count(1):
        return f"images of fewer than {SQUARE_PX + 2 * MARGIN_PX} pixels in height or width show too little"
    (seen, seen_mean), (localized, localized_mean) = (
        _reliefs(images, light.width_px, squares) for images in (light.seen, light.localized)
    )
    # Photon noise of neighbouring pixels is averaged by the blur.
    noise = squares.of(np.asarray(light.noise, np.float64)).mean(-1) / (4 * np.pi * light.width_px**2)
    slopes = _Slopes(seen, localized, noise)
    field = _middle(slopes.of()[slopes.enough], slopes.signal[slopes.enough])
    if not field > 0:
        return "nothing in the images blinks where molecules were localised"
    share = slopes.of() / field
    away = np.where(share < 1 - LESS, -1, np.where(share > 1 + MORE, 1, 0))
    limit = np.where(away > 0, MORE, LESS)
    certain = np.zeros(away.shape, bool)
    for reach in REACHES:
        distance = away * (slopes.of(reach) / field - 1)
        certain |= (distance > limit) & (distance > SIGMAS * slopes.deviation(reach) / field)
    away = np.where(certain, away, 0)
    flagged_too, _ = _reliefs(light.localized_flagged_too, light.width_px, squares)
    everything = _Slopes(seen, flagged_too, noise).of()
    found = Linearity(
        frames=light.frames,
        share=field,
        share_flagged_too=_middle(everything[slopes.enough], slopes.signal[slopes.enough]),
        correlation=slopes.correlation,
        over_run=tuple(value / field for value in slopes.of_parts),
        square_um=SQUARE_PX * light.pixel_size_nm / 1000,
        squares=int(slopes.enough.sum()),
        squares_short=int((away < 0).sum()),
        squares_over=int((away > 0).sum()),
        off=_listed(light, squares, share, slopes.deviation() / field, away != 0),
    )
    return LinearityMap(found, seen_mean, localized_mean, share, away != 0)


def _reliefs(images: F32, width_px: float, squares: _Squares) -> tuple[F32, F64]:
    """Return what rises above its surroundings in blurred images, and their mean; one after the other, for memory."""
    reliefs, mean = [], np.zeros(images.shape[1:])
    for image in images:
        blurred = gaussian_filter(image.astype(np.float64), width_px)
        reliefs.append(squares.relief(blurred).astype(np.float32))
        mean += blurred / len(images)
    return np.stack(reliefs), mean


class _Slopes:
    """Localised light on seen light, square by square.

    Parameters
    ----------
    seen, localized : ndarray, shape (parts, rows, columns, pixels)
        What rises above its surroundings in the parts of the run.
    noise : ndarray, shape (rows, columns)
        Variance that photon noise alone gives the mean of `seen`.
    """

    def __init__(self, seen: F32, localized: F32, noise: F64) -> None:
        parts = len(seen)
        # What is there all the time, such as a structured background or a bead, is not what molecules blink.
        self._seen, self._localized = seen - seen.mean(0), localized - localized.mean(0)
        by_chance = noise * (parts - 1)
        self._common = (self._seen * self._localized).mean(-1)
        self._own = (self._seen * self._seen).mean(-1) - by_chance
        self.signal = self._own.mean(0)
        clear = self.signal > SIGNAL_TO_NOISE * by_chance
        typical = np.median(self.signal[clear]) if clear.any() else 0.0
        self.enough = clear & (self.signal > FAINT * typical)

    def of(self, reach: int = 1) -> F64:
        """Return the slope in each square, together with its neighbours within `reach` squares; NaN without light."""
        return self._slope(self._common.sum(0), self._own.sum(0), reach)

    def deviation(self, reach: int = 1) -> F64:
        """Return the standard deviation of `of`, by leaving out one part of the run after the other (jackknife)."""
        common, own = self._common.sum(0), self._own.sum(0)
        rest = [self._slope(common - a, own - b, reach) for a, b in zip(self._common, self._own, strict=True)]
        return np.asarray(np.sqrt((len(rest) - 1) * np.var(rest, axis=0)))

    @property
    def of_parts(self) -> list[float]:
        """Slope of each part of the run, of all squares together."""
        return [
            float(one[self.enough].sum() / other[self.enough].sum())
            for one, other in zip(self._common, self._own, strict=True)
        ]

    @property
    def correlation(self) -> float:
        """Of what changes in the two, over all squares."""
        seen, localized = (changes[:, self.enough].ravel() for changes in (self._seen, self._localized))
        return float(np.corrcoef(seen, localized)[0, 1])

    def _slope(self, common: F64, own: F64, reach: int) -> F64:
        above, below = (
            uniform_filter(np.where(self.enough, values, 0.0), reach, mode="constant") for values in (common, own)
        )
        slope = np.divide(above, below, out=np.full(below.shape, np.nan), where=self.enough)
        return np.asarray(slope, np.float64)


def _middle(values: F64, signal: F64) -> float:
    """Median of the squares, each weighted by how much it rises and falls; 0 without any."""
    if not len(values):
        return 0.0
    order = np.argsort(values)
    weight = np.cumsum(np.sqrt(signal[order]))
    return float(values[order][np.searchsorted(weight, weight[-1] / 2)])


def _listed(light: Light, squares: _Squares, share: F64, deviation: F64, off: Bool) -> tuple[OffSquare, ...]:
    """Return the squares that are farthest off."""
    distance = np.where(off, np.abs(share - 1), 0.0)
    chosen = np.argsort(distance, axis=None)[::-1][: min(LISTED, int(off.sum()))]
    um = light.pixel_size_nm / 1000
    return tuple(
        OffSquare(
            x_um=(squares.middle_px(1, int(column)) + light.origin_px[0]) * um,
            y_um=(squares.middle_px(0, int(row)) + light.origin_px[1]) * um,
            share=float(share[row, column]),
            deviation=float(deviation[row, column]),
        )
        for row, column in zip(*np.unravel_index(chosen, off.shape), strict=True)
    )
