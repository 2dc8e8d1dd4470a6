"""Calibrate before an imaging session: photograph a bead slide through focus, and learn z from it.

    python calibrate_before_imaging.py --profile my_microscope.toml --out today

Put a slide of sub-resolution beads on the stage and focus on it first. The folder given by --out then holds
the stacks, the bead data set and the model, which `live_3d.py` and `scan_fields.py` use.
"""

import argparse
from pathlib import Path

from easyzloc_mm.acquire.beads.acquire import acquire_bead_stacks
from easyzloc_mm.beads.build import build_bead_set
from easyzloc_mm.io.beads.dataset import write_bead_set
from easyzloc_mm.io.beads.stacks import open_bead_stacks
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.microscope.connect import connect
from easyzloc_mm.training.train import train


def main() -> None:
    """Photograph, judge, train."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--profile", default="demo", help="a .toml file, or the name of a shipped profile")
    parser.add_argument("--out", type=Path, required=True, help="new folder for stacks, beads and model")
    parser.add_argument("--minutes", type=float, default=10.0, help="training time")
    parser.add_argument("--steps", type=int, help="length of the training in steps, in place of --minutes")
    options = parser.parse_args()

    profile = load_profile(options.profile)
    options.out.mkdir()

    with connect(profile) as microscope:  # stages go back and the shutter closes, whatever happens in here
        taken = acquire_bead_stacks(microscope, profile, options.out / "stacks.ome.zarr", progress=say)
    print(f"photographed {taken.planes} planes of {taken.fovs} fields in {taken.seconds:.0f} s")

    beads = build_bead_set(
        open_bead_stacks(options.out / "stacks.ome.zarr"),
        profile.camera.response,
        profile.optics.pixel_size_nm,
        progress=say,
    )
    write_bead_set(options.out / "beads.zarr", beads)
    print(f"kept {beads.accepted.sum()} of {len(beads.accepted)} beads")

    trained = train(beads, options.out / "model", minutes=options.minutes, steps=options.steps, progress=say)
    print(f"z of held-out beads is good to {trained.rmse_z_nm:.0f} nm (RMSE); model: {options.out / 'model'}")


def say(message: str, fraction: float) -> None:
    """Show progress on one line."""
    print(f"\r{fraction:4.0%} {message:<70}", end="\n" if fraction >= 1 else "", flush=True)


if __name__ == "__main__":
    main()
