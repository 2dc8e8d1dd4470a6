"""The whole calibration before an imaging session: photograph beads, label them, train, report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from easyzloc_mm.io.output import check_output, remove
from easyzloc_mm.profile.schema import Profile
from easyzloc_mm.typing import IfExists, Progress


@dataclass(frozen=True)
class CalibrationReport:
    """What a calibration made, and how good it is.

    Attributes
    ----------
    stacks, beads, model : Path
        Bead stacks, bead data set and model bundle.
    found, accepted : int
        Beads seen and beads kept.
    rejected : dict of str to int
        Reason to count.
    training : dict
        As `network.train` reports it.
    accuracy : dict
        As `network.evaluate` reports it on held-out beads.
    """

    stacks: Path
    beads: Path
    model: Path
    found: int
    accepted: int
    rejected: dict[str, int]
    training: dict[str, Any]
    accuracy: dict[str, Any]


def calibrate(
    profile: Profile,
    out: Path,
    *,
    recipe: str = "matched",
    minutes: float = 10.0,
    steps: int | None = None,
    seed: int = 0,
    if_exists: IfExists = "error",
    progress: Callable[[str], Progress] | None = None,
) -> CalibrationReport:
    """Acquire bead stacks through the profile's plan, build the bead data set, train and evaluate a model.

    Parameters
    ----------
    profile : Profile
        The instrument and its bead plan.
    out : Path
        Folder that receives ``stacks.ome.zarr``, ``beads.zarr``, ``beads_report/`` and ``model/``.
    recipe : {"matched", "paper"}
        How the network is trained.
    minutes : float
        Time budget of the training.
    steps : int, optional
        Steps of the training in place of `minutes`.
    progress : callable, optional
        Given the name of a step, returns that step's ``(message, fraction)`` callback.

    Raises
    ------
    InputError
        The plan or the output is impossible; nothing moved.
    HardwareError
        The instrument failed; the planes acquired so far are kept in ``stacks.ome.zarr``.
    """
    from easyzloc_mm.acquire.beads.acquire import acquire_bead_stacks
    from easyzloc_mm.beads.build import build_bead_set, count_reasons
    from easyzloc_mm.beads.report.page import write_bead_report
    from easyzloc_mm.io.beads.dataset import write_bead_set
    from easyzloc_mm.io.beads.stacks import open_bead_stacks
    from easyzloc_mm.microscope.connect import connect
    from easyzloc_mm.model.bundle import ModelBundle
    from easyzloc_mm.training.evaluation.evaluate import evaluate
    from easyzloc_mm.training.train import train

    def step(name: str) -> Progress | None:
        return progress(name) if progress else None

    out = check_output(Path(out), if_exists=if_exists)
    remove(out)
    out.mkdir()
    stacks_path, beads_path, model_path = out / "stacks.ome.zarr", out / "beads.zarr", out / "model"
    with connect(profile) as microscope:
        acquire_bead_stacks(microscope, profile, stacks_path, progress=step("photographing beads"))
    bead_set = build_bead_set(
        open_bead_stacks(stacks_path),
        profile.camera.response,
        profile.optics.pixel_size_nm,
        progress=step("judging and aligning beads"),
    )
    write_bead_set(beads_path, bead_set)
    write_bead_report(bead_set, out / "beads_report")
    training = train(
        bead_set, model_path, recipe=recipe, minutes=minutes, steps=steps, seed=seed, progress=step("training")
    )
    accuracy = evaluate(ModelBundle.load(model_path, profile), bead_set)
    return CalibrationReport(
        stacks=stacks_path,
        beads=beads_path,
        model=model_path,
        found=len(bead_set.accepted),
        accepted=int(bead_set.accepted.sum()),
        rejected=count_reasons(bead_set),
        training=training.as_dict(),
        accuracy=accuracy,
    )
