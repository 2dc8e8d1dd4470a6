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
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import cKDTree

from easyzloc_mm.localization.matched.crowds.members import Emitters, near, neighbours_of
from easyzloc_mm.localization.matched.crowds.search import CrowdSearch, known
from easyzloc_mm.localization.matched.detector import Detections
from easyzloc_mm.psf.bead_psf import SplinePsf
from easyzloc_mm.psf.kernels.crop_size import sized
from easyzloc_mm.psf.kernels.crowd import DRAWN_FARTHER_PX, add_emitters, neighbours, refit
from easyzloc_mm.psf.mle import SpotPrior, fit_psf, likely_depths
from easyzloc_mm.typing import F32, F64, I64, Bool

ROUNDS = 4
"""Turns of joint fits after each look."""
LEAST_SIGNIFICANCE = 0.6
"""Of the detection threshold: photons over their uncertainty, below which an emitter is given up again."""
SAME_PX = 1.5
DESCENT = (4.0, 2.5, 1.6, 1.0)
"""Times the threshold: what each look takes of detections in a crowd. What is clearest goes first, since the rest may
be no more than what it leaves."""
STARTS = 2
FITTED_LOOKS = 3
"""Looks, the first one included, after which fits go on from where emitters are; before the others a better explanation
is searched for, and in the place of the last one emitters are taken apart."""
FAINTER = 0.75
"""Of the detection threshold, in the crowd that is searched: each emitter has to prove there that it is needed. Not
where the background is uneven, which an emitter may make up for. Of 0.65 to 1: at 1.0 per um2 it finds 3 in 100 more
than the threshold itself, and less adds as many false ones."""
NEW_PX = 0.75
"""There, what is seen nearer to an emitter than this is the emitter."""
MOST_NEIGHBOURS = 1.2
"""Mean number, above which the fits of a frame hold each other's faint light already."""
Look = Callable[[F32, float], Detections]
Crop = Callable[[F64, F64], tuple[F32, float | F32]]


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
        look: Look,
        crop: Crop,
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
            Detect what exceeds the explained light by a ratio of signal to noise.
        crop : callable
            Photons and read noise of the crops around x, y.
        """
        model = np.zeros(photons.shape, np.float32)
        add_emitters(self.table.coefficients, found.place, found.theta, self._size, model)
        everything = np.ones(len(found), bool)
        found = self._together(photons, noise_e, model, found, everything & near(found.theta, found.theta, 1))
        for turn in range(1, min(self.passes, FITTED_LOOKS)):
            seen = clear_ones(look(self._explained(found, model), self.threshold), self.threshold, turn)
            new = self._fitted(seen, model, found, crop, SAME_PX)
            if not len(new):
                break
            add_emitters(self.table.coefficients, new.place, new.theta, self._size, model)
            fresh = np.arange(len(found) + len(new)) >= len(found)
            joined = found.with_more(new)
            found = self._together(photons, noise_e, model, joined, fresh | near(joined.theta, new.theta, 0))
        found = self._searched(photons, noise_e, found, model, look, crop)
        return replace(found, crowded=near(found.theta, found.theta, 1)), model

    def _searched(self, photons: F32, noise_e: F32, found: Emitters, model: F32, look: Look, crop: Crop) -> Emitters:
        """Return what explains the frame better than `found`, by the looks that are left; `model` becomes its light."""
        turns = self.passes - FITTED_LOOKS
        if turns <= 0 or not near(found.theta, found.theta, 1).any():
            return found
        search = CrowdSearch(self.table, self.prior, photons, np.square(noise_e), model, found)
        for _ in range(turns - 1):
            search.improve(self.threshold)
            found = search.found
            seen = look(self._explained(found, model), FAINTER * self.threshold)
            place = np.stack([seen.x, seen.y], axis=1)
            seen = seen.only((seen.snr >= self.threshold) | (near(place, found.theta, 0) & known(seen.background)))
            new = self._fitted(seen, model, found, crop, NEW_PX)
            if not len(new):
                break
            search.add(new)
        search.improve(self.threshold)
        search.tell_apart(self.threshold)
        search.improve(self.threshold)
        return search.found

    def _explained(self, found: Emitters, model: F32) -> F32:
        """Return the light of the emitters as far as it is known; `model` is that which fits use."""
        if self.wider is None or not len(found) or neighbours_of(found.theta, found.theta).mean() > 1 + MOST_NEIGHBOURS:
            return model
        light = np.zeros_like(model)
        size = sized(self.wider.roi_px - 2 * (DRAWN_FARTHER_PX - 1))
        add_emitters(self.wider.coefficients, found.place, found.theta, size, light)
        return light

    def _fitted(self, seen: Detections, model: F32, known: Emitters, crop: Crop, same_px: float) -> Emitters:
        """Return what was seen in the rest of the light farther than `same_px` from others, each fitted to it alone."""
        if len(seen) and len(known):
            away = cKDTree(known.theta[:, :2]).query(np.stack([seen.x, seen.y], axis=1))[0] > same_px
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
            np.zeros((len(found), 2)),
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
        again = near(kept.theta, dark, 0)
        if again.any():
            order = np.flatnonzero(again)
            rows = np.zeros((len(kept), 12))
            refit(
                photons, variance, model, tables, self.table.padded, kept.place, kept.theta, order, knowledge,
                np.zeros((len(kept), 2)), 1, self._size, rows,
            )  # fmt: skip
        return kept


def clear_ones(seen: Detections, threshold: float, turn: int) -> Detections:
    """Return the detections that stand alone, and those of a crowd that are clear enough for this look.

    Where there are none, those that are clear enough for a later one.
    """
    if not len(seen):
        return seen
    place = np.stack([seen.x, seen.y], axis=1)
    alone = ~near(place, place, 1)
    for level in DESCENT[min(turn, len(DESCENT) - 1) :]:
        kept = alone | (seen.snr >= level * threshold)
        if kept.any():
            break
    return seen.only(kept)
