"""Localisations by the measured PSF: detected by it, and x, y, z, photons and background from one fit of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from easyzloc_mm.camera.crops import crop_noise, crops_and_noise
from easyzloc_mm.camera.response import CameraResponse, PixelResponse
from easyzloc_mm.io.runs.localizations import COLUMNS_2D, COLUMNS_Z, column_dtype
from easyzloc_mm.localization.matched.correlation import MODEL_ERROR
from easyzloc_mm.localization.matched.crowds.explain import CrowdFit, clear_ones
from easyzloc_mm.localization.matched.crowds.members import NEAR_PX, Emitters
from easyzloc_mm.localization.matched.crowds.uncertainty import widening
from easyzloc_mm.localization.matched.detector import NOTHING, Detections, MatchedDetector
from easyzloc_mm.localization.matched.light.edge_crops import FramesLight
from easyzloc_mm.localization.matched.light.edges import Edges, light_taken_off
from easyzloc_mm.localization.matched.light.uneven_fit import light_around
from easyzloc_mm.localization.matched.light.unevenness import KNOWN, Light, light_sd
from easyzloc_mm.localization.matched.noise import noise_of_some
from easyzloc_mm.localization.matched.placing import lonely, placed
from easyzloc_mm.localization.matched.shapes import net_gradients, spot_widths
from easyzloc_mm.localization.matched.spots import Fitted, Spots
from easyzloc_mm.model.predictor import Predictor
from easyzloc_mm.model.uncertainty import MixtureCalibration
from easyzloc_mm.model.wider_look import WiderCrops
from easyzloc_mm.profile.detection import LocalizeSettings
from easyzloc_mm.psf.detection_bank import DetectionBank
from easyzloc_mm.psf.kernels.crop_size import sized
from easyzloc_mm.psf.kernels.crowd import neighbours
from easyzloc_mm.psf.mle import Neighbours, Optimum, fit_psf, with_rows
from easyzloc_mm.typing import F32, F64, I64, U16, Bool

OFF_PX = 0.6
"""A fit that ends farther from where it began has seen a crop beside its emitter."""

NOTICEABLE = 0.2
"""Unevenness of light below which it widens no uncertainty by more than 3 %: not worth a second fit."""


Fit = Callable[[U16, Spots, CameraResponse | PixelResponse], Fitted]
"""Of spots in frames."""


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

    def _noise(self, frames: U16, found: Fitted, response: CameraResponse | PixelResponse) -> tuple[float, ...]:
        """Noise around some of the first look's emitters, over what `response` says."""
        left, top = self._origin
        spots = found.spots
        if (beside := self._at_edges(spots)).any():
            found, spots = found.only(~beside), spots.only(~beside)
        x, y = found.at
        place = self._predictor.place(x + left, y + top)
        noise_e = crop_noise(frames.shape[1:], spots.x, spots.y, response, self._table.roi_px)
        return noise_of_some((spots.frame, x, y), found.crops, noise_e, self._table, place, found.optimum, response)

    def _detected(
        self, frames: U16, threshold: float, response: CameraResponse | PixelResponse, static: F32 | None, passes: int
    ) -> tuple[Spots, list[Light]]:
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
        wider, light = self._predictor.wider_psf, [one.light for one in found]
        alone = None if wider is None or passes == 1 else lonely(frame, x, y, wider.roi_px)
        lit = FramesLight.of((one.edges for one in found), frames.shape[1:])
        if lit is not None and level is not None:
            level = lit.levels(level, frame, x, y)
        if lit is not None and alone is not None and wider is not None:
            alone &= ~lit.differs(frame, x, y, wider.roi_px)
        spots = Spots(frame, x, y, snr, None, alone, level, _unevenness(light, frame), lit)
        known = np.array([one == KNOWN for one in light], bool)[frame]
        return self._placed(frames, spots, known, response), light

    def _placed(self, frames: U16, spots: Spots, known: Bool, response: CameraResponse | PixelResponse) -> Spots:
        """Return spots, those that stand alone on a known background at the place that a larger crop tells."""
        wider, psf = self._wider(frames, spots, response), self._predictor.wider_psf
        if wider is None or psf is None or not (chosen := wider.alone & known).any():
            return spots
        some, (left, top) = spots.only(chosen), self._origin
        photons, noise_e = wider.cut(chosen)
        place = self._predictor.place(some.x + left, some.y + top)
        prior = self._emitters.prior(some.x, some.y, some.background)
        x, y = placed(photons, psf, place, noise_e, prior, self._predictor.card.z_range_nm)
        x, y = np.rint(some.x) + x, np.rint(some.y) + y
        return replace(spots, x=with_rows(spots.x, chosen, x), y=with_rows(spots.y, chosen, y))

    def _look(
        self,
        frame: U16,
        threshold: float,
        response: CameraResponse | PixelResponse,
        static: F32,
        explained: F32 = NOTHING,
        light: Light | None = None,
        edges: Edges | None = None,
    ) -> Detections:
        known = explained + static if explained.size and static.size else static if static.size else explained
        if edges is not None:
            known, explained = known + edges.light, np.hypot(explained, edges.doubt / MODEL_ERROR)
        return self._detector.detect(
            frame, response, threshold, origin_px=self._origin, known=known, error=explained, light=light
        )  # fmt: skip

    def _explained(self, frames: U16, spots: Spots, response: CameraResponse | PixelResponse) -> Fitted:
        """Return the spots that the measured PSF explains, with their z.

        Where the fit leaves the middle of its crop, spots are cut out, and predicted, once more: around where it ends.
        """
        fitted = self._settled(frames, spots, response, self._fitted)
        if (beside := self._at_edges(spots)).any():
            its = self._settled(frames, spots.only(beside), response, self._fitted_at_edges)
            fitted = fitted.with_rows(beside, its)
        if spots.unevenness is not None and (uneven := (spots.unevenness > 0) & ~beside).any():
            fitted = fitted.with_rows(uneven, self._fitted_in_light(frames, fitted.only(uneven), response))
        return fitted.only(fitted.credible(frames.shape[1:]))

    def _settled(self, frames: U16, spots: Spots, response: CameraResponse | PixelResponse, fit: Fit) -> Fitted:
        """Fit spots, and those once more whose fit ends elsewhere."""
        fitted = fit(frames, spots, response)
        if spots.neighbours is None:
            away = np.hypot(*(at - start for at, start in zip(fitted.at, (spots.x, spots.y), strict=True))) > OFF_PX
            if away.any():
                x, y = (at[away] for at in fitted.at)
                again = replace(spots.only(away), x=x, y=y)
                fitted = fitted.with_rows(away, fit(frames, again, response))
        return fitted

    def _at_edges(self, spots: Spots) -> Bool:
        """Return which spots have an edge of the light in their crops."""
        if spots.lit is None:
            return np.zeros(len(spots), bool)
        return spots.lit.differs(spots.frame, spots.x, spots.y, self._table.roi_px)

    def _fitted_at_edges(self, frames: U16, spots: Spots, response: CameraResponse | PixelResponse) -> Fitted:
        """Fit spots in light that is known to step, as far as it is known."""
        assert spots.lit is not None, "told by who asks"
        light = spots.lit.in_crops(spots.frame, spots.x, spots.y, self._table.roi_px)
        known = Neighbours(light.more, np.ones((len(spots), 3)), light.middle).and_of(spots.neighbours)
        level = spots.background
        if level is not None:
            level = np.stack([np.maximum(level[:, 0] - light.middle, 0.0), level[:, 1]], axis=1)
        # A larger crop has more of the edge.
        told = replace(spots, neighbours=known, alone=None, background=level)
        again = self._fitted(frames, told, response, light.doubt)
        best = replace(again.optimum, background=again.optimum.background + light.middle)
        even = light.more - light.middle[:, None, None].astype(np.float32)
        return Fitted(spots, best, again.prediction, again.crops - even)

    def _fitted_in_light(self, frames: U16, even: Fitted, response: CameraResponse | PixelResponse) -> Fitted:
        """Fit spots once more, with the uneven light that is seen under what fits them on an even background."""
        spots, (left, top) = even.spots, self._origin
        assert spots.unevenness is not None, "told by who asks"
        noise_e = crop_noise(frames.shape[1:], spots.x, spots.y, response, self._table.roi_px)
        sd = light_sd(spots.unevenness, even.optimum.background, float(np.mean(np.square(response.read_noise_e))))
        place = self._predictor.place(spots.x + left, spots.y + top)
        prior = self._emitters.prior(spots.x, spots.y, spots.background)
        light = light_around(even.crops, self._table, place, noise_e, even.optimum, prior, sd, spots.neighbours)
        # A larger crop has light of its own, which nobody has looked for.
        again = self._fitted(frames, replace(spots, neighbours=light.and_of(spots.neighbours), alone=None), response)
        return replace(again, spots=spots, crops=again.crops - light.light)

    def _fitted(
        self, frames: U16, spots: Spots, response: CameraResponse | PixelResponse, doubt: F32 | None = None
    ) -> Fitted:
        left, top = self._origin
        crops, noise_e = self._crops(frames, spots, response)
        noise_e = noise_e if doubt is None else np.hypot(np.float32(noise_e), doubt)
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
        return Fitted(spots, optimum, prediction, crops)

    def _crops(self, frames: U16, spots: Spots, response: CameraResponse | PixelResponse) -> tuple[F32, float | F32]:
        """Photons around spots, and their read noise."""
        return crops_and_noise(frames, spots.frame, spots.x, spots.y, response, self._table.roi_px)

    def _wider(self, frames: U16, spots: Spots, response: CameraResponse | PixelResponse) -> WiderCrops | None:
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
        first: Fitted,
        threshold: float,
        response: CameraResponse | PixelResponse,
        static: F32 | None,
        passes: int,
        light: list[Light],
    ) -> tuple[Bool, Spots]:
        """Return which of the first look's emitters stay as they are, and the others with the light around them."""
        left, top = self._origin
        how = CrowdFit(
            self._table, lambda x, y: self._predictor.place(x + left, y + top), self._emitters.prior, threshold,
            passes, self._predictor.wider_psf,
        )  # fmt: skip
        read_noise_e = np.atleast_2d(np.asarray(response.read_noise_e, np.float32))
        kept, crowd, lit = np.zeros(len(first), bool), [], first.spots.lit
        for t, frame in enumerate(frames):
            rows = np.flatnonzero(first.spots.frame == t)
            still = NOTHING if static is None else static[t]
            edges = None if lit is None else lit.whole(t)

            def look(
                explained: F32, least: float, frame: U16 = frame, still: F32 = still, uneven: Light = light[t],
                edges: Edges | None = edges,
            ) -> Detections:  # fmt: skip
                return self._look(frame, least, response, still, explained, uneven, edges)

            def crop(x: F64, y: F64, t: int = t, edges: Edges | None = edges) -> tuple[F32, float | F32]:
                crops, noise_e = self._crops(frames, Spots(np.full(len(x), t), x, y, x), response)
                return (crops, noise_e) if lit is None or edges is None else lit.taken_off(t, x, y, crops, noise_e)

            photons = (frame.astype(np.float32) - np.float32(response.baseline_adu)) * np.float32(
                response.electrons_per_adu
            )
            noise_e = read_noise_e
            if edges is not None:
                photons, noise_e = light_taken_off(edges.light, edges.doubt, photons, noise_e)
            found, model = how.explain(photons, noise_e, self._emitters_of(first, rows), look, crop)
            again = found.crowded | (found.row < 0)
            kept[found.row[~again]] = True
            x, y = found.theta[again, 0], found.theta[again, 1]
            around = np.empty((int(again.sum()), self._table.roi_px, self._table.roi_px), np.float32)
            size = sized(self._table.roi_px)
            neighbours(self._table.coefficients, found.place[again], found.theta[again], x, y, size, model, around)
            wider = widening(self._table, found.place, found.theta, model, np.square(noise_e), how.prior, NEAR_PX)
            number, others = np.full(len(x), t), Neighbours(around, wider[again])
            crowd.append(Spots(number, x, y, found.snr[again], others, unevenness=_unevenness(light, number), lit=lit))
        return kept, Spots.joined(crowd)

    def _emitters_of(self, first: Fitted, rows: I64) -> Emitters:
        left, top = self._origin
        best = first.optimum
        x, y = (values[rows] for values in first.at)
        depth = (best.z_nm[rows] - self._table.z_start_nm) / self._table.z_pitch_nm
        level, spots = best.background[rows], first.spots
        if spots.lit is not None:
            level = np.maximum(level - spots.lit.at(spots.frame[rows], x, y), 0.0)
        theta = np.stack([x, y, depth, best.photons[rows], level], axis=1)
        return Emitters(theta, self._predictor.place(x + left, y + top), first.spots.snr[rows], rows)

    def _rows(self, frames: U16, found: Fitted, response: CameraResponse | PixelResponse) -> pd.DataFrame:
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


def _unevenness(light: list[Light], frame: I64) -> F64 | None:
    """Return how unevenly the frames of spots are lit, 0 where that hardly matters; None where it does nowhere."""
    each = np.array([one.unevenness if one.unevenness > NOTICEABLE else 0.0 for one in light])
    return each[frame] if each.any() else None
