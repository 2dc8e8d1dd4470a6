"""Samples of other optics than the beads', judged by the likelihood alone: no movie, no network, minutes for many.

Molecules are cut out where they are, so that nothing but the PSF decides: z and its uncertainty under the beads' PSF,
under the one that `refresh` finds from such molecules, and under the true one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import theilslopes

from easyzloc_mm.benchmarks.second_optics.datasets import MovieConditions, profile_of
from easyzloc_mm.benchmarks.second_optics.exact import exact_psf
from easyzloc_mm.benchmarks.second_optics.microscope import SecondMicroscope
from easyzloc_mm.benchmarks.second_optics.study import make_beads
from easyzloc_mm.benchmarks.spread import spread
from easyzloc_mm.camera.crops import ROI_PX
from easyzloc_mm.io.beads.dataset import read_bead_set
from easyzloc_mm.io.sample_aberrations import Widening
from easyzloc_mm.localization.sample.widening import molecules_like, single, widening
from easyzloc_mm.model.emitter_prior import EmitterPrior
from easyzloc_mm.model.likelihood_refinement import MIN_SIGMA_NM, find_maxima
from easyzloc_mm.model.mixture import OUTLIER_SIGMAS, Mixture
from easyzloc_mm.model.uncertainty import MAX_LPZ_NM
from easyzloc_mm.numerics.statistics import robust_sd
from easyzloc_mm.psf.bead_psf import BeadPsfs
from easyzloc_mm.psf.field_psf import FieldPsf
from easyzloc_mm.psf.mle import likely_depths
from easyzloc_mm.psf.pupil.change import NAMES
from easyzloc_mm.psf.pupil.climb import DepthPrior
from easyzloc_mm.psf.pupil.estimate import ITERATIONS, Estimate, estimate
from easyzloc_mm.psf.pupil.score import Molecules
from easyzloc_mm.psf.pupil.wavefront import Wavefront, retrieve
from easyzloc_mm.typing import F32, F64, Bool, Progress

PSF = "psf.npz"
"""In the folder of a bench: the beads' PSF, and all of it that is needed."""
CONDITIONS = MovieConditions(frames=1, per_um2=0.0, z_limit_nm=800.0)
MOLECULES, FIRST = 20000, 5000
"""Of a run, and those by which it has to be noticed that it differs."""
USED, NOTICED_BY, TESTED = 4000, 1500, 3000
"""The brightest of the run, the brightest of the first, and others that z is judged by."""
PRIOR = EmitterPrior()
DOUBT = 0.02
"""A molecule of which z is wrong with a larger probability is left out, as one with a flag."""
IN_PIXEL = 0.49
WARM = 64


@dataclass(frozen=True)
class Fits:
    """Molecules localised under a PSF.

    Attributes
    ----------
    place : ndarray, shape (n, 3)
        x, y (pixels from the crop's middle) and z (nm).
    sigma : ndarray, shape (n, 3)
    trusted : ndarray of bool, shape (n,)
    """

    place: F64
    sigma: F64
    trusted: Bool


@dataclass(frozen=True)
class Drawn:
    """Molecules of a sample: crops, sensor position (px), depth (nm), and x, y, z as in `Fits`."""

    crops: F32
    x: F64
    y: F64
    place: F64


@dataclass(frozen=True)
class Judge:
    """The beads, and their wavefront.

    Attributes
    ----------
    microscope : SecondMicroscope
        That the beads were photographed with.
    psf : FieldPsf
    wavefront : Wavefront
    """

    microscope: SecondMicroscope
    psf: FieldPsf
    wavefront: Wavefront

    @classmethod
    def of(cls, folder: Path, seed: int, progress: Progress | None) -> Judge:
        """Return the judge whose beads, or whose PSF alone, lie in `folder`; they are made if they do not."""
        microscope = SecondMicroscope()
        if not (folder / PSF).exists():
            beads = read_bead_set(make_beads(folder, seed=seed, progress=progress))
            FieldPsf.measure(BeadPsfs.from_beads(beads, np.flatnonzero(beads.accepted), ROI_PX)).save(folder / PSF)
        psf = FieldPsf.load(folder / PSF)
        return cls(microscope, psf, retrieve(psf, profile_of(microscope).optics))

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height of the camera."""
        return self.microscope.width_px, self.microscope.height_px

    @property
    def read_noise_e(self) -> float:
        """Of the camera."""
        return self.microscope.response.read_noise_e

    def warm_up(self) -> None:
        """Compile everything before several processes would do so at once."""
        seen = self._seen(self.psf)
        drawn = Drawn(seen.crops[:WARM], seen.x[:WARM], seen.y[:WARM], np.zeros((WARM, 3)))
        known = self.fits(drawn, self.psf).place[:, 2]
        self.estimate(drawn, known, iterations=1)

    def judged(self, microscope: SecondMicroscope, seed: int) -> dict[str, Any]:
        """Return what the molecules of a sample say, and z under each PSF."""
        rng = np.random.default_rng(seed)
        light = rng.uniform(*CONDITIONS.photons, MOLECULES)
        by_light = np.argsort(-light, kind="stable")
        noticed = self._found(microscope, light[by_light[by_light < FIRST][:NOTICED_BY]], rng)
        found = self._found(microscope, light[by_light[:USED]], rng, DepthPrior())
        others = draw(microscope, rng.uniform(*CONDITIONS.photons, TESTED), rng)
        psfs = {"before": self.psf, "after": found.psf if found.differs else self.psf}
        psfs["true"] = exact_psf(microscope.lens, self.psf)
        fits = {name: self.fits(others, psf) for name, psf in psfs.items()}
        figures = {name: figures_of(fit, others.place, fit.sigma) for name, fit in fits.items()}
        added = self.widening(found.psf)
        sigma, depth = fits["before"].sigma, fits["before"].place[:, 2]
        sigma = np.column_stack([added.widened_xy(sigma[:, :2], depth), added.widened(sigma[:, 2], depth)])
        return {
            "noticed": noticed.differs,
            "chi2": noticed.chi2,
            "differs": found.differs,
            "aberrations": dict(zip(NAMES, found.theta_rad.tolist(), strict=True)),
            "depth_nm": found.depth_nm,
            **figures,
            "widened": figures_of(fits["before"], others.place, sigma),
        }

    def _found(
        self, microscope: SecondMicroscope, photons: F64, rng: np.random.Generator, depth: DepthPrior | None = None
    ) -> Estimate:
        drawn = draw(microscope, photons, rng)
        fits = self.fits(drawn, self.psf)
        kept = fits.trusted
        chosen = Drawn(drawn.crops[kept], drawn.x[kept], drawn.y[kept], drawn.place[kept])
        return self.estimate(chosen, fits.place[kept, 2], depth=depth)

    def estimate(
        self, drawn: Drawn, known_nm: F64, *, iterations: int = ITERATIONS, depth: DepthPrior | None = None
    ) -> Estimate:
        """Return the aberrations that molecules show, whose depths are known from fits under the beads' PSF."""
        prior = PRIOR.prior(drawn.x, drawn.y)
        molecules = Molecules(drawn.crops, drawn.x, drawn.y, known_nm, prior, self.read_noise_e)
        optics = profile_of(self.microscope).optics
        return estimate(
            molecules, self.psf, optics, self.size_px, wavefront=self.wavefront, depth=depth, iterations=iterations
        )

    def fits(self, drawn: Drawn, psf: FieldPsf) -> Fits:
        """Return the most probable depth of each molecule under a PSF; nothing is known beforehand."""
        table, prior = psf.table(self.size_px), PRIOR.prior(drawn.x, drawn.y)
        place = psf.place(drawn.x, drawn.y, self.size_px)
        start = np.nan_to_num(likely_depths(drawn.crops, table, place, self.read_noise_e, prior, 1)[:, 0])
        found = find_maxima(drawn.crops, table, place, start, prior, self.read_noise_e)
        fit = found.fits
        peaks = Mixture(found.weight, fit.z_nm, np.maximum(fit.sigma_nm, MIN_SIGMA_NM))
        z_nm, lpz_nm = peaks.main_mode()
        rows, near = np.arange(len(z_nm)), peaks.nearest(z_nm)
        known = found.weight.any(axis=1) & (peaks.beyond(z_nm, OUTLIER_SIGMAS * lpz_nm) < DOUBT)
        lateral = np.stack([fit.sigma_x_px[rows, near], fit.sigma_y_px[rows, near]], axis=1)
        return Fits(
            place=np.stack([fit.x_px[rows, near], fit.y_px[rows, near], z_nm], axis=1),
            sigma=np.column_stack([lateral, lpz_nm]),
            trusted=known & (lpz_nm < MAX_LPZ_NM),
        )

    def widening(self, sample: FieldPsf) -> Widening:
        """Return what uncertainties under the beads' PSF lack in a sample with another."""
        seen = self._seen(sample)
        fits = self.fits(seen, self.psf)
        kept = fits.trusted
        return widening((fits.place - seen.place)[kept], fits.sigma[kept], fits.place[kept, 2])

    def _seen(self, sample: FieldPsf) -> Drawn:
        """Molecules simulated with a measured PSF."""
        camera = BeadPsfs(sample.table(self.size_px), self.size_px, True, self.read_noise_e)
        like = single(PRIOR, CONDITIONS.photons, CONDITIONS.background, CONDITIONS.z_limit_nm)
        made = molecules_like(sample, like, camera)
        return Drawn(made.crops, made.x, made.y, np.column_stack([made.xy_px, made.z_nm]))


def draw(microscope: SecondMicroscope, photons: F64, rng: np.random.Generator) -> Drawn:
    """Return molecules of so many photons at random places and depths."""
    size, count = (microscope.width_px, microscope.height_px), len(photons)
    x, y = (rng.uniform(ROI_PX, side - ROI_PX, count) for side in size)
    z_nm = rng.uniform(-CONDITIONS.z_limit_nm, CONDITIONS.z_limit_nm, count)
    background = rng.uniform(*CONDITIONS.background, count)
    expected = photons[:, None, None] * microscope.images(x, y, z_nm, ROI_PX // 2) + background[:, None, None]
    noise = rng.normal(0, microscope.response.read_noise_e, expected.shape)
    crops = (rng.poisson(np.maximum(expected, 0)) + noise).astype(np.float32)
    column, row = np.rint(x), np.rint(y)
    # Where it was seen is known from its detection; its crop is around the pixel that is nearest to that.
    error = PRIOR.crop_error_px[0]
    seen_x = np.clip(x + rng.normal(0, error, count), column - IN_PIXEL, column + IN_PIXEL)
    seen_y = np.clip(y + rng.normal(0, error, count), row - IN_PIXEL, row + IN_PIXEL)
    return Drawn(crops, seen_x, seen_y, np.stack([x - column, y - row, z_nm], axis=1))


def figures_of(fits: Fits, truth: F64, sigma: F64) -> dict[str, float]:
    """Return errors of z, its scale, and shares of x, y, z within one uncertainty; medians are taken off."""
    kept = fits.trusted
    found, true = fits.place[kept], truth[kept]
    error = found - true
    error -= np.median(error, axis=0)
    within = np.mean(np.abs(error) <= sigma[kept], axis=0)
    return {
        "rmse_z_nm": float(np.sqrt(np.mean(error[:, 2] ** 2))),
        "robust_z_nm": robust_sd(error[:, 2]),
        "scale": float(np.polyfit(true[:, 2], found[:, 2], 1)[0]),
        "scale_robust": float(theilslopes(found[:, 2], true[:, 2])[0]),
        **{f"coverage_68_{axis}": float(share) for axis, share in zip("xyz", within, strict=True)},
        "left_out": float(1 - kept.mean()),
    }


def judge_all(
    judge: Judge, samples: Sequence[tuple[SecondMicroscope, int]], workers: int, progress: Progress
) -> list[dict[str, Any]]:
    """Return what is found of samples, each with its seed, in so many processes."""
    if workers > 1:
        judge.warm_up()
    return spread(
        partial(_judged, judge), samples, workers,
        lambda count: progress(f"sample {count} of {len(samples)}", count / len(samples)),
    )  # fmt: skip


def _judged(judge: Judge, sample: tuple[SecondMicroscope, int]) -> dict[str, Any]:
    return judge.judged(*sample)
