"""Does the beads' PSF explain the molecules of a run."""

from __future__ import annotations

import uuid
import warnings
from pathlib import Path

from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.runs.localizations import read_metadata, update_run
from easyzloc_mm.io.runs.metadata import Refreshment
from easyzloc_mm.io.sample_aberrations import SampleAberrations, Widening
from easyzloc_mm.io.writing.kinds import SAMPLE_PICTURE
from easyzloc_mm.localization.sample.molecules import sample_molecules
from easyzloc_mm.localization.sample.picture import draw_sample
from easyzloc_mm.localization.sample.widening import is_widened, widen, widening_of
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.model.predictor import Predictor
from easyzloc_mm.profile.schema import Optics, Profile
from easyzloc_mm.psf.field_psf import FieldPsf, SamplePsf
from easyzloc_mm.psf.pupil.change import NAMES
from easyzloc_mm.psf.pupil.climb import DepthPrior
from easyzloc_mm.psf.pupil.estimate import estimate
from easyzloc_mm.psf.pupil.mean_images import mean_images
from easyzloc_mm.typing import Progress

MOLECULES = 5000
"""Enough to notice a fifth of a radian."""
LEAST_CORRELATION = 0.95
"""Of the beads' images and those of the profile's optics: where it is less, the optics are others."""


def aberrations_of(
    run: Path,
    card: ModelCard,
    *,
    movie: Path | None,
    profile: Profile | None,
    molecules: int,
    depth_um: float | None = None,
    drawn: Path | None = None,
    progress: Progress | None = None,
) -> tuple[SampleAberrations, SamplePsf]:
    """Return the aberrations that the molecules of a run show beside those of the beads, and the PSF with them.

    Parameters
    ----------
    run : Path
        ``RUN.zarr``, localised with that model.
    card : ModelCard
    movie : Path, optional
        The run's frames, where it does not keep them.
    profile : Profile, optional
        The microscope, in place of the one that the run states.
    molecules : int
        Used at most.
    depth_um : float, optional
        About how deep they lie, where that is known.
    drawn : Path, optional
        A picture of the molecules beside the beads' PSF, and beside their own where it differs.

    Raises
    ------
    InputError
        The model has no PSF of its beads, the run has no frames or too few molecules, its microscope is not known, or
        its optics do not explain the beads.
    """
    check_of_beads(card)
    optics = _optics(run, profile).model_copy(update={"pixel_size_nm": card.pixel_size_nm})
    chosen = sample_molecules(run, card, movie, molecules)
    psf = Predictor(card).psf[0]
    depth = DepthPrior() if depth_um is None else DepthPrior.stated(1000 * depth_um)
    found = estimate(chosen, psf, optics, card.field_size_px, depth=depth, progress=progress)
    check_explained(found.correlation, card)
    sample = SampleAberrations(
        run=run.name,
        model_digest=card.digest,
        molecules=found.molecules,
        terms=NAMES,
        theta_rad=tuple(found.theta_rad),
        sd_rad=tuple(found.sd_rad),
        chi2=found.chi2,
        p_value=found.p_value,
        z_error_nm=found.z_error_nm,
        correlation=found.correlation,
        differs=found.differs,
        depth_nm=found.depth_nm,
        depth_sd_nm=found.depth_sd_nm,
    )
    if drawn is not None:
        shown = {"the beads' PSF": psf} | ({"the sample's PSF": found.psf} if found.differs else {})
        images = {name: mean_images(chosen, of, card.field_size_px) for name, of in shown.items()}
        draw_sample(drawn, images, sample.in_words())
    wider = card.wider_psf_file
    return sample, SamplePsf(found.psf, None if wider is None else found.applied_to(FieldPsf.load(wider)))


def check_of_beads(card: ModelCard) -> None:
    """Refuse a model without a PSF that is its beads'.

    Raises
    ------
    InputError
        It has none, or one that was refreshed.
    """
    if not card.has_psf:
        raise InputError(f"model {card.path} has no PSF of its beads: train one by recipe matched")
    if card.refreshed is not None and card.refreshed.differs:
        raise InputError(f"model {card.path} was refreshed before: give the one that its beads made")


def check_explained(correlation: float, card: ModelCard) -> None:
    """Refuse optics that are not those of the beads of a model.

    Raises
    ------
    InputError
        Their images and the beads' are not alike.
    """
    if correlation < LEAST_CORRELATION:
        raise InputError(
            f"the optics of the profile explain the beads of {card.path} by {correlation:.2f} only: check na, "
            "emission_nm and the refractive indices in section optics, and whether the beads are many or bright, since "
            "noise is not explained; a PSF that a mask shapes cannot be refreshed"
        )


def drawn_aberrations_of(
    run: Path, card: ModelCard, *, movie: Path | None, profile: Profile, molecules: int
) -> tuple[SampleAberrations, SamplePsf]:
    """Return `aberrations_of` a run, and put the picture of its molecules beside the beads' PSF into it."""
    drawn = run / f".{SAMPLE_PICTURE}.{uuid.uuid4().hex[:8]}"
    try:
        found = aberrations_of(run, card, movie=movie, profile=profile, molecules=molecules, drawn=drawn)
        drawn.replace(run / SAMPLE_PICTURE)
    finally:
        drawn.unlink(missing_ok=True)
    return found


def note_sample(run: Path, card: ModelCard, movie: Path, profile: Profile) -> None:
    """Keep with a run its microscope, and what its molecules say of the beads' PSF; where it is not theirs, mend lpz.

    A warning then says so. Where the molecules cannot tell, it gives the reason: the run itself is none the worse.
    """
    update_run(run, profile=profile.model_dump(mode="json"))
    if is_widened(run):  # it was held against the beads' PSF before
        return
    try:
        sample, psf = drawn_aberrations_of(run, card, movie=movie, profile=profile, molecules=MOLECULES)
    except InputError as error:
        warnings.warn(f"not held against the beads' PSF: {error}", EasyZlocWarning, stacklevel=3)
        return
    update_run(run, sample_aberrations=sample)
    if sample.differs:
        added = widening_of(run, card, psf.crop)
        if added is not None:
            widen(run, added)
        warnings.warn(said_of(run, sample, added), EasyZlocWarning, stacklevel=3)


def said_of(run: Path, sample: SampleAberrations, added: Widening | None, changed: Refreshment | None = None) -> str:
    """Return what a person has to know of a run whose sample differs, and that may have changed to a model for it."""
    which = f"in {run}" if changed is None else f"before frame {changed.from_frame} of {run}"
    mend = "make a model for this sample by `refresh`, and localise again"
    if changed is not None:
        mend = f"localise the run again with {changed.sample.path}"
    lpz = "by how much lpz is too small is not known" if added is None else added.in_words()
    return f"{sample.in_words()}: z and its scale {which} are not to be trusted, and {lpz}; {mend}"


def _optics(run: Path, profile: Profile | None) -> Optics:
    """Return the optics of the microscope as given, or as the run states them."""
    if profile is not None:
        return profile.optics
    stated = read_metadata(run).profile
    if stated is None:
        raise InputError(f"{run} does not state its microscope: give its hardware profile as `profile`")
    return Optics.model_validate(stated["optics"])
