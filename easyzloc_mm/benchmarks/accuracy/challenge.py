"""`bench accuracy --real STACK --movie M --truth CSV`: a data set of the SMLM Challenge, from its beads to its scores.

References
----------
.. [1] D. Sage et al., "Super-resolution fight club: assessment of 2D and 3D single-molecule localization microscopy
   software", Nature Methods 16 (2019) 387, doi:10.1038/s41592-019-0364-4.
"""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from easyzloc_mm.api.analysing.analysis import score
from easyzloc_mm.api.calibrating.calibration import build_beads, train
from easyzloc_mm.api.imaging.movies import localize
from easyzloc_mm.typing import Progress

FIGURES = ("molecules", "found", "false", "recall", "precision", "jaccard", "rmse_lateral_nm", "rmse_axial_nm", "e3d",
           "rmse_z_nm", "coverage_68", "coverage_95", "flagged", "offset_x_nm", "offset_y_nm",
           "offset_z_nm")  # fmt: skip


def bench_challenge(
    stack: Path,
    movie: Path,
    truth: Path,
    *,
    pixel_size_nm: float,
    z_step_nm: float,
    electrons_per_adu: float,
    baseline_adu: float,
    minutes: float,
    keep: Path | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Calibrate on a bead stack, localise a movie, and score it by the challenge's rules [1]_.

    Parameters
    ----------
    stack : Path
        Bead stack, TIFF.
    movie : Path
        TIFF, or a folder with one TIFF for each frame.
    truth : Path
        Emitters in every frame: ``frame, xnano, ynano, znano, intensity`` (frames from 1, nm from the image's corner),
        or a table of another program.
    pixel_size_nm, z_step_nm : float
        Sampling of both.
    electrons_per_adu, baseline_adu : float
        Of the camera.
    minutes : float
        Of training.
    keep : Path, optional
        Keeps beads, model and run.
    seed : int
        Of the split and of training.
    progress : callable, optional
        Given (message, fraction).

    Returns
    -------
    dict
        `FIGURES`; ``unflagged``: counts of what carries no flag; ``bins`` by depth; ``beads``; ``minutes``.

    Raises
    ------
    InputError
        A file cannot be read, or no bead is accepted.
    """
    with tempfile.TemporaryDirectory() if keep is None else nullcontext(keep) as place:
        folder = Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        beads = build_beads(
            [stack], folder / "beads.zarr", pixel_size_nm=pixel_size_nm, z_step_nm=z_step_nm,
            baseline_adu=baseline_adu, electrons_per_adu=electrons_per_adu, if_exists="overwrite", progress=progress,
        )  # fmt: skip
        train(beads, folder / "model", minutes=minutes, seed=seed, if_exists="overwrite", progress=progress)
        run = folder / "run.zarr"
        localize(
            movie, folder / "model", run, pixel_size_nm=pixel_size_nm, baseline_adu=baseline_adu,
            electrons_per_adu=electrons_per_adu, if_exists="overwrite", progress=progress,
        )  # fmt: skip
        result = score(run, truth).model_dump(mode="json")
        chosen = {name: result.get(name) for name in (*FIGURES, "unflagged", "bins")}
        return {**chosen, "beads": int(beads.accepted.sum()), "minutes": minutes}
