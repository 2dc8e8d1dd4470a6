"""Spots of a block of frames: as they were detected, and with what fits them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from easyzloc_mm.localization.detection.gaussian_fit import MAX_PRECISION_PX
from easyzloc_mm.localization.matched.crowds.explain import SAME_PX
from easyzloc_mm.localization.matched.crowds.members import tree_of_frames
from easyzloc_mm.localization.matched.light.edge_crops import FramesLight
from easyzloc_mm.model.predictor import ZPrediction
from easyzloc_mm.psf.kernels.point_image import MAX_AWAY_PX
from easyzloc_mm.psf.mle import Neighbours, Optimum, with_rows
from easyzloc_mm.typing import F32, F64, I64, Bool

EDGE_PX = 3.0
PREDICTED = ("z_nm", "lpz_nm", "z_flag", "xy_px", "lpxy_px", "widening")
LEAST_SIGNIFICANCE = 2.0
"""Photons over their uncertainty, below which a detection is not explained. Far from focus that is large even for a
clear detection: photons and background are hard to tell apart there."""


@dataclass(frozen=True)
class Spots:
    """Detected spots of a block, and what is known of their neighbours."""

    frame: I64
    x: F64
    y: F64
    snr: F64
    neighbours: Neighbours | None = None
    alone: Bool | None = None
    """Which have no other one whose light a larger crop would see; None where no larger crop is looked at."""
    background: F64 | None = None
    """Photons per pixel around each, and their standard deviation; None where that is not known."""
    unevenness: F64 | None = None
    """Of the light of each one's frame (`unevenness.Light`); None where all are evenly lit."""
    lit: FramesLight | None = None
    """The light of the block's frames; None where none has edges."""

    def __len__(self) -> int:
        return len(self.x)

    def only(self, kept: Bool) -> Spots:
        """Return some of them."""
        known, alone, level, uneven = self.neighbours, self.alone, self.background, self.unevenness
        return Spots(
            self.frame[kept], self.x[kept], self.y[kept], self.snr[kept],
            None if known is None else known[kept], None if alone is None else alone[kept],
            None if level is None else level[kept], None if uneven is None else uneven[kept], self.lit,
        )  # fmt: skip

    @classmethod
    def joined(cls, parts: list[Spots]) -> Spots:
        """Return the spots of several frames, all with neighbours."""
        known = [part.neighbours for part in parts if part.neighbours is not None]
        frame, x, y, snr = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("frame", "x", "y", "snr")
        )
        light, wider = (np.concatenate([getattr(one, name) for one in known]) for name in ("light", "widening"))
        uneven = [part.unevenness for part in parts if part.unevenness is not None]
        return cls(
            frame, x, y, snr, Neighbours(light, wider), unevenness=np.concatenate(uneven) if uneven else None,
            lit=parts[0].lit,
        )  # fmt: skip


@dataclass(frozen=True)
class Fitted:
    """Spots, what fits them, and their z."""

    spots: Spots
    optimum: Optimum
    prediction: ZPrediction
    crops: F32

    def __len__(self) -> int:
        return len(self.spots)

    @property
    def at(self) -> tuple[F64, F64]:
        """x, y of the emitters, pixels of the frame."""
        return np.rint(self.spots.x) + self.optimum.x_px, np.rint(self.spots.y) + self.optimum.y_px

    def only(self, kept: Bool) -> Fitted:
        """Return some of them."""
        best, z = self.optimum, self.prediction
        prediction = replace(z, **{name: getattr(z, name)[kept] for name in PREDICTED})
        return Fitted(self.spots.only(kept), best[kept], prediction, self.crops[kept])

    def with_rows(self, rows: Bool, other: Fitted) -> Fitted:
        """Return them with some rows in the place of others."""
        spots, its, z = self.spots, other.spots, other.prediction
        return Fitted(
            replace(spots, x=with_rows(spots.x, rows, its.x), y=with_rows(spots.y, rows, its.y)),
            self.optimum.with_rows(rows, other.optimum),
            replace(
                self.prediction,
                **{name: with_rows(getattr(self.prediction, name), rows, getattr(z, name)) for name in PREDICTED},
                optimum=None,
            ),
            with_rows(self.crops, rows, other.crops),
        )

    def credible(self, shape_yx: tuple[int, ...]) -> Bool:
        """Which are emitters in the frame, each once."""
        best, (x, y) = self.optimum, self.at
        good = (best.photons >= LEAST_SIGNIFICANCE * best.sigma_photons) & (best.photons > 0)
        good &= (best.sigma_x_px <= MAX_PRECISION_PX) & (best.sigma_y_px <= MAX_PRECISION_PX)
        good &= (np.abs(best.x_px) < MAX_AWAY_PX) & (np.abs(best.y_px) < MAX_AWAY_PX)
        height, width = shape_yx
        good &= (x >= -0.5) & (y >= -0.5) & (x <= width - 0.5) & (y <= height - 0.5)
        # Of emitters beyond the frame a part of the image is seen, which a doubtful one at its edge explains.
        edge = (np.minimum(x, width - 1 - x) < EDGE_PX) | (np.minimum(y, height - 1 - y) < EDGE_PX)
        good &= ~edge | (self.prediction.z_flag == 0)
        if good.any():
            for first, second in sorted(tree_of_frames(self.spots.frame, x, y, SAME_PX).query_pairs(SAME_PX)):
                if good[first] and good[second]:
                    good[first if self.spots.snr[first] < self.spots.snr[second] else second] = False
        return good
