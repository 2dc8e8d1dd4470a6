"""Search for a better explanation of a crowd: emitters at other depths, fewer of them, or two in the place of one.

Fits of all emitters together climb to the nearest optimum, of which a crowd has thousands: from where the emitters
truly are, they end at a deviance a third lower than from where successive looks put them. So between looks each emitter
is tried at other depths, with all others held (iterated conditional modes [1]_), and each has to prove that the others
cannot do without it, by the likelihood ratio, after a fit of its neighbours without it. One whose crop is explained
badly is taken for two, if these prove to be needed.

References
----------
.. [1] Besag, On the statistical analysis of dirty pictures, Journal of the Royal Statistical Society B 48, 259 (1986),
   https://doi.org/10.1111/j.2517-6161.1986.tb01412.x
"""

from __future__ import annotations

import numpy as np

from easyzloc_mm.localization.matched.correlation import TILE_PX, binned, tile_medians
from easyzloc_mm.localization.matched.crowds.members import NEAR_PX, Emitters, near
from easyzloc_mm.localization.matched.light.background import background_around
from easyzloc_mm.psf.bead_psf import SplinePsf
from easyzloc_mm.psf.kernels.crop_size import sized
from easyzloc_mm.psf.kernels.crowd import add_emitters
from easyzloc_mm.psf.kernels.crowd_search import leave_out, look_deeper, settle
from easyzloc_mm.psf.kernels.crowd_split import tell_apart
from easyzloc_mm.psf.mle import SpotPrior
from easyzloc_mm.typing import F32, F64, Bool

ROUNDS = 2
"""Of fits before other depths are tried."""
DISTURBED_PX = 8.0
"""An emitter that moved has those nearer than this fitted again: 6 to 12 give the same Jaccard index."""
NEEDED = 1.2
"""Of the squared detection threshold: what the deviance has to rise by without an emitter. Of 0.3 to 1.4, by the
Jaccard index of three fresh movies each at 0.1, 0.3 and 1.0 per um2; from 1.0 to 1.4 that is the same within 0.005."""
EVEN = 0.1
"""Of a background: what it may be uncertain by to be counted as known. Crowds of up to 1 emitter per um2 on an even
background leave it uncertain by 0.02 to 0.08, backgrounds that rise and fall by 30 % by 0.15."""


def known(background: F64) -> Bool:
    """Return which backgrounds, photons per pixel and standard deviation, are known well enough to be relied upon."""
    return np.asarray(background[:, 1] <= EVEN * background[:, 0])


class CrowdSearch:
    """The emitters of a frame, and the light that they explain, while they are changed.

    Parameters
    ----------
    table : SplinePsf
    prior : SpotPrior
        Of every emitter.
    photons : ndarray, shape (Y, X), float32
        The frame.
    variance : ndarray, shape (1, 1) or (Y, X), float32
        Of the read noise.
    model : ndarray, shape (Y, X), float32
        Light of the emitters; changed with them.
    found : Emitters
    """

    def __init__(
        self, table: SplinePsf, prior: SpotPrior, photons: F32, variance: F32, model: F32, found: Emitters
    ) -> None:
        self._table, self._size, self._model = table, sized(table.roi_px), model
        self._photons, self._variance = photons, variance
        self._knowledge = np.array([prior.place_sd_px**-2, prior.log_photons, prior.log_photons_sd**-2])
        self.found = found
        # Whose fit, and whose depth, their neighbours may have changed.
        self._stale = near(found.theta, found.theta, 1)
        self._wanted = self._stale.copy()

    def improve(self, threshold: float) -> None:
        """Fit what has changed, try other depths, and leave out what is not needed at a detection threshold."""
        level = self._level()
        frame = self._photons, self._variance, self._model, self._table.coefficients, self._table.padded
        who = self.found.place, self.found.theta
        how, rows = (self._knowledge, level, DISTURBED_PX), np.empty((len(level), 12))
        settle(*frame, *who, self._stale, *how, ROUNDS, self._size, rows)
        look_deeper(*frame, self._table.coarse, *who, self._wanted, self._stale, *how, self._size, rows)
        level = level[self._keep_inside()]
        theta = self.found.theta
        crowded = near(theta, theta, 1)
        order = np.argsort(theta[:, 3], kind="stable")
        kept, touched = np.ones(len(theta), bool), np.zeros(len(theta), bool)
        how = self._knowledge, level, NEAR_PX
        order = order[crowded[order]]
        asked = NEEDED * threshold**2
        leave_out(*frame, self.found.place, theta, order, asked, *how, self._size, touched, kept)
        self._stale |= touched
        self._wanted |= touched
        self._only(kept)

    def tell_apart(self, threshold: float) -> None:
        """Put two emitters in the place of one, where that explains what one does not."""
        found, count = self.found, len(self.found)
        place, theta, level = (np.concatenate([part, part]) for part in (found.place, found.theta, self._level()))
        touched = np.zeros(len(place), bool)
        together = tell_apart(
            self._photons, self._variance, self._model, self._table.coefficients, self._table.padded,
            self._table.coarse, place, theta, count, NEEDED * threshold**2, self._knowledge, level, DISTURBED_PX,
            self._size, touched,
        )  # fmt: skip
        more = together - count
        snr = np.append(found.snr, np.zeros(more))
        row = np.append(found.row, np.full(more, -1))
        self.found = Emitters(theta[:together], place[:together], snr, row)
        self._stale, self._wanted = (
            np.append(which, np.zeros(more, bool)) | touched[:together] for which in (self._stale, self._wanted)
        )

    def add(self, new: Emitters) -> None:
        """Add emitters, which nothing was tried for yet."""
        self._draw(new, 1.0)
        self.found = self.found.with_more(new)
        beside = near(self.found.theta, new.theta, 0)
        more = np.ones(len(new), bool)
        self._stale, self._wanted = (np.append(which, more) | beside for which in (self._stale, self._wanted))

    def _level(self) -> F64:
        """Return the background around each emitter beside what is explained, and the inverse of its variance."""
        theta, shape = self.found.theta, (self._photons.shape[0] // 2, self._photons.shape[1] // 2)
        counts, light = np.empty(shape, np.float32), np.empty(shape, np.float32)
        binned(self._photons, counts)
        binned(self._model, light)
        tiles = max(shape[0] // TILE_PX, 1), max(shape[1] // TILE_PX, 1)
        medians, lower = np.empty(tiles, np.float32), np.empty(tiles, np.float32)
        tile_medians(counts, light, medians, lower)
        x, y = (np.ascontiguousarray(theta[:, axis]) for axis in range(2))
        level = background_around(medians, self._variance, self._photons.shape, x, y)
        level[:, 1] = np.where(known(level), level[:, 1], np.inf) ** -2.0
        return np.asarray(level)

    def _keep_inside(self) -> Bool:
        """Leave out what has left the frame, and return who has not."""
        height, width = self._photons.shape
        x, y = self.found.theta[:, 0], self.found.theta[:, 1]
        inside = np.asarray((x >= -0.5) & (y >= -0.5) & (x <= width - 0.5) & (y <= height - 0.5))
        if not inside.all():
            self._draw(self.found.only(~inside), -1.0)
            self._only(inside)
        return inside

    def _draw(self, emitters: Emitters, times: float) -> None:
        theta = emitters.theta * np.array([1.0, 1.0, 1.0, times, 1.0])
        add_emitters(self._table.coefficients, emitters.place, theta, self._size, self._model)

    def _only(self, kept: Bool) -> None:
        self.found = self.found.only(kept)
        self._stale, self._wanted = self._stale[kept], self._wanted[kept]
