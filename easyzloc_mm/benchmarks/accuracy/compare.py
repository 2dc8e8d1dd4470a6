"""`bench accuracy`: every method on the same molecules, beside the information limit, in one run."""

from __future__ import annotations

import itertools
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from easyzloc_mm._progress import silent
from easyzloc_mm.analysis.scoring.figures import Score
from easyzloc_mm.benchmarks.accuracy.rivals import TILES, fit_picasso, picasso_spline, tile_of
from easyzloc_mm.benchmarks.fixtures.embedded import (
    EmbeddedBeads,
    EmbeddedEmitters,
    EmitterMaker,
    embedded_beads,
    true_table,
)
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.localization.offline.in_frames import evaluate_in_frames
from easyzloc_mm.model.accuracy import MISTAKE_LIMITS
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.model.emitter_prior import EmitterPrior
from easyzloc_mm.model.likelihood_refinement import MIN_SIGMA_NM, maxima
from easyzloc_mm.model.mixture import APART_SIGMAS, Mixture
from easyzloc_mm.model.predictor import Predictor
from easyzloc_mm.numerics.statistics import median_and_range, robust_sd
from easyzloc_mm.psf.bead_psf import SplinePsf
from easyzloc_mm.psf.mle import fit_psf
from easyzloc_mm.simulator.optics.objective import embedded_optics
from easyzloc_mm.training.train import train
from easyzloc_mm.typing import F64, Bool, Progress

Z_LIMIT_NM, BIN_NM = 900.0, 100.0
TYPICAL = ((1000.0, 3000.0), (20.0, 100.0))
LEVELS = {"1000": (1000.0, 20.0), "3000": (3000.0, 20.0), "20000": (20000.0, 60.0)}
GROSS_NM = 200.0
FLAG_COST = 0.05
"""Of the good spots: so many may carry a flag."""


@dataclass(frozen=True)
class Answer:
    """Result of one method for n emitters: z, its uncertainty, and whether it is flagged as unreliable."""

    z_nm: F64
    sigma_nm: F64
    flagged: Bool


def bench_accuracy(
    *, beads: int, minutes: float, molecules: int, spline_beads: int, seed: int = 0, progress: Progress | None = None
) -> dict[str, Any]:
    """Train on embedded beads, render molecules by the exact optics, and score every method.

    Errors are counted after one median per method: z = 0 is a convention (the sharpest plane).

    Returns
    -------
    dict
        ``limit_nm``, ``methods`` (by name: ``rmse_nm``, ``robust_nm``, ``gross``, ``coverage_68``, ``coverage_95``; of
        what carries no flag ``unflagged_rmse_nm``, ``unflagged_limit_nm``; ``flagged``, ``mistakes_flagged``,
        ``good_flagged``), ``levels`` (the same by photons), ``bins`` (by z), ``in_frames`` (what the whole pipeline
        finds of held-out beads in frames, and how well: `Score`), ``label_sd_nm``.
    """
    report = progress or silent
    profile = load_profile("demo")
    data = embedded_beads(profile, beads, seed, progress)
    maker = EmitterMaker(profile, data.true_x, data.true_y, molecules, Z_LIMIT_NM, seed)
    report("tabulating the true PSF", 0.0)
    truth = true_table(embedded_optics(profile), data.true_x, data.true_y, Z_LIMIT_NM + 150)
    samples = {"typical": maker.light(*TYPICAL, 1)}
    samples |= {name: maker.light((n, n), (b, b), 2 + i) for i, (name, (n, b)) in enumerate(LEVELS.items())}
    answers: dict[str, dict[str, Answer]] = {name: {} for name in samples}
    starts = np.linspace(-Z_LIMIT_NM - 100, Z_LIMIT_NM + 100, 20)
    for name, sample in samples.items():
        report(f"oracle, {name}", 0.0)
        fits = fit_psf(sample.crops, truth, sample.bead, starts, profile.camera.read_noise_e)
        rows, best = np.arange(molecules), np.argmin(fits.deviance, axis=1)
        answers[name]["oracle MLE"] = _unflagged(fits.z_nm[rows, best], fits.sigma_nm[rows, best])
        answers[name]["oracle posterior"] = _oracle_posterior(sample, truth, starts, profile.camera.read_noise_e)
    in_frames = _networks(data, samples, answers, minutes, seed, progress)
    _splines(data, samples, answers, spline_beads, seed, report)
    typical = samples["typical"]
    return {
        "limit_nm": _limit(typical.limit_nm),
        "methods": {method: _score(answer, typical) for method, answer in answers["typical"].items()},
        "levels": {
            name: {"limit_nm": _limit(sample.limit_nm)} | {m: _score(a, sample) for m, a in answers[name].items()}
            for name, sample in samples.items()
            if name != "typical"
        },
        "bins": _bins(answers["typical"], typical),
        "in_frames": in_frames.model_dump(mode="json", exclude={"rules"}),
        "beads": len(data.train),
        "held_out_beads": len(data.held_out),
        "molecules": molecules,
        "minutes": minutes,
        "label_sd_nm": float(np.nanstd(data.label_error_nm)),
    }


def _oracle_posterior(sample: EmbeddedEmitters, truth: SplinePsf, starts: F64, read_noise_e: float) -> Answer:
    """Return the posterior under the true PSF, flagged as well as `FLAG_COST` allows: the best that is possible."""
    prior = EmitterPrior().prior(sample.x, sample.y)
    fits = fit_psf(sample.crops, truth, sample.bead, starts, read_noise_e, prior)
    posterior = Mixture(maxima(fits, *truth.z_range_nm), fits.z_nm, np.maximum(fits.sigma_nm, MIN_SIGMA_NM))
    z, sigma = posterior.main_mode()
    own = posterior.sd_nm[np.arange(len(z)), posterior.nearest(z)]
    p_outlier = posterior.beyond(z, APART_SIGMAS * own)
    error = z - sample.z_nm
    good = np.abs(error - np.median(error)) <= MISTAKE_LIMITS * sample.limit_nm
    return Answer(z, sigma, p_outlier > np.quantile(p_outlier[good], 1 - FLAG_COST))


def _unflagged(z_nm: F64, sigma_nm: F64) -> Answer:
    return Answer(z_nm, sigma_nm, np.zeros(len(z_nm), bool))


def _networks(
    data: EmbeddedBeads, samples: dict[str, EmbeddedEmitters], answers: dict[str, dict[str, Answer]], minutes: float,
    seed: int, progress: Progress | None,
) -> Score:  # fmt: skip
    """Train both recipes and let them answer; return what the first finds in frames."""
    with tempfile.TemporaryDirectory() as folder:
        for recipe in ("matched", "paper"):
            path = Path(folder) / recipe
            train(data.train, path, recipe=recipe, minutes=minutes, seed=seed, progress=progress)
            model = Predictor.load(path)
            for name, sample in samples.items():
                variants = (
                    {"matched": True, "matched, network alone": False} if recipe == "matched" else {"paper": False}
                )
                for method, refine in variants.items():
                    predicted = model.predict(sample.crops, sample.x, sample.y, refine=refine)
                    answers[name][method] = Answer(
                        predicted.z_nm.astype(float), predicted.lpz_nm.astype(float), predicted.z_flag != 0
                    )
        return evaluate_in_frames(ModelCard.load(Path(folder) / "matched"), data.held_out)


def _splines(
    data: EmbeddedBeads,
    samples: dict[str, EmbeddedEmitters],
    answers: dict[str, dict[str, Answer]],
    beads: int,
    seed: int,
    report: Progress,
) -> None:
    pool = np.random.default_rng(seed).permutation(len(data.train))
    size = data.train.field_size_px
    tiles = tile_of(data.train.x, data.train.y, size)
    report("Picasso: calibrating one spline for the field", 0.0)
    whole = picasso_spline(data.train, pool[:beads])
    tiled = []
    for tile in range(TILES * TILES):
        report(f"Picasso: calibrating tile {tile + 1} of {TILES * TILES}", tile / TILES**2)
        tiled.append(picasso_spline(data.train, pool[tiles[pool] == tile][:beads]))
    for name, sample in samples.items():
        report(f"Picasso: fitting, {name}", 0.0)
        answers[name]["spline MLE, whole field"] = _unflagged(*fit_picasso(sample.crops, whole))
        z, sigma = np.empty(len(sample.crops)), np.empty(len(sample.crops))
        where = tile_of(sample.x, sample.y, size)
        for tile in range(TILES * TILES):
            inside = np.flatnonzero(where == tile)
            if len(inside):
                z[inside], sigma[inside] = fit_picasso(sample.crops[inside], tiled[tile])
        answers[name]["spline MLE, 3x3 tiles"] = _unflagged(z, sigma)


def _score(answer: Answer, sample: EmbeddedEmitters) -> dict[str, float | None]:
    error = answer.z_nm - sample.z_nm
    error = np.abs(error - np.median(error))
    kept = ~answer.flagged
    outlier = error > MISTAKE_LIMITS * sample.limit_nm
    return {
        "rmse_nm": _rms(error),
        "robust_nm": robust_sd(error, about=0.0),
        "gross": float(np.mean(error > GROSS_NM)),
        "coverage_68": float(np.mean(error[kept] <= answer.sigma_nm[kept])) if kept.any() else None,
        "coverage_95": float(np.mean(error[kept] <= 1.96 * answer.sigma_nm[kept])) if kept.any() else None,
        "unflagged_rmse_nm": _rms(error[kept]) if kept.any() else None,
        "unflagged_limit_nm": _limit(sample.limit_nm[kept]),
        "unflagged_gross": float(np.mean(error[kept] > GROSS_NM)) if kept.any() else None,
        "flagged": float(answer.flagged.mean()),
        "mistakes_flagged": float(answer.flagged[outlier].mean()) if outlier.any() else None,
        "good_flagged": float(answer.flagged[~outlier].mean()) if (~outlier).any() else None,
    }


def _bins(answers: dict[str, Answer], sample: EmbeddedEmitters) -> list[dict[str, Any]]:
    rows = []
    for low, high in itertools.pairwise(np.arange(-Z_LIMIT_NM, Z_LIMIT_NM + 1, BIN_NM)):
        inside = (sample.z_nm >= low) & (sample.z_nm < high)
        row: dict[str, Any] = {
            "z_from_nm": float(low), "z_to_nm": float(high), "limit_nm": _limit(sample.limit_nm[inside]),
            "molecules": int(inside.sum()),
        }  # fmt: skip
        for method, answer in answers.items():
            error = answer.z_nm - sample.z_nm
            error = np.abs(error - np.median(error))
            kept = inside & ~answer.flagged
            row[method] = {
                "rmse_nm": _rms(error[inside]),
                "unflagged_rmse_nm": _rms(error[kept]) if kept.any() else None,
                "unflagged_limit_nm": _limit(sample.limit_nm[kept]),
                "coverage_68": float(np.mean(error[kept] <= answer.sigma_nm[kept])) if kept.any() else None,
                "flagged": float(answer.flagged[inside].mean()),
            }
        rows.append(row)
    return rows


def _limit(values: F64) -> float | None:
    found = median_and_range(values)
    return None if found is None else found[0]


def _rms(values: F64) -> float:
    return float(np.sqrt(np.mean(np.asarray(values, float) ** 2)))
