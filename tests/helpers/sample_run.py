"""A run of molecules of known optics, maybe others than the beads', with its movie and the beads' model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import tifffile

from easyzloc_mm.benchmarks.second_optics.datasets import profile_of
from easyzloc_mm.benchmarks.second_optics.exact import exact_psf
from easyzloc_mm.benchmarks.second_optics.lens import Lens
from easyzloc_mm.benchmarks.second_optics.microscope import SecondMicroscope
from easyzloc_mm.camera.crops import ROI_PX
from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.io.runs.localizations import COLUMNS_2D, COLUMNS_Z, LocalizationWriter
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.model.card import PSF_FILE
from easyzloc_mm.model.emitter_prior import EmitterPrior
from easyzloc_mm.psf.bead_psf import BeadPsfs, knots_of
from easyzloc_mm.psf.field_psf import FieldPsf
from easyzloc_mm.training.emitters import EmitterImages, simulate_emitters
from tests.helpers.localize_bench import BASELINE, GAIN, small_bundle

MICROSCOPE = SecondMicroscope()
PROFILE = profile_of(MICROSCOPE)
BEADS = Lens(field_coma_rad=0.0, field_astigmatism_rad=0.0)
SAMPLE = BEADS.model_copy(update={"spherical_rad": BEADS.spherical_rad + 0.25, "coma_rad": (0.22, -0.08)})
ADDED = np.array([0.0, 0.0, 0.0, 0.1, 0.25, 0.0])
"""What SAMPLE has and BEADS have not, by the terms in `psf.pupil.change.CHANGING`."""
FRAMES, PER_FRAME, APART_PX = 40, (4, 4), 30
SIDE_PX = 128
READ_NOISE_E = 1.6


def one_place(lens: Lens, roi_px: int = ROI_PX) -> FieldPsf:
    """The PSF of a lens in the form of a measured one, the same all over the field."""
    empty = np.zeros((1, 36, knots_of(roi_px), knots_of(roi_px)), np.float32)
    return exact_psf(lens, FieldPsf(empty, 0, -1400.0, 80.0, -1150.0, 1150.0))


def molecules(psf: FieldPsf, count: int, seed: int) -> EmitterImages:
    """Well-lit single molecules within 800 nm of focus."""
    emitters = EmitterPrior(
        photons=(2000.0, 4000.0), background=(30.0, 30.1), bad_fit_share=0.0, neighbour_share=0.0, z_limit_nm=800.0
    )
    source = BeadPsfs(psf.table((SIDE_PX, SIDE_PX)), (SIDE_PX, SIDE_PX), False, READ_NOISE_E)
    return simulate_emitters(source, emitters, count, seed)


def write_sample(folder: Path, beads: FieldPsf, sample: FieldPsf) -> None:
    """Write ``bead_model``, ``sample.tif`` and ``sample.zarr``; z of the run is the truth, to 50 nm."""
    small_bundle(folder / "bead_model", field=(SIDE_PX, SIDE_PX))
    beads.save(folder / "bead_model" / PSF_FILE)
    rows, columns = PER_FRAME
    count = FRAMES * rows * columns
    drawn = molecules(sample, count, seed=1)
    rng = np.random.default_rng(2)
    grid = APART_PX * np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2) + 12
    # Every frame has them elsewhere: molecules do not come back to the same pixel.
    middle = np.tile(grid, (FRAMES, 1)) + np.repeat(rng.integers(0, 18, (FRAMES, 2)), rows * columns, axis=0)
    frame = np.repeat(np.arange(FRAMES), rows * columns)
    movie = rng.poisson(30.0, (FRAMES, SIDE_PX, SIDE_PX)) + rng.normal(0, READ_NOISE_E, (FRAMES, SIDE_PX, SIDE_PX))
    half = ROI_PX // 2
    for crop, (x, y), t in zip(drawn.crops, middle, frame, strict=True):
        movie[t, y - half : y + half + 1, x - half : x + half + 1] = crop
    tifffile.imwrite(folder / "sample.tif", np.rint(movie / GAIN + BASELINE).astype(np.uint16))
    table = pd.DataFrame({name: np.ones(count, np.float32) for name in (*COLUMNS_2D, *COLUMNS_Z)})
    table = table.assign(
        frame=frame.astype(np.uint32),
        x=middle[:, 0] + drawn.x - np.rint(drawn.x),
        y=middle[:, 1] + drawn.y - np.rint(drawn.y),
        photons=drawn.photons,
        z=drawn.z_nm + rng.normal(0, 50, count),
        z_flag=np.zeros(count, np.uint8),
    )
    metadata = RunMetadata(
        pixel_size_nm=110.0, height_px=SIDE_PX, width_px=SIDE_PX, frames=FRAMES, complete=True,
        camera_response=CameraResponse(baseline_adu=BASELINE, electrons_per_adu=GAIN, read_noise_e=READ_NOISE_E),
        profile=PROFILE.model_dump(mode="json"),
    )  # fmt: skip
    with LocalizationWriter.create(folder / "sample.zarr", metadata) as writer:
        writer.append(table)
