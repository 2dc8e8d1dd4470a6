"""Poisson maximum likelihood of single spots under a `SplinePsf`: x, y, z, photons and background, from given starts.

Levenberg-Marquardt with the Fisher information as curvature [1]_ [2]_; read noise enters as a Poisson offset of the
same variance [3]_. Depth stays inside the table, background above 0.

References
----------
.. [1] Laurence and Chromy, Efficient maximum likelihood estimator fitting of histograms, Nature Methods 7, 338 (2010),
   https://doi.org/10.1038/nmeth0510-338
.. [2] Smith et al., Fast, single-molecule localization that achieves theoretically minimum uncertainty, Nature Methods
   7, 373 (2010), https://doi.org/10.1038/nmeth.1449
.. [3] Huang et al., Video-rate nanoscopy using sCMOS camera-specific single-molecule localization algorithms, Nature
   Methods 10, 653 (2013), https://doi.org/10.1038/nmeth.2488
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.psf.bead_psf import SplinePsf
from easyzloc_mm.psf.kernels.crop_size import sized
from easyzloc_mm.psf.kernels.levenberg_marquardt import FAILED, fit, scan
from easyzloc_mm.typing import F32, F64, I64

SLACK = 20.0
"""Of chi squared: what a minimum may be behind the best before x and y are fitted."""


@dataclass(frozen=True)
class SpotPrior:
    """Prior knowledge of spots.

    Attributes
    ----------
    x_px, y_px : ndarray, shape (n,)
        Expected place from the middle of the crop.
    place_sd_px : float
        Standard deviation of the place. It keeps a fit at its spot, and counts next to nothing in what is found
        (`kernels.levenberg_marquardt.write_row`): it is known from the same pixels.
    log_photons, log_photons_sd : float
        Mean and standard deviation of the photons' logarithm.
    background, background_sd : ndarray, shape (n,), optional
        Expected photons per pixel, and standard deviation; infinity where nothing is known.
    """

    x_px: F64
    y_px: F64
    place_sd_px: float
    log_photons: float
    log_photons_sd: float
    background: F64 | None = None
    background_sd: F64 | None = None

    def __getitem__(self, chosen: NDArray[np.integer] | NDArray[np.bool_]) -> SpotPrior:
        level, sd = (None if one is None else one[chosen] for one in (self.background, self.background_sd))
        return replace(self, x_px=self.x_px[chosen], y_px=self.y_px[chosen], background=level, background_sd=sd)


def with_rows(values: NDArray[Any], rows: NDArray[np.bool_], others: NDArray[Any]) -> NDArray[Any]:
    """Return values with some rows in the place of others."""
    joined = np.array(values)
    joined[rows] = others
    return joined


@dataclass(frozen=True)
class SpotFits:
    """Optima of n spots from s starts.

    Attributes
    ----------
    z_nm, deviance, sigma_nm, volume : ndarray, shape (n, s)
        Depth; twice the negative log likelihood against that of a perfect fit; standard deviation of z from the
        Fisher information; logarithm of the root of the covariance's determinant (how broad the optimum is).
    x_px, y_px, photons, background : ndarray, shape (n, s)
        The other parameters, x and y from the middle of the crop.
    sigma_x_px, sigma_y_px, sigma_photons, sigma_background : ndarray, shape (n, s)
        Their standard deviations from the Fisher information.
    """

    z_nm: F64
    deviance: F64
    sigma_nm: F64
    volume: F64
    x_px: F64
    y_px: F64
    photons: F64
    background: F64
    sigma_x_px: F64
    sigma_y_px: F64
    sigma_photons: F64
    sigma_background: F64

    def __getitem__(self, chosen: NDArray[np.bool_]) -> SpotFits:
        return SpotFits(**{item.name: getattr(self, item.name)[chosen] for item in fields(self)})

    @property
    def started(self) -> NDArray[np.bool_]:
        """Which starts there were, shape (n, s)."""
        return np.asarray(self.deviance < FAILED)

    @property
    def log_evidence(self) -> F64:
        """Logarithm of what the posterior density holds at each optimum, by Laplace's approximation, shape (n, s).

        Up to a constant of each spot.
        """
        return self.volume - 0.5 * self.deviance

    def beside(self, others: SpotFits) -> SpotFits:
        """Return these optima and those of other starts of the same spots."""
        pairs = {item.name: (getattr(self, item.name), getattr(others, item.name)) for item in fields(self)}
        return SpotFits(**{name: np.concatenate(pair, axis=1) for name, pair in pairs.items()})

    def ordered(self, order: I64) -> SpotFits:
        """Return the optima of each spot in an order, shape (n, s)."""
        return SpotFits(**{item.name: np.take_along_axis(getattr(self, item.name), order, 1) for item in fields(self)})


@dataclass(frozen=True)
class Optimum:
    """One optimum of each of n spots, each of shape (n,); as in `SpotFits`, but for the names."""

    x_px: F64
    y_px: F64
    z_nm: F64
    photons: F64
    background: F64
    sigma_x_px: F64
    sigma_y_px: F64
    sigma_photons: F64
    sigma_background: F64

    def __getitem__(self, chosen: NDArray[np.integer] | NDArray[np.bool_]) -> Optimum:
        return Optimum(**{item.name: getattr(self, item.name)[chosen] for item in fields(self)})

    def with_rows(self, rows: NDArray[np.bool_], other: Optimum) -> Optimum:
        """Return them with some rows in the place of others."""
        names = [item.name for item in fields(self)]
        return Optimum(**{name: with_rows(getattr(self, name), rows, getattr(other, name)) for name in names})

    @classmethod
    def of(cls, fits: SpotFits, start: I64) -> Optimum:
        """Return what each spot's fit from its start number `start` found."""
        rows = np.arange(len(start))
        return cls(**{item.name: getattr(fits, item.name)[rows, start] for item in fields(cls)})


@dataclass(frozen=True)
class Neighbours:
    """What other emitters do to n spots.

    Attributes
    ----------
    light : ndarray, shape (n, size, size)
        Photons that they are expected to add to each pixel.
    widening : ndarray, shape (n, 3)
        Factor by which their own uncertainty raises that of x, y and z.
    level : ndarray, shape (n,), optional
        What of the light is background, where it is as bright as at the spot: to the network it is no neighbours'.
    """

    light: F32
    widening: F64
    level: F64 | None = None

    def __getitem__(self, chosen: NDArray[np.bool_]) -> Neighbours:
        return Neighbours(self.light[chosen], self.widening[chosen], None if self.level is None else self.level[chosen])

    def taken_off(self, crops: F32) -> F32:
        """Return crops as they would be without them."""
        level = 0.0 if self.level is None else self.level[:, None, None]
        return np.asarray(crops - self.light + level, np.float32)

    def and_of(self, others: Neighbours | None) -> Neighbours:
        """Return what these and others do together."""
        if others is None:
            return self
        return Neighbours(self.light + others.light, self.widening * others.widening, self.level)


def likely_depths(
    crops: F32,
    table: SplinePsf,
    place: NDArray[np.integer],
    read_noise_e: float | F32,
    prior: SpotPrior | None = None,
    most: int = 4,
    neighbours: F32 | None = None,
) -> F64:
    """Find depths that a fit should start from: the minima of chi squared at the expected place.

    Parameters
    ----------
    crops, table, place, read_noise_e, prior, neighbours
        As for `fit_psf`.
    most : int

    Returns
    -------
    ndarray, shape (n, most)
        nm, the best first; NaN where there are no more.
    """
    out = np.empty((len(crops), most))
    scan(
        *clean_and_rest(crops, read_noise_e, neighbours),
        table.coarse,
        np.ascontiguousarray(place, np.int64),
        _expected(len(crops), prior),
        SLACK,
        sized(table.roi_px),
        out,
    )
    return table.z_start_nm + out * table.z_pitch_nm


def clean_and_rest(crops: F32, read_noise_e: float | F32, neighbours: F32 | None) -> tuple[F32, F32]:
    """Return crops without the light of neighbours, and that light with the variance of the read noise."""
    clean = np.ascontiguousarray(crops, np.float32)
    rest = read_variance(read_noise_e, clean.shape)
    if neighbours is not None:
        clean, rest = clean - neighbours, rest + neighbours
    return clean, np.ascontiguousarray(rest, np.float32)


def read_variance(read_noise_e: float | F32, shape: tuple[int, ...]) -> F32:
    """Return the variance of the read noise of each pixel of crops, effective electrons squared.

    A copy: kernels would be compiled anew for a view that may not be written to.
    """
    return np.array(np.broadcast_to(np.square(np.asarray(read_noise_e, np.float32)), shape))


def _expected(count: int, prior: SpotPrior | None) -> F64:
    """Return what is expected of each spot, as the kernels take it: x, y, background, inverse of its variance."""
    expected = np.zeros((count, 4))
    if prior is not None:
        expected[:, 0], expected[:, 1] = prior.x_px, prior.y_px
        if prior.background is not None and prior.background_sd is not None:
            expected[:, 2], expected[:, 3] = prior.background, prior.background_sd**-2.0
    return expected


def fit_psf(
    crops: F32,
    table: SplinePsf,
    place: NDArray[np.integer],
    starts_nm: F64,
    read_noise_e: float | F32,
    prior: SpotPrior | None = None,
    neighbours: F32 | None = None,
) -> SpotFits:
    """Fit spots from every start.

    Parameters
    ----------
    crops : ndarray, shape (n, size, size), float32
        Photons.
    table : SplinePsf
    place : ndarray, shape (n,)
        Which place of the table each spot lies at.
    starts_nm : ndarray, shape (n, s) or (s,)
        Depths to start from; NaN: none.
    read_noise_e : float or ndarray, shape (n, size, size)
        Of the camera, or of each pixel of the crops.
    prior : SpotPrior, optional
        With it, optima are those of the posterior density, and the deviance counts the distance from the prior.
    neighbours : ndarray, shape (n, size, size), optional
        Photons that other emitters are expected to add to each pixel.
    """
    expected = _expected(len(crops), prior)
    knowledge = np.zeros(3)
    if prior is not None:
        knowledge[:] = prior.place_sd_px**-2, prior.log_photons, prior.log_photons_sd**-2
    starts = np.broadcast_to(np.asarray(starts_nm, float), (len(crops), np.shape(starts_nm)[-1]))
    out = np.empty((len(crops), starts.shape[1], 12))
    knots = (starts - table.z_start_nm) / table.z_pitch_nm
    fit(
        *clean_and_rest(crops, read_noise_e, neighbours),
        table.padded,
        np.ascontiguousarray(place, np.int64),
        np.ascontiguousarray(knots),
        expected,
        knowledge,
        sized(table.roi_px),
        out,
    )
    pitch = table.z_pitch_nm
    return SpotFits(
        z_nm=table.z_start_nm + out[:, :, 2] * pitch,
        deviance=out[:, :, 5],
        sigma_nm=out[:, :, 6] * pitch,
        volume=out[:, :, 7],
        x_px=out[:, :, 0],
        y_px=out[:, :, 1],
        photons=out[:, :, 3],
        background=out[:, :, 4],
        sigma_x_px=out[:, :, 8],
        sigma_y_px=out[:, :, 9],
        sigma_photons=out[:, :, 10],
        sigma_background=out[:, :, 11],
    )
