"""Simulated camera images of single emitters, drawn from measured PSFs: the training images of recipe ``matched``.

The measured PSF, scaled to an emitter's photons and added to its background, is the expectation without noise; shot
noise (Poisson) and read noise (Gaussian) are then drawn. No image is used twice: position in the field, depth between
the planes, brightness, background, sub-pixel position, error of the crop and sometimes a neighbour are drawn anew.
"""

from __future__ import annotations

import logging
import queue
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np

from easyzloc_mm.model.emitter_prior import EmitterPrior
from easyzloc_mm.model.inputs import network_input
from easyzloc_mm.numerics.kernel import kernel
from easyzloc_mm.psf.bead_psf import PITCH_PX, BeadPsfs
from easyzloc_mm.psf.kernels.spline import draw, drawing
from easyzloc_mm.typing import F32, F64, I64, AnyFloat

logger = logging.getLogger(__name__)

TRUTH = np.dtype(
    [
        ("place", np.int64),
        ("spread_x", np.float64),
        ("spread_y", np.float64),
        ("sub_pixel_x", np.float64),
        ("sub_pixel_y", np.float64),
        ("z_nm", np.float64),
        ("photons", np.float64),
        ("background", np.float64),
        ("x_px", np.float64),
        ("y_px", np.float64),
    ]
)
"""What is drawn of an emitter: index of its PSF, position within the PSF's part of the field (-0.5 to 0.5) and within
its pixel as a fit gives it, depth, photons, background photons per pixel, true position from the crop's middle."""


class _Psf(NamedTuple):
    """The fields of `SplinePsf` that the kernel uses."""

    coefficients: F32
    z_start_nm: float
    z_pitch_nm: float
    pitch_px: float
    low_nm: AnyFloat
    high_nm: AnyFloat


class _Ranges(NamedTuple):
    """The fields of `EmitterPrior`, as the kernel draws them."""

    z_low_nm: float
    z_high_nm: float
    log_photons_low: float
    log_photons_high: float
    log_background_low: float
    log_background_high: float
    crop_error_px: float
    bad_crop_error_px: float
    bad_fit_share: float
    neighbour_share: float
    neighbour_near_px: float
    neighbour_far_px: float


@dataclass(frozen=True)
class EmitterImages:
    """Simulated emitters: crops and the truth about them.

    Attributes
    ----------
    crops : ndarray, shape (n, size, size), float32
        Photons.
    z_nm, photons, background, x, y : ndarray, shape (n,)
        Truth; but x, y are the sensor position (pixels) as a fit gives it: the crop's centre is the nearest pixel.
    place : ndarray, shape (n,)
        Index of the PSF in the source's table.
    xy_px : ndarray, shape (n, 2)
        True position from the crop's middle, pixels.
    """

    crops: F32
    z_nm: F32
    photons: F32
    background: F32
    x: F64
    y: F64
    place: I64
    xy_px: F64

    def network_input(self, source: BeadPsfs) -> tuple[F32, F32]:
        """Return image and aux for the ``matched`` network."""
        return network_input(self.crops, self.x, self.y, source.field_size_px, field_known=source.field_known)


def simulate_emitters(source: BeadPsfs, emitters: EmitterPrior, count: int, seed: int) -> EmitterImages:
    """Return `count` simulated emitters; the same seed gives the same ones.

    Parameters
    ----------
    source : BeadPsfs
        Measured PSFs, and the camera's read noise.
    emitters : EmitterPrior
        What brightness, background, depth and crop errors are drawn from.
    count, seed : int
    """
    table = source.table
    crops = np.empty((count, table.roi_px, table.roi_px), np.float32)
    truth = np.empty(count, TRUTH)
    psf = _Psf(table.coefficients, table.z_start_nm, table.z_pitch_nm, PITCH_PX, table.low_nm, table.high_nm)
    _simulate(psf, _ranges(source, emitters), source.read_noise_e, seed, crops, truth)
    place = truth["place"]
    x = np.rint(table.x[place] + source.spread_px[0] * truth["spread_x"]) + truth["sub_pixel_x"]
    y = np.rint(table.y[place] + source.spread_px[1] * truth["spread_y"]) + truth["sub_pixel_y"]
    z_nm, photons, background = (truth[name].astype(np.float32) for name in ("z_nm", "photons", "background"))
    xy_px = np.stack([truth["x_px"], truth["y_px"]], axis=1)
    return EmitterImages(crops, z_nm, photons, background, x, y, place.copy(), xy_px)


def _ranges(source: BeadPsfs, emitters: EmitterPrior) -> _Ranges:
    low, high = source.table.z_range_nm
    photons, background = np.log(np.array(emitters.photons)), np.log(np.array(emitters.background))
    return _Ranges(
        z_low_nm=float(max(low, -emitters.z_limit_nm)),
        z_high_nm=float(min(high, emitters.z_limit_nm)),
        log_photons_low=float(photons[0]),
        log_photons_high=float(photons[1]),
        log_background_low=float(background[0]),
        log_background_high=float(background[1]),
        crop_error_px=emitters.crop_error_px[0],
        bad_crop_error_px=emitters.crop_error_px[1],
        bad_fit_share=emitters.bad_fit_share,
        neighbour_share=emitters.neighbour_share,
        neighbour_near_px=emitters.neighbour_px[0],
        neighbour_far_px=emitters.neighbour_px[1],
    )


@kernel(fastmath=True)
def _simulate(psf, ranges, read_noise_e, seed, crops, truth):  # type: ignore[no-untyped-def]
    np.random.seed(seed)
    size, knots = crops.shape[1], psf.coefficients.shape[2]
    work = drawing(size, knots)
    image = np.empty((size, size), np.float32)
    expected = np.empty((size, size), np.float32)
    for i in range(len(crops)):
        background = np.exp(np.random.uniform(ranges.log_background_low, ranges.log_background_high))
        expected[:] = background
        spots = 2 if np.random.random() < ranges.neighbour_share else 1
        j = np.random.randint(len(psf.coefficients))
        for spot in range(spots):
            z_nm = np.random.uniform(ranges.z_low_nm, ranges.z_high_nm)
            # Few beads miss the ends of the range; try another bead rather than bend the distribution of depths.
            for _ in range(50):
                if psf.low_nm[j] <= z_nm <= psf.high_nm[j]:
                    break
                j = np.random.randint(len(psf.coefficients))
            photons = np.exp(np.random.uniform(ranges.log_photons_low, ranges.log_photons_high))
            if spot == 0:
                fx, fy = np.random.uniform(-0.5, 0.5), np.random.uniform(-0.5, 0.5)
                bad = np.random.random() < ranges.bad_fit_share
                error = ranges.bad_crop_error_px if bad else ranges.crop_error_px
                dx = fx + np.random.normal() * error
                dy = fy + np.random.normal() * error
                drawn = truth[i]
                drawn.place = j
                drawn.spread_x = np.random.uniform(-0.5, 0.5)
                drawn.spread_y = np.random.uniform(-0.5, 0.5)
                drawn.sub_pixel_x = fx
                drawn.sub_pixel_y = fy
                drawn.z_nm = z_nm
                drawn.photons = photons
                drawn.background = background
                drawn.x_px = dx
                drawn.y_px = dy
            else:
                angle = np.random.uniform(0, 2 * np.pi)
                distance = np.random.uniform(ranges.neighbour_near_px, ranges.neighbour_far_px)
                dx = distance * np.cos(angle)
                dy = distance * np.sin(angle)
            draw(psf.coefficients[j], dx, dy, (z_nm - psf.z_start_nm) / psf.z_pitch_nm, psf.pitch_px, work, image)
            for a in range(size):
                for b in range(size):
                    expected[a, b] += photons * image[a, b]
        for a in range(size):
            for b in range(size):
                mean = max(expected[a, b], 1e-3)
                crops[i, a, b] = np.random.poisson(mean) + np.random.normal() * read_noise_e


class EmitterStream:
    """Batches of network input, drawn by a background thread so that training never waits for them.

    Parameters
    ----------
    source : BeadPsfs
    emitters : EmitterPrior
    batch : int
        Emitters per block.
    seed : int
    """

    def __init__(self, source: BeadPsfs, emitters: EmitterPrior, batch: int, seed: int) -> None:
        self._source, self._emitters, self._batch = source, emitters, batch
        self._seeds = np.random.default_rng(seed)
        self._queue: queue.Queue[tuple[F32, F32, F32] | BaseException] = queue.Queue(maxsize=4)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="emitter stream", daemon=True)

    def _run(self) -> None:
        while not self._stop.is_set():
            item: tuple[F32, F32, F32] | BaseException
            try:
                drawn = simulate_emitters(self._source, self._emitters, self._batch, int(self._seeds.integers(2**31)))
                image, aux = drawn.network_input(self._source)
                item = (image, aux, drawn.z_nm)
            except BaseException as error:  # raised again in the thread that takes the batches
                logger.exception("no more training images")
                item = error
            while not self._stop.is_set():
                try:
                    self._queue.put(item, timeout=0.2)
                    break
                except queue.Full:
                    continue
            if isinstance(item, BaseException):
                return

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def next(self) -> tuple[F32, F32, F32]:
        """Return images, aux and z (nm) of the next block."""
        item = self._queue.get()
        if isinstance(item, BaseException):
            raise item
        return item
