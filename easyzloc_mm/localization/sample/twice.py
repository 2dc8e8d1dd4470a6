"""A movie localised twice: with the beads' model, and with the one that its own molecules then give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.runs.localizations import holds_localizations, read_metadata, update_run
from easyzloc_mm.io.runs.metadata import Refreshment
from easyzloc_mm.io.writing.kinds import Kind
from easyzloc_mm.io.writing.output import check_output, take_place
from easyzloc_mm.localization.run_report import RunReport
from easyzloc_mm.localization.sample.check import aberrations_of
from easyzloc_mm.localization.sample.widening import is_widened, widen, widening_of
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.training.refresh import write_refreshed
from easyzloc_mm.typing import IfExists, IfExistsResume, Progress

MOLECULES = 6000
"""The brightest so many of a run say what its sample adds."""

Localize = Callable[[ModelCard, Path], RunReport]


@dataclass(frozen=True)
class Outputs:
    """Where things lie beside ``RUN.zarr``.

    Attributes
    ----------
    run : Path
        The result.
    before : Path
        The run by the beads' model, where the sample differs: ``RUN.unrefreshed.zarr``.
    model : Path
        That of the sample, where it differs: ``RUN.model``.
    """

    run: Path
    before: Path
    model: Path

    @classmethod
    def beside(cls, run: Path) -> Outputs:
        """Return what belongs to a run."""
        return cls(run, run.with_name(f"{run.stem}.unrefreshed{run.suffix}"), run.with_name(f"{run.stem}.model"))


def localize_refreshed(
    localize: Localize,
    card: ModelCard,
    out: Path,
    *,
    movie: Path,
    profile: Profile | None,
    minutes: float,
    if_exists: IfExistsResume,
    steps: int | None = None,
    progress: Progress | None = None,
) -> RunReport:
    """Localise, measure on the molecules what the sample adds to the beads' PSF, and where it does localise again.

    Where it does not, the first run is the result. Otherwise that, and the sample's model, are kept beside it.

    Parameters
    ----------
    localize : callable
        Given a model and an output, localises the movie.
    card : ModelCard
        That beads made.
    out : Path
        ``RUN.zarr``.
    movie : Path
    profile : Profile, optional
        The microscope; a movie that is a run states it.
    minutes, steps
        Of the training of the sample's model.
    if_exists : {'error', 'overwrite', 'resume'}
    progress : callable, optional

    Raises
    ------
    InputError
        The microscope is not known, or the molecules cannot tell.
    """
    profile = profile or _stated(movie)
    files, again = Outputs.beside(out), if_exists == "resume"
    if again and holds_localizations(out):
        return _second(localize, card, files, profile) if files.model.exists() else localize(card, out)
    for path, kind in ((out, Kind.RUN), (files.before, Kind.RUN), (files.model, Kind.MODEL)):
        check_output(path, kind, if_exists=if_exists, inputs=[movie, card.path])
    report = localize(card, files.before)
    update_run(files.before, profile=profile.model_dump(mode="json"))
    sample, psf = aberrations_of(
        files.before, card, movie=movie, profile=profile, molecules=MOLECULES, progress=progress
    )
    update_run(files.before, sample_aberrations=sample)
    if not sample.differs:
        take_place(files.before, out)
        return report.model_copy(update={"out": out})
    if not is_widened(files.before):
        added = widening_of(files.before, card, psf.crop)
        if added is not None:
            widen(files.before, added)
    if not (again and files.model.exists()):
        replaced: IfExists = "error" if if_exists == "error" else "overwrite"
        write_refreshed(
            card, psf, sample, files.model, minutes=minutes, steps=steps, if_exists=replaced, progress=progress
        )
    return _second(localize, card, files, profile)


def _second(localize: Localize, card: ModelCard, files: Outputs, profile: Profile) -> RunReport:
    """Localise with the sample's model, and keep with the run where that came from."""
    mended = ModelCard.load(files.model)
    sample = mended.refreshed
    if sample is None:
        raise InputError(f"{files.model} was not made by `refresh`: move it away, or choose another `out`")
    report = localize(mended, files.run)
    update_run(
        files.run,
        profile=profile.model_dump(mode="json"),
        sample_aberrations=sample,
        refreshed=Refreshment(beads=card.reference, sample=mended.reference, run=files.before.name),
    )
    return report.model_copy(update={"refreshed": sample.in_words()})


def _stated(movie: Path) -> Profile:
    """Return the microscope that a run states."""
    stated = read_metadata(movie).profile if holds_localizations(movie) else None
    if stated is None:
        raise InputError(f"{movie} does not state its microscope: give its hardware profile as `profile`")
    return Profile.model_validate(stated)
