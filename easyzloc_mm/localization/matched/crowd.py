"""Emitters whose images overlap: found in what the fits leave, and fitted together.

Find, fit, subtract what is explained, look at the rest again, until nothing above the stated rate of false alarms is
left, as crowded-field photometry does it [1]_.

References
----------
.. [1] Stetson, DAOPHOT: a computer program for crowded-field stellar photometry, Publications of the Astronomical
   Society of the Pacific 99, 191 (1987), https://doi.org/10.1086/131977
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from easyzloc_mm.localization.matched.detector import Detections
from easyzloc_mm.psf.bead_psf import SplinePsf
from easyzloc_mm.psf.kernels.crop_size import sized
from easyzloc_mm.psf.kernels.crowd import DRAWN_FARTHER_PX, add_emitters, neighbours, refit
from easyzloc_mm.psf.mle import SpotPrior, fit_psf, likely_depths
from easyzloc_mm.typing import F32, F64, I64, Bool

NEAR_PX = 12.0
"""Two emitters nearer than this change each other's fit."""
ROUNDS = 4
"""Turns of joint fits after each look."""
LEAST_SIGNIFICANCE = 0.6
"""Of the detection threshold: photons over their uncertainty, below which an emitter is given up again."""
SAME_PX = 1.5
DESCENT = (4.0, 2.5, 1.6, 1.0)
"""Times the threshold: what each look takes of detections in a crowd. What is clearest goes first, since the rest may
be no more than what it leaves."""
STARTS = 2
MOST_NEIGHBOURS = 1.2
"""Mean number, above which the fits of a frame hold each other's faint light already."""


@dataclass(frozen=True)
class Emitters:
    """What explains one frame.

    Attributes
    ----------
    theta : ndarray, shape (n, 5)
        x, y (pixels of the frame), z (knots of the table), photons, background.
    place : ndarray, shape (n,)
        Index of each emitter's PSF in the table.
    snr : ndarray, shape (n,)
    row : ndarray of int, shape (n,)
        Which of the first look's emitters each is; -1 for those that came later.
    crowded : ndarray of bool, shape (n,)
        Which have neighbours that their fit must know.
    """

    theta: F64
    place: I64
    snr: F64
    row: I64
    crowded: Bool = field(default_factory=lambda: np.zeros(0, bool))

    def __len__(self) -> int:
        return len(self.theta)

    def only(self, kept: Bool) -> Emitters:
        """Return some of them."""
        return Emitters(self.theta[kept], self.place[kept], self.snr[kept], self.row[kept])


@dataclass(frozen=True)
class CrowdFit:
    """How the emitters of a frame are found and fitted together.

    Parameters
    ----------
    table : SplinePsf
    place_of : callable
        Index of the PSF at x, y (pixels of the frame).
    prior_of : callable
        Prior of spots at x, y.
    threshold : float
        Ratio of signal to noise.
    passes : int
        Looks at most, the first one included.
    wider : SplinePsf, optional
        The PSF as far as larger crops reach: what is taken for explained when the rest is looked at. Without it, the
        faint light far around a bright emitter is found as emitters of its own.
    """

    table: SplinePsf
    place_of: Callable[[F64, F64], I64]
    prior_of: Callable[[F64, F64], SpotPrior]
    threshold: float
    passes: int
    wider: SplinePsf | None = None

    def explain(
        self,
        photons: F32,
        noise_e: F32,
        found: Emitters,
        look: Callable[[F32], Detections],
        crop: Callable[[F64, F64], tuple[F32, float | F32]],
    ) -> tuple[Emitters, F32]:
        """Return all emitters of a frame, and the light that they explain.

        Parameters
        ----------
        photons : ndarray, shape (Y, X), float32
            The frame.
        noise_e : ndarray, shape (1, 1) or (Y, X), float32
            Read noise.
        found : Emitters
            From the first look, each fitted as if it were alone.
        look : callable
            Detect what exceeds the explained light.
        crop : callable
            Photons and read noise of the crops around x, y.
        """
        model = np.zeros(photons.shape, np.float32)
        add_emitters(self.table.coefficients, found.place, found.theta, self._size, model)
        everything = np.ones(len(found), bool)
        found = self._together(photons, noise_e, model, found, everything & _near(found.theta, found.theta, 1))
        for turn in range(1, self.passes):
            seen = clear_ones(look(self._explained(found, model)), self.threshold, turn)
            new = self._fitted(seen, model, found, crop)
            if not len(new):
                break
            add_emitters(self.table.coefficients, new.place, new.theta, self._size, model)
            fresh = np.arange(len(found) + len(new)) >= len(found)
            joined = Emitters(
                *(
                    np.concatenate([getattr(found, name), getattr(new, name)])
                    for name in ("theta", "place", "snr", "row")
                )
            )
            found = self._together(photons, noise_e, model, joined, fresh | _near(joined.theta, new.theta, 0))
        return replace(found, crowded=_near(found.theta, found.theta, 1)), model

    def _explained(self, found: Emitters, model: F32) -> F32:
        """Return the light of the emitters as far as it is known; `model` is that which fits use."""
        if self.wider is None or not len(found) or _neighbours(found.theta, found.theta).mean() > 1 + MOST_NEIGHBOURS:
            return model
        light = np.zeros_like(model)
        size = sized(self.wider.roi_px - 2 * (DRAWN_FARTHER_PX - 1))
        add_emitters(self.wider.coefficients, found.place, found.theta, size, light)
        return light

    def _fitted(
        self, seen: Detections, model: F32, known: Emitters, crop: Callable[[F64, F64], tuple[F32, float | F32]]
    ) -> Emitters:
        """Return what was seen in the rest of the light, each fitted to it alone."""
        if len(seen) and len(known):
            away = cKDTree(known.theta[:, :2]).query(np.stack([seen.x, seen.y], axis=1))[0] > SAME_PX
        else:
            away = np.ones(len(seen), bool)
        x, y, snr = seen.x[away], seen.y[away], seen.snr[away]
        place, prior = self.place_of(x, y), self.prior_of(x, y)
        if not len(x):
            return Emitters(np.empty((0, 5)), place, snr, place)
        light, noise_e = crop(x, y)
        around = np.empty_like(light)
        neighbours(self.table.coefficients, place, np.zeros((len(x), 5)), x, y, self._size, model, around)
        depths = likely_depths(light, self.table, place, noise_e, prior, STARTS, around)
        fit = fit_psf(light, self.table, place, depths, noise_e, prior, around)
        rows, best = np.arange(len(x)), np.argmin(fit.deviance, axis=1)
        theta = np.stack(
            [
                np.rint(x) + fit.x_px[rows, best],
                np.rint(y) + fit.y_px[rows, best],
                (fit.z_nm[rows, best] - self.table.z_start_nm) / self.table.z_pitch_nm,
                fit.photons[rows, best],
                fit.background[rows, best],
            ],
            axis=1,
        )
        good = fit.photons[rows, best] > self._least * fit.sigma_photons[rows, best]
        good &= np.isfinite(depths).any(axis=1)
        return Emitters(theta[good], place[good], snr[good], np.full(int(good.sum()), -1))

    @property
    def _size(self) -> tuple[bool, ...]:
        return sized(self.table.roi_px)

    @property
    def prior(self) -> SpotPrior:
        """What is known beforehand of every emitter: of its light, and how near it is to where it is expected."""
        return self.prior_of(np.zeros(1), np.zeros(1))

    @property
    def _least(self) -> float:
        return LEAST_SIGNIFICANCE * self.threshold

    def _together(self, photons: F32, noise_e: F32, model: F32, found: Emitters, chosen: Bool) -> Emitters:
        """Fit the chosen ones together; those that come to nothing, or to the place of another, are left out."""
        if not chosen.any():
            return found
        prior = self.prior
        knowledge = np.array([prior.place_sd_px**-2, prior.log_photons, prior.log_photons_sd**-2])
        rows = np.zeros((len(found), 12))
        tables, order = self.table.coefficients, np.flatnonzero(chosen)
        variance = np.square(noise_e)
        refit(
            photons,
            variance,
            model,
            tables,
            self.table.padded,
            found.place,
            found.theta,
            order,
            knowledge,
            ROUNDS,
            self._size,
            rows,
        )
        height, width = photons.shape
        x, y, light = found.theta[:, 0], found.theta[:, 1], found.theta[:, 3]
        gone = chosen & (light < self._least * rows[:, 10])
        gone |= (x < -0.5) | (y < -0.5) | (x > width - 0.5) | (y > height - 0.5)
        for first, second in sorted(cKDTree(found.theta[:, :2]).query_pairs(SAME_PX)):
            if not gone[first] and not gone[second]:
                gone[first if light[first] < light[second] else second] = True
        if not gone.any():
            return found
        dark = found.theta[gone].copy()
        dark[:, 3] *= -1
        add_emitters(tables, found.place[gone], dark, self._size, model)
        kept = found.only(~gone)
        again = _near(kept.theta, dark, 0)
        if again.any():
            order = np.flatnonzero(again)
            rows = np.zeros((len(kept), 12))
            refit(
                photons, variance, model, tables, self.table.padded, kept.place, kept.theta, order, knowledge, 1,
                self._size, rows,
            )  # fmt: skip
        return kept


def clear_ones(seen: Detections, threshold: float, turn: int) -> Detections:
    """Return the detections that stand alone, and those of a crowd that are clear enough for this look.

    Where there are none, those that are clear enough for a later one.
    """
    if not len(seen):
        return seen
    place = np.stack([seen.x, seen.y], axis=1)
    alone = ~_near(place, place, 1)
    for level in DESCENT[min(turn, len(DESCENT) - 1) :]:
        kept = alone | (seen.snr >= level * threshold)
        if kept.any():
            break
    return Detections(seen.x[kept], seen.y[kept], seen.z_nm[kept], seen.snr[kept], seen.background[kept], seen.light)


def _near(theta: F64, others: F64, themselves: int) -> Bool:
    """Return which emitters have more than `themselves` of the others within `NEAR_PX`."""
    if not len(theta) or not len(others):
        return np.zeros(len(theta), bool)
    return _neighbours(theta, others) > themselves


def _neighbours(theta: F64, others: F64) -> I64:
    """Return how many of the others lie within `NEAR_PX` of each emitter."""
    return np.asarray(cKDTree(others[:, :2]).query_ball_point(theta[:, :2], NEAR_PX, return_length=True))


def tree_of_frames(frame: NDArray[np.integer], x: F64, y: F64, reach_px: float) -> cKDTree:
    """Return the places of several frames, in which those of two frames lie farther apart than `reach_px`."""
    return cKDTree(np.stack([x, y, 2 * reach_px * frame], axis=1))
