"""Baseline, gain and read noise of a camera by photon transfer, for the whole chip and for every pixel.

In the dark a pixel's counts scatter around its baseline by its read noise. In light their variance rises with the mean
by one count per photo-electron: the slope of variance against mean is the gain (Janesick, Photon Transfer, 2007); with
EM gain on, that slope is the gain times the excess noise, which one series cannot tell apart: it has to be given. The
variance is taken from the difference of successive frames, so that a lamp that drifts does not pass for noise; a static
structure, such as beads or dirt, does no harm, since every pixel is compared with itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from easyzloc_mm.camera.blank import blank_images
from easyzloc_mm.camera.response import NO_EXCESS, CameraResponse, PixelResponse
from easyzloc_mm.errors import InputError
from easyzloc_mm.numerics.statistics import robust_sd
from easyzloc_mm.typing import F32, F64, U16

MIN_FRAMES = 10
MIN_SIGNAL_ADU = 20.0
"""Light that raises the mean by less gives no slope."""
LEVELS = 40
ROUNDING = 1 / 12
"""Variance that rounding to whole counts adds."""
PIXEL_GAIN_FRAMES = 200
"""With fewer frames in the light, single pixels' gains are noisier than they differ."""
FULL_SCALES = (255, 1023, 4095, 16383, 65535)


@dataclass(frozen=True)
class CameraMap(PixelResponse):
    """What photon transfer found.

    Attributes
    ----------
    baseline_adu, read_noise_e, electrons_per_adu : ndarray, shape (height, width), float32
        Of every pixel. The gain is the chip's where the light series is too short for single pixels.
    response : CameraResponse
        Of the whole chip: medians of baseline and read noise, gain of the common line.
    dark_frames, flat_frames : int
        Images that were used.
    frames_lost : int
        Images of all series that never came: missing, or one value all over.
    linearity : float
        Largest relative distance of the levels' variance from the common line.
    noisy_pixels : int
        Pixels with more than five times the median read noise.
    """

    response: CameraResponse
    dark_frames: int
    flat_frames: int
    linearity: float
    noisy_pixels: int
    frames_lost: int = 0


class Series:
    """Running mean and variance of frames; the variance from differences of successive frames."""

    def __init__(self) -> None:
        self.frames = 0
        self.lost = 0
        self.brightest = 0
        self._sum: F64 | None = None
        self._squares: F64 | None = None
        self._last: F32 | None = None

    def add(self, frame: U16) -> None:
        """Take one frame in; one that never came is counted, and left out."""
        self.brightest = max(self.brightest, int(frame.max()))
        if blank_images(frame[None])[0]:
            self.lost += 1
            return
        values = frame.astype(np.float32)
        if self._sum is None or self._squares is None or self._last is None:
            self._sum, self._squares = np.zeros(values.shape), np.zeros(values.shape)
        else:
            if values.shape != self._last.shape:
                raise InputError(f"frames of {values.shape} and {self._last.shape} in one series: give one camera ROI")
            self._squares += (values - self._last) ** 2
        self._sum += values
        self._last = values
        self.frames += 1

    @property
    def mean(self) -> F64:
        """Mean of every pixel, ADU."""
        if self._sum is None:
            raise InputError("a series holds no frames: record or give at least two")
        return self._sum / self.frames

    @property
    def variance(self) -> F64:
        """Variance of every pixel, ADU^2."""
        if self._squares is None:
            raise InputError("a series holds no frames: record or give at least two")
        return self._squares / (2 * (self.frames - 1))


def collect(frames: Iterable[U16]) -> Series:
    """Take a whole series in, frame by frame."""
    series = Series()
    for frame in frames:
        series.add(frame)
    return series


def photon_transfer(dark: Series, flats: Sequence[Series], *, excess_noise: float = NO_EXCESS) -> CameraMap:
    """Measure a camera.

    Parameters
    ----------
    dark : Series
        Frames without light.
    flats : sequence of Series
        Frames in steady light, one series per level; one level with a wide range of brightness is enough.
    excess_noise : float
        Of the camera, as it is set: 2 with EM gain, 1 without.

    Raises
    ------
    InputError
        Too few frames, different sizes, no more light than in the dark, or saturation.
    """
    for what, series in (("dark", dark), *((f"flat {number + 1}", flat) for number, flat in enumerate(flats))):
        if series is not dark and series.brightest in FULL_SCALES:
            raise InputError(f"the {what} series reaches the camera's maximum ({series.brightest}): use less light")
        if series.frames < MIN_FRAMES and series.lost:
            raise InputError(
                f"of the {what} series {series.frames} frame(s) are images, {MIN_FRAMES} or more are needed, and "
                f"{series.lost} are missing or one value all over: record it again"
            )
        if series.frames < MIN_FRAMES:
            raise InputError(
                f"the {what} series has {series.frames} frame(s), {MIN_FRAMES} or more are needed: 200 are good"
            )
        if series.mean.shape != dark.mean.shape:
            raise InputError(
                f"the {what} series is {series.mean.shape[1]} x {series.mean.shape[0]} px and the dark one "
                f"{dark.mean.shape[1]} x {dark.mean.shape[0]}: take both with one camera ROI"
            )
    if not flats:
        raise InputError("no flat series: give at least one series of frames in steady light")
    baseline, dark_variance = dark.mean, dark.variance
    signals, variances = [], []
    for number, flat in enumerate(flats):
        signal = flat.mean - baseline
        if float(np.median(signal)) < MIN_SIGNAL_ADU:
            raise InputError(
                f"flat {number + 1} is only {np.median(signal):.1f} counts brighter than the dark series: use more "
                "light, and check that the two were not swapped"
            )
        signals.append(signal.ravel())
        variances.append((flat.variance - dark_variance).ravel())
    slope, linearity = _common_slope(np.concatenate(signals), np.concatenate(variances))
    if slope <= 0:
        raise InputError("the noise does not rise with the light: the camera processes its images; switch that off")
    gain = excess_noise / slope
    pixel_gain = np.full(baseline.shape, gain, np.float32)
    if min(flat.frames for flat in flats) >= PIXEL_GAIN_FRAMES:
        frames = [flat.frames for flat in flats]
        pixel_gain = np.float32(excess_noise) * _pixel_gain(signals, variances, slope, frames).reshape(baseline.shape)
    read = gain * np.sqrt(np.maximum(dark_variance - ROUNDING, 0.0))
    median_read = float(np.median(read))
    return CameraMap(
        response=CameraResponse(
            baseline_adu=float(np.median(baseline)),
            electrons_per_adu=gain,
            read_noise_e=median_read,
            excess_noise=excess_noise,
        ),
        baseline_adu=baseline.astype(np.float32),
        read_noise_e=read.astype(np.float32),
        electrons_per_adu=pixel_gain,
        dark_frames=dark.frames,
        flat_frames=sum(flat.frames for flat in flats),
        linearity=linearity,
        noisy_pixels=int(np.count_nonzero(read > 5 * max(median_read, 1e-6))),
        frames_lost=dark.lost + sum(flat.lost for flat in flats),
    )


def _common_slope(signal: F64, variance: F64) -> tuple[float, float]:
    """Fit variance against signal over levels of equal population; return the slope and the worst relative residual."""
    order = np.argsort(signal)
    levels = [part for part in np.array_split(order, LEVELS) if len(part)]
    x = np.array([_trimmed(signal[part]) for part in levels])
    y = np.array([_trimmed(variance[part]) for part in levels])
    used = x > MIN_SIGNAL_ADU / 2
    x, y = x[used], y[used]
    # The variance of a variance grows with its square: relative residuals count.
    slope = float(np.sum(y / x) / len(x))
    return slope, float(np.max(np.abs(y / (slope * x) - 1))) if slope > 0 else np.inf


def _trimmed(values: F64) -> float:
    """Mean without the 0.5 % at either end: hot and dead pixels."""
    low, high = np.percentile(values, [0.5, 99.5])
    inside = (values >= low) & (values <= high)
    return float(values[inside].mean()) if inside.any() else float(values.mean())


def _pixel_gain(signals: list[F64], variances: list[F64], slope: float, frames: list[int]) -> F32:
    """Gains drawn towards the chip's by as much of their spread as is only the noise of a variance of so few frames."""
    ratio = np.mean(
        [variance / np.maximum(signal, 1.0) for signal, variance in zip(signals, variances, strict=True)], 0
    )
    middle = float(np.median(ratio))
    spread = (robust_sd(ratio, about=middle) / middle) ** 2
    # A variance from successive differences of n values scatters by sqrt(3 / n) of itself (von Neumann 1941).
    sampling = float(np.sum(3 / np.asarray(frames))) / len(frames) ** 2
    ratio = slope + max(1 - sampling / max(spread, 1e-12), 0.0) * (ratio - middle)
    return np.asarray(1 / np.clip(ratio, slope / 3, 3 * slope), np.float32)
