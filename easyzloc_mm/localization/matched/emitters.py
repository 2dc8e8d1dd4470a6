"""Localisations by the measured PSF: detected by it, and x, y, z, photons and background from one fit of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from easyzloc_mm.camera.crops import crop_noise, crops_and_noise
from easyzloc_mm.camera.response import CameraResponse, PixelResponse
from easyzloc_mm.io.runs.localizations import COLUMNS_2D, COLUMNS_Z, column_dtype
from easyzloc_mm.localization.detection.gaussian_fit import MAX_PRECISION_PX
from easyzloc_mm.localization.matched.crowd import NEAR_PX, SAME_PX, CrowdFit, Emitters, clear_ones, tree_of_frames
from easyzloc_mm.localization.matched.crowd_uncertainty import widening
from easyzloc_mm.localization.matched.detector import NOTHING, Detections, MatchedDetector
from easyzloc_mm.localization.matched.noise import noise_of_some
from easyzloc_mm.localization.matched.shapes import net_gradients, spot_widths
from easyzloc_mm.model.predictor import Predictor, ZPrediction
from easyzloc_mm.model.uncertainty import MixtureCalibration
from easyzloc_mm.model.wider_look import WiderCrops
from easyzloc_mm.profile.detection import LocalizeSettings
from easyzloc_mm.psf.detection_bank import REACH_PX, DetectionBank
from easyzloc_mm.psf.kernels.crop_size import sized
from easyzloc_mm.psf.kernels.crowd import neighbours
from easyzloc_mm.psf.kernels.point_image import MAX_AWAY_PX
from easyzloc_mm.psf.mle import Neighbours, Optimum, fit_psf, with_rows
from easyzloc_mm.typing import F32, F64, I64, U16, Bool

EDGE_PX = 3.0
OFF_PX = 0.6
"""A fit that ends farther from where it began has seen a crop beside its emitter."""
PREDICTED = ("z_nm", "lpz_nm", "z_flag", "xy_px", "lpxy_px", "widening")
LEAST_SIGNIFICANCE = 2.0
"""Photons over their uncertainty, below which a detection is not explained. Far from focus that is large even for a
clear detection: photons and background are hard to tell apart there."""


class Found(NamedTuple):
    """What a block of frames holds.

    Attributes
    ----------
    table : DataFrame
        Columns of a localisation table.
    rejected : int
        Detections that no emitter explains, or whose fit failed.
    noise : tuple of float
        Noise around some of the emitters, over what the camera's units say; empty where the PSF was not fitted.
    """

    table: pd.DataFrame
    rejected: int
    noise: tuple[float, ...] = ()


@dataclass(frozen=True)
class _Spots:
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

    def __len__(self) -> int:
        return len(self.x)

    def only(self, kept: Bool) -> _Spots:
        known, alone, level = self.neighbours, self.alone, self.background
        return _Spots(
            self.frame[kept], self.x[kept], self.y[kept], self.snr[kept],
            None if known is None else known[kept], None if alone is None else alone[kept],
            None if level is None else level[kept],
        )  # fmt: skip

    @classmethod
    def joined(cls, parts: list[_Spots]) -> _Spots:
        """Return the spots of several frames, all with neighbours."""
        known = [part.neighbours for part in parts if part.neighbours is not None]
        frame, x, y, snr = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("frame", "x", "y", "snr")
        )
        light, wider = (np.concatenate([getattr(one, name) for one in known]) for name in ("light", "widening"))
        return cls(frame, x, y, snr, Neighbours(light, wider))


@dataclass(frozen=True)
class _Fitted:
    """Spots, what fits them, and their z."""

    spots: _Spots
    optimum: Optimum
    prediction: ZPrediction
    crops: F32

    def __len__(self) -> int:
        return len(self.spots)

    @property
    def at(self) -> tuple[F64, F64]:
        """x, y of the emitters, pixels of the frame."""
        return np.rint(self.spots.x) + self.optimum.x_px, np.rint(self.spots.y) + self.optimum.y_px

    def only(self, kept: Bool) -> _Fitted:
        best, z = self.optimum, self.prediction
        prediction = replace(z, **{name: getattr(z, name)[kept] for name in PREDICTED})
        return _Fitted(self.spots.only(kept), best[kept], prediction, self.crops[kept])

    def with_rows(self, rows: Bool, other: _Fitted) -> _Fitted:
        """Return them with some rows in the place of others."""
        spots, its, z = self.spots, other.spots, other.prediction
        return _Fitted(
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


class EmitterLocalizer:
    """Detect, fit, subtract, predict z: for blocks of frames.

    Parameters
    ----------
    predictor : Predictor
        Of a model with a measured PSF.
    settings : LocalizeSettings
    origin_px : (int, int)
        Sensor column and row of the frames' first pixel.
    """

    def __init__(self, predictor: Predictor, settings: LocalizeSettings, origin_px: tuple[int, int]) -> None:
        calibration = predictor.card.uncertainty
        if not isinstance(calibration, MixtureCalibration):
            raise TypeError("a model without a measured PSF")
        self._predictor, self._settings, self._origin = predictor, settings, origin_px
        self._emitters, self._lateral = calibration.emitters, calibration.lateral_scale
        psf, self._table = predictor.psf
        card = predictor.card
        self._detector = MatchedDetector(DetectionBank.of(psf, self._table, card.field_size_px, card.z_range_nm))

    def threshold(self, shape_yx: tuple[int, int]) -> float:
        """Return the ratio of signal to noise above which spots of such frames are molecules."""
        given = self._settings.min_snr
        return given or self._detector.threshold(self._settings.false_alarms_per_frame, shape_yx)

    def localize(
        self,
        frames: U16,
        threshold: float,
        response: CameraResponse | PixelResponse,
        static: F32 | None,
        passes: int | None = None,
    ) -> Found:
        """Localise a block of frames; each frame's rows depend on that frame alone.

        Parameters
        ----------
        frames : ndarray, shape (T, Y, X), uint16
            ADU.
        threshold : float
            Ratio of signal to noise.
        response : CameraResponse or PixelResponse
            Of the frames' pixels, in effective photons (`CameraResponse.effective`); so is the table.
        static : ndarray, shape (T, Y, X), float32, optional
            Effective photons of the background that does not change, for detection.
        passes : int, optional
            In place of the settings'.

        Returns
        -------
        Found
            `frame` of the table counts within the block, x, y in its pixels.
        """
        # Kernels are compiled anew for arrays that may be written to: without this, in the middle of a live run.
        frames = frames.view()
        frames.flags.writeable = False
        passes = passes or self._settings.passes or 1
        spots, light = self._detected(frames, threshold, response, static, passes)
        first = self._explained(frames, spots, response)
        rejected = len(spots) - len(first)
        if passes == 1:
            return Found(self._rows(frames, first, response), rejected, self._noise(frames, first, response))
        kept, crowd = self._crowds(frames, first, threshold, response, static, passes, light)
        parts = [first.only(kept), self._explained(frames, crowd, response)]
        # What the first look could not explain is still in the rest of the light, and found there again.
        rejected = max(rejected, len(crowd) - len(parts[1]))
        table = pd.concat([self._rows(frames, part, response) for part in parts], ignore_index=True)
        order = np.argsort(table["frame"].to_numpy(), kind="stable")
        return Found(table.iloc[order].reset_index(drop=True), rejected, self._noise(frames, parts[0], response))

    def _noise(self, frames: U16, found: _Fitted, response: CameraResponse | PixelResponse) -> tuple[float, ...]:
        """Noise around some of the first look's emitters, over what `response` says."""
        left, top = self._origin
        x, y = found.at
        place = self._predictor.place(x + left, y + top)
        spots = found.spots
        noise_e = crop_noise(frames.shape[1:], spots.x, spots.y, response, self._table.roi_px)
        return noise_of_some((spots.frame, x, y), found.crops, noise_e, self._table, place, found.optimum, response)

    def _detected(
        self, frames: U16, threshold: float, response: CameraResponse | PixelResponse, static: F32 | None, passes: int
    ) -> tuple[_Spots, list[int]]:
        """Return the spots of a first look, and how unevenly each frame is lit."""
        found = [
            self._look(frame, threshold, response, NOTHING if static is None else static[t])
            for t, frame in enumerate(frames)
        ]
        if passes > 1:
            found = [clear_ones(one, threshold, 0) for one in found]
        x, y, snr = (np.concatenate([getattr(one, name) for one in found]) for name in ("x", "y", "snr"))
        frame = np.repeat(np.arange(len(frames)), [len(one) for one in found])
        level = None if static is not None else np.concatenate([one.background for one in found])
        alone = self._alone(frame, x, y) if passes > 1 else None
        return _Spots(frame, x, y, snr, alone=alone, background=level), [one.light for one in found]

    def _alone(self, frame: I64, x: F64, y: F64) -> Bool | None:
        """Return which spots have no other one whose light a larger crop would see."""
        wider = self._predictor.wider_psf
        if wider is None or not len(x):
            return None
        reach = wider.roi_px / 2 + REACH_PX
        tree = tree_of_frames(frame, x, y, reach)
        return np.asarray(tree.query_ball_point(tree.data, reach, return_length=True) == 1)

    def _look(
        self,
        frame: U16,
        threshold: float,
        response: CameraResponse | PixelResponse,
        static: F32,
        explained: F32 = NOTHING,
        light: int | None = None,
    ) -> Detections:
        known = explained + static if explained.size and static.size else static if static.size else explained
        return self._detector.detect(
            frame, response, threshold, origin_px=self._origin, known=known, error=explained, light=light
        )  # fmt: skip

    def _explained(self, frames: U16, spots: _Spots, response: CameraResponse | PixelResponse) -> _Fitted:
        """Return the spots that the measured PSF explains, with their z.

        Where the fit leaves the middle of its crop, spots are cut out, and predicted, once more: around where it ends.
        """
        fitted = self._fitted(frames, spots, response)
        if spots.neighbours is None:
            away = np.hypot(*(at - start for at, start in zip(fitted.at, (spots.x, spots.y), strict=True))) > OFF_PX
            if away.any():
                x, y = (at[away] for at in fitted.at)
                again = replace(spots.only(away), x=x, y=y)
                fitted = fitted.with_rows(away, self._fitted(frames, again, response))
        return fitted.only(fitted.credible(frames.shape[1:]))

    def _fitted(self, frames: U16, spots: _Spots, response: CameraResponse | PixelResponse) -> _Fitted:
        left, top = self._origin
        crops, noise_e = self._crops(frames, spots, response)
        at = spots.x + left, spots.y + top
        prediction = self._predictor.predict(
            crops, *at, refine=self._settings.refine, read_noise_e=noise_e, neighbours=spots.neighbours,
            wider=self._wider(frames, spots, response), background=spots.background,
        )  # fmt: skip
        optimum = prediction.optimum
        if optimum is None:
            starts, prior = (
                prediction.z_nm[:, None].astype(float),
                self._emitters.prior(spots.x, spots.y, spots.background),
            )
            place = self._predictor.place(*at)
            light = None if spots.neighbours is None else spots.neighbours.light
            fits = fit_psf(crops, self._table, place, starts, noise_e, prior, light)
            optimum = Optimum.of(fits, np.zeros(len(spots), np.int64))
        return _Fitted(spots, optimum, prediction, crops)

    def _crops(self, frames: U16, spots: _Spots, response: CameraResponse | PixelResponse) -> tuple[F32, float | F32]:
        """Photons around spots, and their read noise."""
        return crops_and_noise(frames, spots.frame, spots.x, spots.y, response, self._table.roi_px)

    def _wider(self, frames: U16, spots: _Spots, response: CameraResponse | PixelResponse) -> WiderCrops | None:
        psf, alone = self._predictor.wider_psf, spots.alone
        if psf is None or alone is None:
            return None
        edge = psf.roi_px

        def cut(chosen: Bool) -> tuple[F32, float | F32]:
            return crops_and_noise(frames, spots.frame[chosen], spots.x[chosen], spots.y[chosen], response, edge)

        return WiderCrops(alone, cut)

    def _crowds(
        self,
        frames: U16,
        first: _Fitted,
        threshold: float,
        response: CameraResponse | PixelResponse,
        static: F32 | None,
        passes: int,
        light: list[int],
    ) -> tuple[Bool, _Spots]:
        """Return which of the first look's emitters stay as they are, and the others with the light around them."""
        left, top = self._origin
        how = CrowdFit(
            self._table, lambda x, y: self._predictor.place(x + left, y + top), self._emitters.prior, threshold,
            passes, self._predictor.wider_psf,
        )  # fmt: skip
        noise_e = np.atleast_2d(np.asarray(response.read_noise_e, np.float32))
        kept, crowd = np.zeros(len(first), bool), []
        for t, frame in enumerate(frames):
            rows = np.flatnonzero(first.spots.frame == t)
            still = NOTHING if static is None else static[t]

            def look(explained: F32, frame: U16 = frame, still: F32 = still, uneven: int = light[t]) -> Detections:
                return self._look(frame, threshold, response, still, explained, uneven)

            def crop(x: F64, y: F64, t: int = t) -> tuple[F32, float | F32]:
                return self._crops(frames, _Spots(np.full(len(x), t), x, y, x), response)

            photons = (frame.astype(np.float32) - np.float32(response.baseline_adu)) * np.float32(
                response.electrons_per_adu
            )
            found, model = how.explain(photons, noise_e, self._emitters_of(first, rows), look, crop)
            again = found.crowded | (found.row < 0)
            kept[found.row[~again]] = True
            x, y = found.theta[again, 0], found.theta[again, 1]
            around = np.empty((int(again.sum()), self._table.roi_px, self._table.roi_px), np.float32)
            size = sized(self._table.roi_px)
            neighbours(self._table.coefficients, found.place[again], found.theta[again], x, y, size, model, around)
            wider = widening(self._table, found.place, found.theta, model, np.square(noise_e), how.prior, NEAR_PX)
            crowd.append(_Spots(np.full(len(x), t), x, y, found.snr[again], Neighbours(around, wider[again])))
        return kept, _Spots.joined(crowd)

    def _emitters_of(self, first: _Fitted, rows: I64) -> Emitters:
        left, top = self._origin
        best = first.optimum
        x, y = (values[rows] for values in first.at)
        depth = (best.z_nm[rows] - self._table.z_start_nm) / self._table.z_pitch_nm
        theta = np.stack([x, y, depth, best.photons[rows], best.background[rows]], axis=1)
        return Emitters(theta, self._predictor.place(x + left, y + top), first.spots.snr[rows], rows)

    def _rows(self, frames: U16, found: _Fitted, response: CameraResponse | PixelResponse) -> pd.DataFrame:
        """Return the columns of a localisation table."""
        best, (x, y) = found.optimum, found.at
        around = found.spots.neighbours
        clean = found.crops if around is None else found.crops - around.light
        widths = np.empty((len(found), 2))
        spot_widths(clean, best.background, best.x_px, best.y_px, widths)
        wide, narrow = widths.max(axis=1), widths.min(axis=1)
        wider = found.prediction.widening.T
        lpx, lpy = (
            factor * self._lateral.rescale(sigma, best.z_nm)
            for factor, sigma in zip(wider[:2], (best.sigma_x_px, best.sigma_y_px), strict=True)
        )
        gradient = np.empty(len(found))
        columns = np.rint(found.spots.x).astype(np.int64), np.rint(found.spots.y).astype(np.int64)
        net_gradients(frames, found.spots.frame, *columns, self._settings.box_px, gradient)
        values = {
            "frame": found.spots.frame, "x": x, "y": y, "photons": best.photons, "sx": widths[:, 0],
            "sy": widths[:, 1], "bg": best.background, "lpx": lpx, "lpy": lpy,
            "ellipticity": (wide - narrow) / wide, "net_gradient": gradient, "z": found.prediction.z_nm,
            "lpz": found.prediction.lpz_nm, "z_flag": found.prediction.z_flag,
        }  # fmt: skip
        return pd.DataFrame({name: values[name].astype(column_dtype(name)) for name in (*COLUMNS_2D, *COLUMNS_Z)})
