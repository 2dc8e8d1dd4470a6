"""Detection by the measured PSF: what is more like its image, at any depth, than noise would be.

A frame becomes its deviation from the background in units of the noise, is correlated with the bank
(`psf.detection_bank`), and what exceeds a threshold is looked at on whole pixels. The threshold is a ratio of signal to
noise; it follows from how many false alarms a frame may have, and means the same for every camera and density.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from easyzloc_mm.camera.response import CameraResponse, PixelResponse
from easyzloc_mm.localization.matched.correlation import (
    MARGIN,
    MODEL_ERROR,
    TILE_PX,
    binned,
    binned_counts,
    correlate,
    deviations,
    independent,
    peaks,
    tile_medians,
)
from easyzloc_mm.localization.matched.light.background import NOTICEABLE, agreed, background_around, bends, finer
from easyzloc_mm.localization.matched.light.edges import Edges, edges_of
from easyzloc_mm.localization.matched.light.unevenness import EVEN, KNOWN, Light, light_of
from easyzloc_mm.localization.matched.whole_pixels import refine
from easyzloc_mm.psf.detection_bank import DetectionBank
from easyzloc_mm.typing import F64, U16

FIRST_LOOK = 0.72
"""Of the threshold, for binned pixels: they show at least this part of what whole ones do."""
TWICE_PX = 1.5
"""Two detections nearer than this are the same emitter."""
NOISE_FRAMES, NOISE_PX, NOISE_PHOTONS = 6, 512, 200.0
"""Frames without emitters, on which the number of false alarms is measured."""
NOISE_THRESHOLD = 3.8
"""Low enough that those frames have hundreds."""
Field = NDArray[np.float32]
NOTHING: Field = np.empty((0, 0), np.float32)


@dataclass(frozen=True)
class Detections:
    """Emitters found in one frame, brightest ratio of signal to noise first.

    Attributes
    ----------
    x, y : ndarray, shape (n,)
        Pixels of the frame.
    z_nm : ndarray, shape (n,)
        Depth of the best template.
    snr : ndarray, shape (n,)
        Correlation with it, in units of the noise, without what other detections add there.
    background : ndarray, shape (n, 2)
        Photons per pixel around each, beside those that are explained, and their standard deviation
        (`background.background_around`).
    light : Light
        How unevenly the frame is lit.
    edges : Edges, optional
        Its light, where that has sharp edges; what is uneven, and the background around, are beside it.
    """

    x: F64
    y: F64
    z_nm: F64
    snr: F64
    background: F64
    light: Light = EVEN
    edges: Edges | None = None

    def __len__(self) -> int:
        return len(self.x)

    def only(self, kept: NDArray[np.bool_]) -> Detections:
        """Return some of them."""
        x, y, z_nm, snr, level = (part[kept] for part in (self.x, self.y, self.z_nm, self.snr, self.background))
        return Detections(x, y, z_nm, snr, level, self.light, self.edges)


class MatchedDetector:
    """Finds emitters in single frames.

    Parameters
    ----------
    bank : DetectionBank
    """

    def __init__(self, bank: DetectionBank) -> None:
        self._bank = bank
        self._false_alarms = _false_alarm_density(self)

    def threshold(self, false_alarms_per_frame: float, shape_yx: tuple[int, int]) -> float:
        """Return the ratio of signal to noise that noise alone exceeds so often in a frame of that shape.

        Maxima of smooth noise over two places and a depth are above t with a density proportional to
        t^2 exp(-t^2 / 2) [1]_; the factor is measured.

        References
        ----------
        .. [1] Adler, The Geometry of Random Fields, Wiley, Chichester (1981), chapter 6.
        """
        density = false_alarms_per_frame / (shape_yx[0] * shape_yx[1])
        wanted = np.log(density / self._false_alarms)
        return float(brentq(lambda t: 2 * np.log(t) - t**2 / 2 - wanted, 2.0, 40.0))

    def detect(
        self,
        frame: U16,
        response: CameraResponse | PixelResponse,
        threshold: float,
        *,
        origin_px: tuple[int, int] = (0, 0),
        known: Field = NOTHING,
        error: Field = NOTHING,
        light: Light | None = None,
    ) -> Detections:
        """Return the emitters of a frame.

        Parameters
        ----------
        frame : ndarray, shape (Y, X), uint16
            ADU.
        response : CameraResponse or PixelResponse
        threshold : float
            Ratio of signal to noise.
        origin_px : tuple of int
            Sensor column and row of the first pixel.
        known : ndarray, shape (Y, X), float32, optional
            Photons that are explained already: only what exceeds them is found.
        error : ndarray, shape (Y, X), float32, optional
            The part of them that comes from emitters, whose images are not known exactly.
        light : Light, optional
            How unevenly the frame is lit; without it that is measured, and edges are looked for.
        """
        baseline, gain = (
            np.atleast_2d(np.asarray(value, np.float32))
            for value in (response.baseline_adu, response.electrons_per_adu)
        )
        # Rounding to whole counts is noise, too.
        variance = (np.atleast_2d(np.asarray(response.read_noise_e)) ** 2 + gain**2 / 12).astype(np.float32)
        shape = frame.shape[0] // 2, frame.shape[1] // 2
        counts = np.empty(shape, np.float32)
        frame = np.ascontiguousarray(frame)
        binned_counts(frame, baseline, gain, counts)
        known_2, error_2 = _binned(known, shape), _binned(error, shape)
        variance_2 = np.float32(4) * variance if variance.size == 1 else _binned(variance, shape)
        tiles = max(shape[0] // TILE_PX, 1), max(shape[1] // TILE_PX, 1)
        medians, lower = (np.empty(tiles, np.float32) for _ in range(2))
        tile_medians(counts, known_2, medians, lower)
        edges = None
        if light is None and not known.size:
            edges = edges_of(counts, (medians, lower), 4 * float(variance.mean()))
        if edges is not None:
            known_2, error_2 = edges.light, edges.doubt / MODEL_ERROR
            whole = edges.whole(frame.shape)
            known, error = whole.light, whole.doubt / MODEL_ERROR
            tile_medians(counts, known_2, medians, lower)
        pixels = counts, variance_2, known_2, error_2
        noise = float(variance.mean()), float(gain.mean())
        image, light, background = self._in_noise(pixels, medians, *noise, light, edges is None)
        bank = self._bank
        best, depth, around = (np.empty(shape, kind) for kind in (np.float32, np.int32, np.float32))
        row_tile, column_tile = self._tiles(shape, origin_px)
        ends = np.searchsorted(column_tile, np.arange(self._bank.tiles + 1))
        correlate(image, bank.filters_x, bank.filters_y, bank.weights[light.level], row_tile, ends, best, depth, around)
        ys, xs, values = peaks(best, FIRST_LOOK * threshold)
        found = np.empty((len(ys), 4))
        tile = row_tile[ys] * bank.tiles + column_tile[xs]
        refine(
            frame, baseline, gain, variance, background, known, error, around,
            ys, xs, depth[ys, xs].astype(np.int64), tile, bank.whole[light.level], bank.whole_sum[light.level], found,
        )  # fmt: skip
        # Which of two peaks is the emitter, and which its ring, is seen best on whole pixels.
        snr = np.maximum(values, found[:, 3])
        order = np.argsort(-snr, kind="stable")
        found, snr = found[order], snr[order]
        # C order whatever their number: of one candidate both orders are the same, and a kernel would be compiled anew.
        x, y = np.floor(found[:, :2].T / 2).astype(np.int64, order="C")
        kept, own = independent(y, x, snr, found[:, 2].astype(np.int64), bank.overlap[light.level], threshold)
        found, snr = _distinct(found[kept], own[kept].astype(float))
        x, y, depths = found[:, 0].copy(), found[:, 1].copy(), found[:, 2].astype(int)
        around_them = background_around(medians, variance, frame.shape, x, y)
        return Detections(x, y, bank.z_nm[depths], snr, around_them, light, edges)

    def _in_noise(
        self,
        pixels: tuple[Field, Field, Field, Field],
        medians: Field,
        read_variance: float,
        gain: float,
        light: Light | None,
        smooth: bool,
    ) -> tuple[Field, Light, Field]:
        """Return a frame in units of its noise, how it is lit, and its background, in tiles or finer.

        Where tiles agree their background is the mean of those around, and known; elsewhere it is their own median.
        What bends between their middles is followed where nothing of the light is left then. Light that is more uneven
        than that is left to the filters, which are the blinder to it the more of it they see.

        Parameters
        ----------
        pixels : tuple of ndarray
            Counts, variance, known and error of binned pixels.
        medians : ndarray
        read_variance, gain : float
        light : Light, optional
            Where it is known already.
        smooth : bool
            Whether the frame has no edges, beside which a background is not known so well.
        """
        counts, variance, known, error = pixels
        levels, alike = agreed(medians, read_variance, max(gain, 1.0))
        image = np.zeros((counts.shape[0] + 2 * MARGIN, counts.shape[1] + 2 * MARGIN), np.float32)
        bent = bends(medians, read_variance) > NOTICEABLE
        for tiles, even, asked in ((levels, KNOWN, alike and smooth), (medians, EVEN, bent)):
            if not (asked if light is None else light == even):
                continue
            background = finer(tiles)
            deviations(counts, background, variance, known, error, image)
            if light is not None or light_of(image, self._bank) == EVEN:
                return image, even, background
        deviations(counts, medians, variance, known, error, image)
        return image, light_of(image, self._bank) if light is None else light, medians

    def _tiles(self, shape: tuple[int, int], origin_px: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the row of tiles of each binned row, and the column of tiles of each binned column."""
        tiles, (width, height) = self._bank.tiles, self._bank.field_size_px
        row, column = (
            np.clip((first + 2 * np.arange(count)) * tiles // max(size, 1), 0, tiles - 1)
            for first, count, size in ((origin_px[1], shape[0], height), (origin_px[0], shape[1], width))
        )
        return row, column


def _binned(image: Field, shape: tuple[int, int]) -> Field:
    if not image.size:
        return NOTHING
    out = np.empty(shape, np.float32)
    binned(image, out)
    return out


def _distinct(found: F64, snr: F64) -> tuple[F64, F64]:
    """Return what was found, and its ratio of signal to noise, of what turned out to be at one place the clearest."""
    order = np.argsort(-snr, kind="stable")
    found, snr = found[order], snr[order]
    kept = np.ones(len(found), bool)
    if len(found) > 1:
        from scipy.spatial import cKDTree

        for first, second in sorted(cKDTree(found[:, :2]).query_pairs(TWICE_PX)):
            if kept[first]:
                kept[second] = False
    return found[kept], snr[kept]


def _tail(threshold: float) -> float:
    return threshold**2 * float(np.exp(-0.5 * threshold**2))


def _false_alarm_density(detector: MatchedDetector) -> float:
    """Return the factor of `_tail` that gives the false alarms per pixel, measured on frames of noise.

    With the filters that show most of them, those for a background of any level: 1.5 times as many as with those for a
    background that is known, with which a frame has fewer than it may.
    """
    rng = np.random.default_rng(0)
    response = CameraResponse(baseline_adu=0.0, electrons_per_adu=1.0, read_noise_e=0.0)
    frames = rng.poisson(NOISE_PHOTONS, (NOISE_FRAMES, NOISE_PX, NOISE_PX)).astype(np.uint16)
    found = sum(len(detector.detect(frame, response, NOISE_THRESHOLD, light=EVEN)) for frame in frames)
    return found / frames.size / _tail(NOISE_THRESHOLD)
