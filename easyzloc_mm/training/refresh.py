"""A model for the PSF of a sample: the network trained further on it, uncertainties of the beads', thresholds anew."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.sample_aberrations import SampleAberrations
from easyzloc_mm.io.writing.kinds import Kind
from easyzloc_mm.io.writing.output import whole_or_nothing
from easyzloc_mm.model.bundle import write_digests
from easyzloc_mm.model.card import KERAS_FILE, NETWORK_FILE, PSF_FILE, WIDER_PSF_FILE, ModelCard
from easyzloc_mm.model.predictor import Predictor
from easyzloc_mm.model.uncertainty import LikelihoodScale, MixtureCalibration
from easyzloc_mm.psf.bead_psf import BeadPsfs
from easyzloc_mm.psf.field_psf import FieldPsf, SamplePsf, field_source
from easyzloc_mm.training.export import check_export, export_network, load_network
from easyzloc_mm.training.recipes.learners import Z_RANGE_NM
from easyzloc_mm.typing import IfExists, Progress

logger = logging.getLogger(__name__)


def write_refreshed(
    card: ModelCard,
    psf: SamplePsf,
    sample: SampleAberrations,
    out: Path,
    *,
    minutes: float = 1.0,
    steps: int | None = None,
    seed: int = 0,
    if_exists: IfExists = "error",
    progress: Progress | None = None,
) -> None:
    """Write a model whose PSF is the sample's, or the same model where the sample's PSF is the beads'.

    Parameters
    ----------
    card : ModelCard
        Of the model that the beads made.
    psf : SamplePsf
    sample : SampleAberrations
        What is known of it; where it does not differ, the PSF stays the beads'.
    out : Path
        The new model's folder; it appears when it is complete.
    minutes : float
        Time budget of the training.
    steps : int, optional
        Its length in steps, in place of `minutes`.
    seed : int

    Raises
    ------
    InputError
        The model has no PSF or no network to train further, or the output exists.
    """
    if not isinstance(card.uncertainty, MixtureCalibration) or not (card.path / KERAS_FILE).is_file():
        raise InputError(f"model {card.path} has no {KERAS_FILE} to train further: train it by recipe matched")
    with whole_or_nothing(out, Kind.MODEL, if_exists=if_exists, inputs=[card.path]) as draft:
        draft.mkdir()
        if sample.differs:
            psf.crop.save(draft / PSF_FILE)
            if psf.wider is not None:
                psf.wider.save(draft / WIDER_PSF_FILE)
            card = _trained_further(card, card.uncertainty, psf.crop, draft, minutes, steps, seed, progress)
        else:
            for file in (card.path / KERAS_FILE, card.path / NETWORK_FILE, card.wider_psf_file):
                if file is not None:
                    shutil.copyfile(file, draft / file.name)
            shutil.copyfile(card.psf_file, draft / PSF_FILE)
        card.model_copy(update={"refreshed": sample}).write(draft)
        write_digests(draft)


def _trained_further(
    card: ModelCard,
    known: MixtureCalibration,
    psf: FieldPsf,
    folder: Path,
    minutes: float,
    steps: int | None,
    seed: int,
    progress: Progress | None,
) -> ModelCard:
    """Train on molecules of the new PSF, and return the card that goes with the network."""
    from easyzloc_mm.training.evaluation.uncertainty_calibration import Learned, calibrate, levels
    from easyzloc_mm.training.recipes.matched import fit_matched

    table = psf.table(card.field_size_px)
    here = BeadPsfs(table, card.field_size_px, card.field_known, card.response.effective().read_noise_e)
    source = field_source(here, psf)
    earlier = load_network(card.path)
    network = fit_matched(
        source, source, known.emitters,
        minutes=minutes, steps=steps, seed=seed, settings=card.settings, start=earlier.get_weights(), progress=progress,
    )  # fmt: skip
    excess_noise = card.response.excess_noise
    learned = Learned(network, psf, source)
    fresh = calibrate(learned, [(learned, source)], known.emitters, Z_RANGE_NM, seed, excess_noise)
    # No bead of the sample was left out to measure errors on: what left-out beads showed of the model's own stays, but
    # for what this network, on its own molecules, is worse than the beads' on theirs.
    beads = Predictor(card).psf[0]
    of_beads = field_source(replace(here, table=beads.table(card.field_size_px)), beads)
    before = levels(Learned(earlier, beads, of_beads), of_beads, known, Z_RANGE_NM, seed, excess_noise)
    worse = levels(learned, source, known, Z_RANGE_NM, seed, excess_noise).beyond(before)
    wide = max(fresh.embedding.threshold, known.embedding.threshold)
    uncertainty = fresh.model_copy(
        update={
            "network_scale": known.network_scale.times(worse.network),
            "likelihood_scale": LikelihoodScale(
                fitted=known.likelihood_scale.fitted.times(worse.fitted),
                pooled=known.likelihood_scale.pooled.times(worse.pooled),
            ),
            "lateral_scale": known.lateral_scale,
            "residual_limit": known.residual_limit,
            "embedding": fresh.embedding.model_copy(update={"threshold": wide}),
        }
    )
    export_network(network, folder)
    card = card.model_copy(update={"uncertainty": uncertainty, "accuracy": None, "psf_degree": psf.degree})
    card.write(folder)
    check_export(network, Predictor.load(folder), source, seed)
    return card
