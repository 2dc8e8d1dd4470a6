"""Calibrate before an imaging session: photograph a bead slide through focus, and learn z from it.

    python calibrate_before_imaging.py --profile my_microscope.toml --out today

Put a slide of sub-resolution beads on the stage and focus on it first. The folder given by --out then holds
the stacks, the bead data set and the model, which `live_3d.py` and `scan_fields.py` use.
"""

import argparse
from pathlib import Path

import easyzloc_mm as ez


def main() -> None:
    """Photograph, judge, train."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--profile", default="demo", help="a .toml file, or the name of a shipped profile")
    parser.add_argument("--out", type=Path, required=True, help="new folder for stacks, beads and model")
    parser.add_argument("--minutes", type=float, default=10.0, help="training time")
    parser.add_argument("--steps", type=int, help="length of the training in steps, in place of --minutes")
    options = parser.parse_args()

    profile = ez.load_profile(options.profile)
    with ez.connect(profile) as microscope:  # stages go back and the shutter closes, whatever happens in here
        options.out.mkdir()
        stacks = ez.acquire_beads(microscope, options.out / "stacks.ome.zarr", progress=say)
    print(f"photographed {stacks.planes} planes of {stacks.fovs} fields in {stacks.seconds:.0f} s")

    beads = ez.build_beads(stacks, options.out / "beads.zarr", camera_map=profile.camera.map, progress=say)
    print(f"kept {beads.accepted.sum()} of {len(beads)} beads")

    model = ez.train(beads, options.out / "model", minutes=options.minutes, steps=options.steps, progress=say)
    print(model.evaluate(beads).summary, f"Model: {model.path}")


def say(message: str, fraction: float) -> None:
    """Show progress on one line."""
    print(f"\r{fraction:4.0%} {message:<70}", end="\n" if fraction >= 1 else "", flush=True)


if __name__ == "__main__":
    main()
