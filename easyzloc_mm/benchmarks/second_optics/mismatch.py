"""`bench mismatch`: samples of other optics than the beads', before and after `refresh`, and with the true PSF."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage

from easyzloc_mm.analysis.scoring.compare import Comparison, compare
from easyzloc_mm.analysis.scoring.score import score
from easyzloc_mm.api.imaging import localize
from easyzloc_mm.api.refresh import refresh
from easyzloc_mm.benchmarks.second_optics.datasets import MovieConditions, profile_of, truth_of, write_movie
from easyzloc_mm.benchmarks.second_optics.lens import SAMPLES_PER_PIXEL, Lens
from easyzloc_mm.benchmarks.second_optics.microscope import SecondMicroscope, sharpest_nm
from easyzloc_mm.benchmarks.second_optics.study import make_study
from easyzloc_mm.camera.crops import ROI_PX
from easyzloc_mm.io.runs.localizations import read_localizations
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.model.emitter_prior import EmitterPrior
from easyzloc_mm.model.predictor import Predictor
from easyzloc_mm.model.uncertainty import MixtureCalibration
from easyzloc_mm.numerics.field_polynomial import polynomial
from easyzloc_mm.numerics.spline import cubic_b_spline
from easyzloc_mm.profile.schema import Optics
from easyzloc_mm.psf.bead_psf import PITCH_PX
from easyzloc_mm.psf.field_psf import FieldPsf
from easyzloc_mm.psf.pupil.change import NAMES
from easyzloc_mm.psf.pupil.estimate import estimate
from easyzloc_mm.psf.pupil.score import Molecules
from easyzloc_mm.psf.pupil.wavefront import Wavefront, retrieve
from easyzloc_mm.training.refresh import write_refreshed
from easyzloc_mm.typing import F64, Progress

SPHERICAL_RAD, OTHERS_RAD = 0.35, 0.15
"""Draws are uniform up to so much: of primary spherical aberration, and of each component of astigmatism and coma."""
MOVIE_SEED = 900
JUDGED, KNOWN_TO_NM = 1500, 40.0
"""Molecules by which a sample is judged without a movie, and how well their depths are known beforehand."""
CONDITIONS = MovieConditions(frames=220, per_um2=0.03, z_limit_nm=800.0, apart_px=16.0)


def bench_mismatch(
    folder: Path | None = None,
    *,
    draws: int = 3,
    unchanged: int = 1,
    minutes: float = 0.5,
    judge_only: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Localise drawn samples with the beads' model, with a refreshed one, and with one of the true PSF.

    Parameters
    ----------
    folder : Path, optional
        Keeps beads, model, movies and runs, and those that lie there are used; a temporary one if not given.
    draws, unchanged : int
        Samples with aberrations of their own, and samples with the beads' optics.
    minutes : float
        Of training, from the beads' network.
    judge_only : bool
        Make no movies and no models: which samples are noticed by `JUDGED` molecules, cut out where they are.
    seed : int
    progress : callable, optional

    Returns
    -------
    dict
        ``samples``: of each its ``change_rad`` and what was ``found``; unless they are judged only, for ``before``,
        ``after`` and ``true`` the ``rmse_z_nm``, ``scale``, ``coverage_68``, ``flagged`` and ``recall``. ``noticed``
        and ``false_alarms``: shares of changed and of unchanged samples that are said to differ, None without any.
        ``minutes``.
    """
    show = progress or (lambda message, fraction: None)
    microscope = SecondMicroscope()
    samples = []
    with tempfile.TemporaryDirectory() if folder is None else nullcontext(folder) as place:
        study = make_study(Path(place), seed=seed, movies={}, progress=progress)
        judge = _Judge.of(study.model, microscope) if judge_only else None
        for number, change in enumerate(_changes(draws, unchanged, seed)):
            show(f"sample {number + 1} of {draws + unchanged}", number / (draws + unchanged))
            here = microscope.model_copy(update={"lens": _lens(microscope.lens, change)})
            own_seed = number + MOVIE_SEED + seed
            if judge is not None:
                samples.append({"change_rad": change, "found": judge.found(here, own_seed)})
                continue
            files = study.folder / f"mismatch_{seed}_{number}"
            files.mkdir(exist_ok=True)
            samples.append({"change_rad": change, **_sample(files, study.model, here, own_seed, minutes)})
    differs = np.array([sample["found"]["differs"] for sample in samples], float)
    return {
        "samples": samples,
        "noticed": float(differs[:draws].mean()) if draws else None,
        "false_alarms": float(differs[draws:].mean()) if unchanged else None,
        "minutes": minutes,
    }


def _changes(draws: int, unchanged: int, seed: int) -> Iterator[dict[str, float]]:
    rng = np.random.default_rng(seed)
    names = ("spherical", "astigmatism 0", "astigmatism 45", "coma x", "coma y")
    for _ in range(draws):
        limits = np.array([SPHERICAL_RAD, *[OTHERS_RAD] * 4])
        yield dict(zip(names, map(float, rng.uniform(-limits, limits)), strict=True))
    for _ in range(unchanged):
        yield dict.fromkeys(names, 0.0)


def _lens(lens: Lens, change: dict[str, float]) -> Lens:
    """Return a lens with aberrations added all over the field."""
    return lens.model_copy(
        update={
            "spherical_rad": lens.spherical_rad + change["spherical"],
            "astigmatism_rad": (
                lens.astigmatism_rad[0] + change["astigmatism 0"],
                lens.astigmatism_rad[1] + change["astigmatism 45"],
            ),
            "coma_rad": (lens.coma_rad[0] + change["coma x"], lens.coma_rad[1] + change["coma y"]),
        }
    )


@dataclass(frozen=True)
class _Judge:
    """Judges samples by molecules that are cut out where they are, without frames: seconds for each."""

    psf: FieldPsf
    wavefront: Wavefront
    optics: Optics
    emitters: EmitterPrior

    @classmethod
    def of(cls, model: Path, microscope: SecondMicroscope) -> _Judge:
        card, optics = ModelCard.load(model), profile_of(microscope).optics
        assert isinstance(card.uncertainty, MixtureCalibration), "trained by recipe matched"
        psf = Predictor(card).psf[0]
        return cls(psf, retrieve(psf, optics), optics, card.uncertainty.emitters)

    def found(self, microscope: SecondMicroscope, seed: int) -> dict[str, Any]:
        """Return what the molecules of a sample say; their depths are known as from a network."""
        rng = np.random.default_rng(seed)
        size = (microscope.width_px, microscope.height_px)
        x, y = (rng.uniform(ROI_PX, side - ROI_PX, JUDGED) for side in size)
        z_nm = rng.uniform(-CONDITIONS.z_limit_nm, CONDITIONS.z_limit_nm, JUDGED)
        photons, background = (rng.uniform(*of, JUDGED) for of in (CONDITIONS.photons, CONDITIONS.background))
        expected = photons[:, None, None] * microscope.images(x, y, z_nm, ROI_PX // 2) + background[:, None, None]
        noise_e = microscope.response.read_noise_e
        crops = (rng.poisson(np.maximum(expected, 0)) + rng.normal(0, noise_e, expected.shape)).astype(np.float32)
        known = z_nm + rng.normal(0, KNOWN_TO_NM, JUDGED)
        molecules = Molecules(crops, x, y, known, self.emitters.prior(x, y), noise_e)
        found = estimate(molecules, self.psf, self.optics, size, wavefront=self.wavefront)
        return {
            "differs": found.differs,
            "chi2": found.chi2,
            "aberrations": dict(zip(NAMES, found.theta_rad.tolist(), strict=True)),
        }


def _sample(folder: Path, model: Path, microscope: SecondMicroscope, seed: int, minutes: float) -> dict[str, Any]:
    movie = folder / "sample.tif"
    if not truth_of(movie).exists():
        write_movie(movie, microscope, CONDITIONS, seed)
    truth = pd.read_parquet(truth_of(movie))

    def measured(card: Path, name: str) -> dict[str, Any]:
        run = folder / f"{name}.zarr"
        localize(movie, card, run, if_exists="overwrite", workers=1)
        return _errors(run, truth, microscope)

    before = measured(model, "before")
    refreshed = refresh(
        model, folder / "before.zarr", folder / "refreshed", movie=movie, profile=profile_of(microscope),
        minutes=minutes, if_exists="overwrite",
    )  # fmt: skip
    after = measured(folder / "refreshed", "after") if refreshed.found.differs else before
    card = ModelCard.load(model)
    truly = exact_psf(microscope.lens, Predictor(card).psf[0])
    record = refreshed.found.model_copy(update={"differs": True})
    write_refreshed(card, truly, record, folder / "true", minutes=minutes, if_exists="overwrite")
    return {
        "found": refreshed.as_dict(),
        "before": before,
        "after": after,
        "true": measured(folder / "true", "true"),
    }


def _errors(run: Path, truth: pd.DataFrame, microscope: SecondMicroscope) -> dict[str, Any]:
    comparison = compare(
        read_localizations(run)[0], truth,
        pixel_size_nm=microscope.lens.pixel_size_nm, size_px=(microscope.width_px, microscope.height_px),
    )  # fmt: skip
    result = score(comparison)
    names = {"rmse_z_nm", "robust_z_nm", "limit_z_nm", "coverage_68", "flagged", "recall", "offset_z_nm"}
    return {"scale": _scale(comparison), **result.model_dump(mode="json", include=names)}


def _scale(comparison: Comparison) -> float:
    """Slope of found over true z, of what carries no flag."""
    pairs = comparison.pairs
    trusted = pairs[pairs["z_flag"] == 0]
    return float(np.polyfit(trusted["true_z"], trusted["z"], 1)[0])


def exact_psf(lens: Lens, like: FieldPsf) -> FieldPsf:
    """Return the PSF of a lens in the form of a measured one, each place of the field in focus at 0."""
    ticks = np.linspace(-0.8, 0.8, 3) if like.degree else np.zeros(1)
    u, v = (grid.ravel() for grid in np.meshgrid(ticks, ticks))
    degree = min(like.degree, 2)
    z_nm = like.z_start_nm + like.z_pitch_nm * np.arange(like.coefficients.shape[1], dtype=np.float64)
    places = [
        _coefficients(lens, float(at_u), float(at_v), z_nm, like.coefficients.shape[-1])
        for at_u, at_v in zip(u, v, strict=True)
    ]
    operator = np.linalg.pinv(polynomial(np.stack([u, v], axis=1), degree))
    return replace(
        like, coefficients=np.tensordot(operator, np.stack(places), axes=1).astype(np.float32), degree=degree
    )


def _coefficients(lens: Lens, u: float, v: float, z_nm: F64, knots: int) -> F64:
    """Cubic B-splines with the knots of `SplinePsf`, by least squares through the samples of the lens."""
    half_px = int(knots // 2 * PITCH_PX) + 1
    images = lens.images(u, v, z_nm + sharpest_nm(lens, u, v), half_px)
    samples = np.arange(-half_px * SAMPLES_PER_PIXEL, half_px * SAMPLES_PER_PIXEL + 1) / SAMPLES_PER_PIXEL
    basis = np.linalg.pinv(cubic_b_spline(samples[:, None] / PITCH_PX - (np.arange(knots) - knots // 2)))
    return np.asarray(ndimage.spline_filter1d(basis @ images @ basis.T, 3, axis=0, mode="mirror"))
