"""Accuracy of a model on beads that it was not trained on, beside the CRLB of their measured PSF."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from easyzloc_mm.analysis.scoring.figures import Score
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.dataset import BeadDataset
from easyzloc_mm.model.accuracy import (
    MISTAKE_LIMITS,
    Accuracy,
    BinAccuracy,
    DepthBin,
    EvaluationResult,
    FieldTile,
    HeldOut,
    PhotonBin,
)
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.model.emitter_prior import TYPICAL_BACKGROUND, TYPICAL_PHOTONS, EmitterPrior
from easyzloc_mm.model.predictor import Predictor, ZPrediction
from easyzloc_mm.model.uncertainty import MixtureCalibration
from easyzloc_mm.numerics.level import levels_around
from easyzloc_mm.numerics.statistics import median_and_range, robust_sd
from easyzloc_mm.psf.bead_psf import BeadPsfs
from easyzloc_mm.psf.crlb import EmpiricalPsf, empirical_psf
from easyzloc_mm.training.emitters import EmitterImages, simulate_emitters
from easyzloc_mm.training.evaluation.judged import Judged
from easyzloc_mm.training.evaluation.seen import seen_emitters
from easyzloc_mm.training.recipes.published import recorded_planes
from easyzloc_mm.training.split import Part, split_beads
from easyzloc_mm.typing import F64, I64

EMITTERS = 10000
CROP_ERROR_PX = (0.2, 0.2)
BINS = 10
PHOTON_EDGES = (500.0, 1000.0, 2000.0, 4000.0, 8000.0, 20000.0)
FIELD_TILES = 3
SEED = 1234


def evaluate(
    model: Predictor,
    beads: BeadDataset,
    *,
    z_limit_nm: float | None = None,
    in_frames: Score | None = None,
    report: Path | None = None,
) -> EvaluationResult:
    """Evaluate a model on held-out beads, thinned to the brightness of single molecules and as recorded.

    On the data set that the model was trained on, its test beads are used; on another one, every accepted bead that the
    model was not trained on. Where there are none, it is the beads of its training, and `held_out` says so.
    Figures are over emitters within the calibrated range that carry no flag; `flagged` is the share of the others.

    Parameters
    ----------
    model : Predictor
    beads : BeadDataset
    z_limit_nm : float, optional
        Only emitters and planes nearer to focus than this are evaluated.
    in_frames : Score, optional
        What the whole pipeline makes of the same beads in frames (`localization.offline.in_frames`); kept with the
        result.
    report : Path, optional
        Folder for an HTML report.

    Raises
    ------
    InputError
        The beads have another pixel size, or none is accepted.
    """
    chosen, held_out = beads_to_evaluate(model.card, beads)
    low, high = model.card.z_range_nm
    z_range = (low, high) if z_limit_nm is None else (max(low, -z_limit_nm), min(high, z_limit_nm))
    judged = judge(model, Part(beads, chosen), empirical_psf(beads, model.card.roi_px), z_range)
    result = result_of([judged], model.card, beads, z_range, held_out=held_out, in_frames=in_frames)
    if report is not None:
        from easyzloc_mm.training.evaluation.report import write_model_report

        write_model_report(report, model.card, result, judged)
    return result


def judge(
    model: Predictor, part: Part, psf: EmpiricalPsf, z_range_nm: tuple[float, float], *, share: float = 1.0
) -> Judged:
    """Let a model predict the beads of `part`.

    Parameters
    ----------
    model : Predictor
    part : Part
    psf : EmpiricalPsf
        Of all accepted beads, for the information limit.
    z_range_nm : (float, float)
    share : float
        Of `EMITTERS`, that are simulated.
    """
    source = BeadPsfs.from_beads(part.beads, part.chosen, model.card.roi_px)
    emitters, wide = (
        _predict_emitters(model, part, source, psf, z_range_nm, photons, seed, round(share * EMITTERS))
        for photons, seed in ((TYPICAL_PHOTONS, SEED), ((PHOTON_EDGES[0], PHOTON_EDGES[-1]), SEED + 1))
    )
    beads = part.beads
    crops, bead, z_nm = recorded_planes(beads, part.chosen, z_range_nm, model.card.roi_px)
    recorded = _table(model.predict(crops, beads.x[bead], beads.y[bead]), z_nm)
    recorded["bead"] = bead
    return Judged(part.chosen, emitters, wide, recorded)


def joined(judged: Sequence[Judged]) -> Judged:
    """Return what several networks make of their beads as one."""
    beads = np.unique(np.concatenate([one.beads for one in judged]))
    names = ("emitters", "wide", "recorded")
    return Judged(beads, *(pd.concat([getattr(one, name) for one in judged], ignore_index=True) for name in names))


def result_of(
    judged: Sequence[Judged],
    card: ModelCard,
    beads: BeadDataset,
    z_range_nm: tuple[float, float],
    *,
    held_out: HeldOut,
    folds: int = 0,
    in_frames: Score | None = None,
) -> EvaluationResult:
    """Return the figures of a model, or those of the networks of a cross-validation together.

    Parameters
    ----------
    judged : sequence of Judged
    card : ModelCard
    beads : BeadDataset
        From which the judged ones are.
    z_range_nm : (float, float)
    held_out : HeldOut
    folds : int
        How many networks.
    in_frames : Score, optional
    """
    whole = joined(judged)
    emitters, recorded = whole.emitters, whole.recorded
    trusted = emitters[emitters["flag"] == 0]
    flagged, of_outliers, of_inliers = _flagged(emitters)
    return EvaluationResult(
        **dict(_accuracy(trusted)),
        flagged=flagged,
        mistakes_flagged=of_outliers,
        good_flagged=of_inliers,
        rmse_with_flagged_z_nm=_rms(emitters["error"]),
        rmse_offset_removed_z_nm=_rms(_without_offsets(trusted)),
        bead_rmse_z_nm=_rms(recorded["error"]),
        bead_rmse_offset_removed_z_nm=_rms(_without_offsets(recorded)),
        beads=len(whole.beads),
        distinct_beads=len(np.unique(beads.bead_id[whole.beads])),
        held_out=held_out,
        folds=folds,
        bins=_by_depth(emitters, z_range_nm),
        by_photons=_by_photons(whole.wide),
        by_field=_by_field(emitters, card.field_size_px) if card.field_known else (),
        in_frames=in_frames,
    )


def beads_to_evaluate(card: ModelCard, beads: BeadDataset) -> tuple[I64, HeldOut]:
    """Return the beads that a model may be judged by, and whether it has seen them.

    Raises
    ------
    InputError
        The beads have another pixel size, or none is accepted.
    """
    if not card.has_pixel_size(beads.pixel_size_nm):
        raise InputError(
            f"the beads have {beads.pixel_size_nm:g} nm per pixel, model {card.path} was trained at "
            f"{card.pixel_size_nm:g}: give beads of the same microscope"
        )
    accepted = np.flatnonzero(beads.accepted)
    if not len(accepted):
        raise InputError("the bead data set has no accepted bead: nothing to evaluate on")
    unseen = accepted
    if card.training_data == beads.digest():
        unseen = split_beads(beads, card.seed).test
    if card.trained_on is not None:
        unseen = _not_trained_on(card.trained_on, beads, unseen)
    return (unseen, HeldOut.BY_BEAD) if len(unseen) else (accepted, HeldOut.NONE)


def _not_trained_on(trained_on: Collection[str], beads: BeadDataset, chosen: I64) -> I64:
    """Return those of the beads `chosen` of which no recording was trained on."""
    known = set(trained_on)
    seen = [bead for bead in range(len(beads)) if not known.isdisjoint(beads.fingerprints([bead]))]
    return chosen[~np.isin(beads.bead_id[chosen], beads.bead_id[seen])]


def thinned(
    source: BeadPsfs,
    z_range_nm: tuple[float, float],
    photons: tuple[float, float] = TYPICAL_PHOTONS,
    seed: int = SEED,
    count: int = EMITTERS,
    excess_noise: float = 1.0,
    model: Predictor | None = None,
) -> EmitterImages:
    """Return the emitters that models are judged by, drawn from held-out beads, in effective photons.

    For a model with a measured PSF they are placed as it sees them (`seen`), for others with an error of their own.
    """
    low, high = z_range_nm
    prior = EmitterPrior(
        photons=photons,
        background=TYPICAL_BACKGROUND,
        crop_error_px=CROP_ERROR_PX,
        neighbour_share=0.0,
        z_limit_nm=max(-low, high),
    )
    wanted = prior.effective(excess_noise)
    if model is not None and isinstance(model.card.uncertainty, MixtureCalibration):
        return seen_emitters(source, model.psf[0], wanted, model.card.uncertainty.emitters, count, seed)
    return simulate_emitters(source, wanted, count, seed)


def _flagged(emitters: pd.DataFrame) -> tuple[float, float | None, float | None]:
    """Return the share of the emitters that carry a flag: of all, of the mistaken ones, of the others.

    A mistake is what no noise explains. By the stated uncertainty it could not be told: that of a molecule that two
    depths explain may span both.
    """
    flagged = emitters["flag"] != 0
    outlier = emitters["error"].abs() > MISTAKE_LIMITS * emitters["limit"]
    return (
        float(flagged.mean()),
        float(flagged[outlier].mean()) if outlier.any() else None,
        float(flagged[~outlier].mean()) if (~outlier).any() else None,
    )


def _without_offsets(table: pd.DataFrame) -> pd.Series:
    return table["error"] - table.groupby("bead")["error"].transform("median")


def _predict_emitters(
    model: Predictor,
    part: Part,
    source: BeadPsfs,
    psf: EmpiricalPsf,
    z_range_nm: tuple[float, float],
    photons: tuple[float, float],
    seed: int,
    count: int,
) -> pd.DataFrame:
    low, high = z_range_nm
    response = part.beads.response
    excess = response.excess_noise
    drawn = thinned(source, z_range_nm, photons, seed, count, excess, model)
    level = levels_around(drawn.background, source.read_noise_e**2, seed)
    table = _table(model.predict(drawn.crops, drawn.x, drawn.y, background=level), drawn.z_nm.astype(float))
    table["photons"], table["background"] = excess * drawn.photons, excess * drawn.background
    table["bead"], table["x"], table["y"] = part.chosen[drawn.place], drawn.x, drawn.y
    table["limit"] = psf.crlb(drawn.x, drawn.y, drawn.z_nm, table["photons"], table["background"], response)[2]
    return table[table["z"].between(low, high)].reset_index(drop=True)


def _table(prediction: ZPrediction, z_nm: F64) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "z": z_nm,
            "predicted": prediction.z_nm,
            "sigma": prediction.lpz_nm,
            "flag": prediction.z_flag,
            "error": prediction.z_nm - z_nm,
        }
    )


def _accuracy(table: pd.DataFrame) -> Accuracy:
    if table.empty:
        return Accuracy(rmse_z_nm=None, robust_z_nm=None, limit_z_nm=None, coverage_68=None, coverage_95=None)
    pull = np.abs(table["error"]) / table["sigma"]
    limit, limit_range = median_and_range(table["limit"].to_numpy(float)) or (None, None)
    return Accuracy(
        rmse_z_nm=_rms(table["error"]),
        robust_z_nm=robust_sd(table["error"].to_numpy(float), about=0.0),
        limit_z_nm=limit,
        limit_range_z_nm=limit_range,
        coverage_68=float((pull <= 1).mean()),
        coverage_95=float((pull <= 1.96).mean()),
    )


def _bin_accuracy(inside: pd.DataFrame) -> BinAccuracy:
    trusted = inside[inside["flag"] == 0]
    return BinAccuracy(
        **dict(_accuracy(trusted)),
        molecules=len(trusted),
        flagged=float((inside["flag"] != 0).mean()) if len(inside) else 0.0,
        bias_nm=float(trusted["error"].mean()) if len(trusted) else None,
    )


def _by_depth(emitters: pd.DataFrame, z_range: tuple[float, float]) -> tuple[DepthBin, ...]:
    bins = []
    for low, high in itertools.pairwise(np.linspace(*z_range, BINS + 1)):
        inside = emitters[emitters["z"].between(low, high, inclusive="left")]
        bins.append(DepthBin(z_from_nm=float(low), z_to_nm=float(high), **dict(_bin_accuracy(inside))))
    return tuple(bins)


def _by_photons(emitters: pd.DataFrame) -> tuple[PhotonBin, ...]:
    bins = []
    for low, high in itertools.pairwise(PHOTON_EDGES):
        inside = emitters[emitters["photons"].between(low, high, inclusive="left")]
        bins.append(PhotonBin(photons_from=low, photons_to=high, **dict(_bin_accuracy(inside))))
    return tuple(bins)


def _by_field(emitters: pd.DataFrame, size: tuple[int, int]) -> tuple[FieldTile, ...]:
    column, row = (
        np.clip(emitters[name] * FIELD_TILES // edge, 0, FIELD_TILES - 1) for name, edge in zip("xy", size, strict=True)
    )
    return tuple(
        FieldTile(column=i, row=j, **dict(_bin_accuracy(emitters[(column == i) & (row == j)])))
        for j in range(FIELD_TILES)
        for i in range(FIELD_TILES)
    )


def _rms(values: pd.Series) -> float | None:
    return float(np.sqrt(np.mean(np.asarray(values, float) ** 2))) if len(values) else None
