"""`refresh`: does the beads' PSF explain the molecules of a sample; and a model for it, where it does not."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from easyzloc_mm.api.model import Model, as_model
from easyzloc_mm.api.run import Run
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.io.sample_aberrations import SampleAberrations
from easyzloc_mm.io.writing.kinds import Kind
from easyzloc_mm.io.writing.output import check_output, whole_or_nothing
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.report.figures import check_figure
from easyzloc_mm.typing import IfExists, Progress

MOLECULES = 6000


@dataclass(frozen=True)
class Refreshed:
    """What the molecules of a run say of a model.

    Attributes
    ----------
    found : SampleAberrations
        Aberrations beside those of the beads, with their uncertainties.
    model : Model, optional
        The model for this sample, where one was asked for.
    """

    found: SampleAberrations
    model: Model | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for printing."""
        values = self.found.model_dump(mode="json", exclude={"terms", "theta_rad", "sd_rad"})
        named = zip(self.found.terms, self.found.theta_rad, self.found.sd_rad, strict=True)
        aberrations = {name: {"rad": value, "sd_rad": sd} for name, value, sd in named}
        where = {} if self.model is None else {"out": self.model.path}
        return {
            "rms_rad": self.found.rms_rad,
            "aberrations": aberrations,
            **values,
            "says": self.found.in_words(),
            **where,
        }


def refresh(
    model: Model | str | Path,
    run: Run | str | Path,
    out: str | Path | None = None,
    *,
    movie: str | Path | None = None,
    profile: Profile | str | None = None,
    molecules: int = MOLECULES,
    depth_um: float | None = None,
    picture: str | Path | None = None,
    minutes: float = 1.0,
    steps: int | None = None,
    seed: int = 0,
    if_exists: IfExists = "error",
    progress: Progress | None = None,
) -> Refreshed:
    """Measure what aberrations a sample adds to those of the bead slide, and write a model for it.

    Molecules alone fix neither sign nor scale of z; the beads and the optics do. The wavefront behind the beads' PSF
    is found once; what astigmatism, coma and spherical aberration would add to it is estimated by maximum likelihood
    over the molecules together with their places [1]_, and only the difference is applied to the measured PSF.

    Parameters
    ----------
    model : Model or path
        Made from beads, by recipe ``matched``.
    run : Run or path
        A run of the sample that was localised with it.
    out : path, optional
        The model to write; without it, the sample is judged only. Where the molecules agree with the beads, it is the
        same model.
    movie : path, optional
        The run's frames, where it does not keep them.
    profile : Profile or str, optional
        The microscope, in place of the one that the run states.
    molecules : int
        Used at most; the brightest that are by themselves.
    depth_um : float, optional
        About how deep the molecules lie above the glass, where you know it to a fifth, or 0.2 um; without it, down to
        some 4 um are looked at.
    picture : path, optional
        Also draw mean images of the molecules by depth beside those that the beads' PSF expects, and beside those of
        the sample's own where it differs: ``NAME.png``, ``.svg`` or ``.pdf``.
    minutes, steps, seed
        Of the training, as for `train`.
    if_exists : {'error', 'overwrite'}
        What becomes of a model that is there already.
    progress : callable, optional
        Given (message, fraction).

    Raises
    ------
    InputError
        `depth_um` cannot be, the run has no frames or too few molecules, its microscope is not known, or its optics do
        not explain the beads.

    References
    ----------
    .. [1] Xu et al., Three-dimensional nanoscopy of whole cells and tissues with in situ point spread function
       retrieval, Nature Methods 17, 531 (2020), https://doi.org/10.1038/s41592-020-0816-x

    Examples
    --------
    >>> judged = ez.refresh("bead_model", "sample.zarr", movie="sample.tif")
    >>> judged.found.differs, judged.model is None
    (True, True)
    """
    from easyzloc_mm.localization.sample.check import aberrations_of
    from easyzloc_mm.psf.pupil.climb import DEEPEST_NM
    from easyzloc_mm.training.refresh import write_refreshed

    if depth_um is not None and not 0 <= 1000 * depth_um <= DEEPEST_NM:
        deepest = f"{DEEPEST_NM / 1000:g} um above the glass"
        raise InputError(f"`depth_um` {depth_um:g} cannot be: give a depth of 0 to {deepest}")
    card = as_model(model).card
    place = run.path if isinstance(run, Run) else Path(run)
    frames = None if movie is None else Path(movie)
    inputs = [card.path, place, *([frames] if frames else [])]
    written = None if out is None else check_output(Path(out), Kind.MODEL, if_exists=if_exists, inputs=inputs)
    shown = None if picture is None else check_figure(Path(picture))
    instrument = load_profile(profile) if isinstance(profile, str) else profile
    with (
        nullcontext()
        if shown is None
        else whole_or_nothing(shown, Kind.PICTURE, if_exists=if_exists, inputs=inputs) as drawn
    ):
        sample, psf = aberrations_of(
            place,
            card,
            movie=frames,
            profile=instrument,
            molecules=molecules,
            depth_um=depth_um,
            drawn=drawn,
            progress=progress,
        )
    if written is None:
        return Refreshed(sample)
    write_refreshed(
        card, psf, sample, written, minutes=minutes, steps=steps, seed=seed, if_exists=if_exists, progress=progress
    )
    return Refreshed(sample, Model.load(written))
