"""From a bead slide to a model. The calibration's recipe is written here, and only here."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from easyzloc_mm._extras import need_backend
from easyzloc_mm._log import FILE as LOG
from easyzloc_mm._log import run_log
from easyzloc_mm.acquire.beads.report import AcquisitionReport
from easyzloc_mm.api.calibrating.options import check_bead_options, check_begun, check_plan, check_recipe
from easyzloc_mm.api.model import Model, as_model
from easyzloc_mm.io.beads.dataset import BeadDataset, read_bead_set, write_bead_set
from easyzloc_mm.io.camera_map import check_camera_map
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.io.writing.kinds import Kind
from easyzloc_mm.io.writing.output import check_output, replaced_stream
from easyzloc_mm.microscope.protocol import Microscope
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.typing import IfExists, IfExistsResume, Progress

if TYPE_CHECKING:
    from easyzloc_mm.model.accuracy import EvaluationResult
    from easyzloc_mm.training.train import TrainReport

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Calibration:
    """What a calibration made, and how good it is.

    Attributes
    ----------
    out : Path
        Folder of everything below.
    acquired : AcquisitionReport
        Bead stacks, ``stacks.ome.zarr``.
    beads : BeadDataset
        Bead data set, ``beads.zarr``.
    model : Model
        Model bundle, ``model``.
    training : TrainReport
        How long the training took and what it reached.
    """

    out: Path
    acquired: AcquisitionReport
    beads: BeadDataset
    model: Model
    training: TrainReport

    @property
    def accuracy(self) -> EvaluationResult:
        """On held-out beads, as the model's card keeps it."""
        accuracy = self.model.card.accuracy
        assert accuracy is not None, "a training ends with an evaluation"
        return accuracy


def acquire_beads(
    microscope: Microscope,
    out: str | Path,
    *,
    if_exists: IfExistsResume = "error",
    progress: Progress | None = None,
) -> AcquisitionReport:
    """Photograph beads through focus at several fields of view, by the bead plan of the microscope's profile.

    Parameters
    ----------
    microscope : Microscope
        Connected, the bead slide in focus.
    out : path
        ``NAME.ome.zarr``, written in place: whatever ends the acquisition, complete planes stay readable.
    if_exists : {'error', 'overwrite', 'resume'}
        'resume' continues an interrupted acquisition of the same plan.
    progress : callable, optional
        Given (message, fraction).

    Raises
    ------
    InputError
        The plan leaves the limits or `out` cannot be written, and nothing has moved; or there are no beads to focus on.
    HardwareError
        A device failed; the message says how many planes are kept.

    Examples
    --------
    >>> profile = ez.load_profile("demo").replace(beads={"fovs": 2, "z_step_nm": 100.0})
    >>> with ez.connect(profile) as microscope:
    ...     acquired = ez.acquire_beads(microscope, "stacks.ome.zarr")
    >>> acquired.out.name
    'stacks.ome.zarr'
    """
    from easyzloc_mm.acquire.beads.acquire import acquire_bead_stacks

    return acquire_bead_stacks(microscope, microscope.profile, Path(out), if_exists=if_exists, progress=progress)


def build_beads(
    sources: AcquisitionReport | str | Path | Sequence[str | Path],
    out: str | Path | None = None,
    *,
    report: str | Path | None = None,
    rois: bool = False,
    pixel_size_nm: float | None = None,
    z_step_nm: float | None = None,
    baseline_adu: float | None = None,
    electrons_per_adu: float | None = None,
    excess_noise: float | None = None,
    camera_map: str | Path | None = None,
    roi_px: int | None = None,
    partial: bool = False,
    rules: str = "default",
    if_exists: IfExists = "error",
    progress: Progress | None = None,
) -> BeadDataset:
    """Find, judge, align and label the beads of bead stacks.

    Parameters
    ----------
    sources : AcquisitionReport, path or sequence of paths
        Bead stacks as they were acquired, or files: OME-Zarr, TIFF, folders of TIFFs, NDTiff.
    out : path, optional
        Also write the data set, ``beads.zarr``, and its report beside it.
    report : path, optional
        Folder of the report, if it shall lie elsewhere.
    rois : bool
        The one source holds ready-cut ROIs, (n, z, y, x); `camera_map`, `roi_px` and `partial` are then left out.
    pixel_size_nm, z_step_nm, baseline_adu, electrons_per_adu, excess_noise : float, optional
        Where the files do not say; `excess_noise` is 2 with EM gain, 1 without.
    camera_map : path, optional
        Units of each pixel, ``camera.zarr``, of the camera ROI of the stacks: for sCMOS cameras.
    roi_px : int, optional
        Edge of the crops that the beads' regions are to hold, odd, 15 to 31; as large as their light needs, without it.
    partial : bool
        Use what is there of a set of several files of which some are missing.
    rules : {'default', 'paper'}
        Who judges and labels: our rules, or the published ones.
    if_exists : {'error', 'overwrite'}
        What becomes of an `out` or a report that is there already.
    progress : callable, optional
        Given (message, fraction).

    Raises
    ------
    InputError
        A source cannot be read, is no calibration, the sources do not belong together, or an option cannot be.

    References
    ----------
    .. [1] Boland et al., "Model-free machine learning-based 3D single molecule localisation microscopy", Journal of
       Microscopy (2025), doi:10.1111/jmi.13420.

    Examples
    --------
    >>> beads = ez.build_beads("stacks.ome.zarr", "beads.zarr")
    >>> bool(beads.accepted.any())
    True
    """
    from easyzloc_mm.beads.camera_response import warn_of_noise
    from easyzloc_mm.beads.quality.judge import Rules
    from easyzloc_mm.beads.report.page import bead_report_folder, write_bead_report
    from easyzloc_mm.beads.sources import beads_from_sources

    check_bead_options(
        rules, rois=rois, roi_px=roi_px, partial=partial, camera_map=camera_map, pixel_nm=pixel_size_nm,
        step_nm=z_step_nm,
    )  # fmt: skip
    page = None
    if out is not None:
        inputs = _paths(sources)
        out = check_output(Path(out), Kind.BEAD_SET, if_exists=if_exists, inputs=inputs)
        page = bead_report_folder(out) if report is None else Path(report)
        check_output(page, Kind.REPORT, if_exists=if_exists, inputs=inputs)
    beads = beads_from_sources(
        _paths(sources),
        rois=rois,
        pixel_size_nm=pixel_size_nm,
        z_step_nm=z_step_nm,
        baseline_adu=baseline_adu,
        electrons_per_adu=electrons_per_adu,
        excess_noise=excess_noise,
        camera_map=None if camera_map is None else Path(camera_map),
        roi_px=roi_px,
        partial=partial,
        rules=Rules(rules),
        progress=progress,
    )
    warn_of_noise(beads)
    accepted = int(beads.accepted.sum())
    logger.info("beads: %d of %d accepted", accepted, len(beads.accepted))
    if out is not None and page is not None:
        write_bead_set(out, beads, if_exists=if_exists)
        write_bead_report(beads, page)
    return beads


def train(
    beads: BeadDataset | str | Path,
    out: str | Path,
    *,
    recipe: str = "matched",
    minutes: float = 10.0,
    steps: int | None = None,
    seed: int = 0,
    roi_px: int | None = None,
    like: str | Path | None = None,
    start_from: str | Path | Model | None = None,
    settings: str | Path | None = None,
    if_exists: IfExists = "error",
    progress: Progress | None = None,
) -> Model:
    """Learn z from beads: write a model bundle with its report.

    Parameters
    ----------
    beads : BeadDataset or path of a ``beads.zarr``
    out : path
        Folder of the bundle. An interrupted training continues where it stopped.
    recipe : {'matched', 'paper'}
        Ours, or the paper's.
    minutes : float
        Time budget.
    steps : int, optional
        Length in steps, in place of `minutes`: the same result on a slow machine as on a fast one.
    seed : int
        Of everything that is drawn at random.
    roi_px : int, optional
        Edge of the crops, odd, 15 to 31; as large as the light of the beads needs, without it.
    like : path, optional
        A movie whose photons and background the training shall match.
    start_from : Model or path, optional
        An earlier model to train further: a minute is then enough.
    settings : path, optional
        What a hyper-parameter search (`tune`) found.
    if_exists : {'error', 'overwrite'}
        What becomes of a bundle that is there already.
    progress : callable, optional
        Given (message, fraction).

    Raises
    ------
    InputError
        No bead is accepted, or an option does not fit.

    References
    ----------
    .. [1] Boland et al., "Model-free machine learning-based 3D single molecule localisation microscopy", Journal of
       Microscopy (2025), doi:10.1111/jmi.13420.

    Examples
    --------
    >>> trained = ez.train("beads.zarr", "my_model", steps=50)
    >>> trained.card.recipe.value
    'matched'
    """
    need_backend()
    from easyzloc_mm.beads.camera_response import warn_of_noise
    from easyzloc_mm.localization.offline.in_frames import evaluate_in_frames
    from easyzloc_mm.localization.offline.movie_emitters import emitter_prior
    from easyzloc_mm.passport.write import into_bundle
    from easyzloc_mm.training.train import train as run

    check_recipe(recipe)
    given = [Path(item) for item in (beads, like, settings) if isinstance(item, str | Path)]
    earlier = None if start_from is None else as_model(start_from).path
    out = check_output(Path(out), Kind.MODEL, if_exists=if_exists, inputs=[*given, *([earlier] if earlier else [])])
    data = beads if isinstance(beads, BeadDataset) else read_bead_set(Path(beads))
    warn_of_noise(data)
    matched = None
    if settings is not None:
        from easyzloc_mm.training.search import read_settings

        matched = read_settings(Path(settings))
    report = run(
        data,
        out,
        recipe=recipe,
        minutes=minutes,
        steps=steps,
        seed=seed,
        roi_px=roi_px,
        if_exists=if_exists,
        emitters=None if like is None else emitter_prior(Path(like), data.response),
        start_from=earlier,
        settings=matched,
        in_frames=evaluate_in_frames,
        passport=into_bundle(),
        progress=progress,
    )
    return Model(Model.load(out).card, report)


def calibrate(
    profile: Profile | str,
    out: str | Path,
    *,
    recipe: str = "matched",
    minutes: float = 10.0,
    steps: int | None = None,
    seed: int = 0,
    if_exists: IfExistsResume = "error",
    progress: Progress | None = None,
) -> Calibration:
    """Calibrate before an imaging session: photograph beads, label them, train, evaluate.

    Parameters
    ----------
    profile : Profile or str
        The instrument and its bead plan; or the name or file of a profile.
    out : path
        Folder that receives ``stacks.ome.zarr``, ``beads.zarr``, ``beads_report/`` and ``model/``.
    recipe, minutes, steps, seed
        Of the training, as for `train`.
    if_exists : {'error', 'overwrite', 'resume'}
        What becomes of a folder that is there already. 'overwrite' sets it aside until the new calibration is whole;
        'resume' continues one that was interrupted, from the planes and the training steps that it has.
    progress : callable, optional
        Given (message, fraction) of each step.

    Raises
    ------
    InputError
        The plan or the output is impossible; nothing moved.
    HardwareError
        The instrument failed; the planes acquired so far are kept in ``stacks.ome.zarr``.

    References
    ----------
    .. [1] Boland et al., "Model-free machine learning-based 3D single molecule localisation microscopy", Journal of
       Microscopy (2025), doi:10.1111/jmi.13420.

    Examples
    --------
    >>> profile = ez.load_profile("demo").replace(beads={"fovs": 2, "z_step_nm": 100.0})
    >>> calibration = ez.calibrate(profile, "today", steps=50)
    >>> calibration.model.path.name
    'model'
    """
    need_backend()  # before an hour at the microscope
    from easyzloc_mm.beads.quality.plausible import check_against_optics
    from easyzloc_mm.localization.offline.in_frames import evaluate_in_frames
    from easyzloc_mm.microscope.connect import connect
    from easyzloc_mm.passport.write import into_bundle
    from easyzloc_mm.training.train import train as run

    def step(name: str) -> Progress | None:
        return None if progress is None else lambda message, fraction: progress(f"{name}: {message}", fraction)

    loaded = profile if isinstance(profile, Profile) else load_profile(profile)
    settings = {
        "recipe": recipe,
        "minutes": minutes,
        "steps": steps,
        "seed": seed,
        "profile": loaded.model_dump(mode="json"),
    }
    going_on = if_exists == "resume"
    check_recipe(recipe)  # before an hour at the microscope, too
    check_plan(loaded.beads)
    check_camera_map(loaded.camera)
    if going_on:
        check_begun(Path(out))
    with replaced_stream(Path(out), Kind.CALIBRATION, if_exists=if_exists) as folder, ExitStack() as session:
        microscope = session.enter_context(connect(loaded))
        folder.mkdir(exist_ok=going_on)
        with run_log("calibration", settings, folder / LOG):
            acquired = acquire_beads(
                microscope,
                folder / "stacks.ome.zarr",
                if_exists="resume" if going_on else "error",
                progress=step("photographing beads"),
            )
            session.close()  # nothing that follows needs the microscope
            beads = build_beads(
                acquired,
                folder / "beads.zarr",
                camera_map=loaded.camera.map,
                if_exists="overwrite" if going_on else "error",
                progress=step("judging and aligning beads"),
            )
            check_against_optics(beads, loaded.optics)
            training = run(
                beads, folder / "model", recipe=recipe, minutes=minutes, steps=steps, seed=seed,
                in_frames=evaluate_in_frames, passport=into_bundle(loaded), progress=step("training"),
            )  # fmt: skip
            return Calibration(folder, acquired, beads, Model.load(folder / "model", loaded), training)


def _paths(sources: AcquisitionReport | str | Path | Sequence[str | Path]) -> list[Path]:
    if isinstance(sources, AcquisitionReport):
        return [sources.out]
    return [Path(sources)] if isinstance(sources, str | Path) else [Path(source) for source in sources]
