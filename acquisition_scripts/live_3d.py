"""Image molecules and localise them in 3D while the camera runs.

    python live_3d.py --profile my_microscope.toml --model today/model --out cell1.zarr

Ctrl-C ends the run early; what was localised until then is kept.
"""

import argparse
from pathlib import Path

import easyzloc_mm as ez


def main() -> None:
    """Connect, go to the sample, stream."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--profile", default="demo", help="a .toml file, or the name of a shipped profile")
    parser.add_argument("--model", type=Path, required=True, help="model folder of the calibration")
    parser.add_argument("--out", type=Path, required=True, help="run to write, RUN.zarr")
    parser.add_argument("--frames", type=int, help="instead of the profile's imaging.frames")
    options = parser.parse_args()

    profile = ez.load_profile(options.profile)
    model = ez.Model.load(options.model, profile)  # refuses a model of another camera or pixel size

    with ez.connect(profile) as microscope:  # stages go back and the shutter closes, whatever happens in here
        run = ez.live(microscope, model, options.out, frames=options.frames, progress=say).as_dict()
    print(
        f"{run['localizations']} localisations in {run['frames']} frames ({run['frames_lost']} lost) at "
        f"{run['frames_per_s']:.1f} frames/s, 95 % of them within {run['p95_latency_s']:.2f} s: {run['out']}"
    )


def say(message: str, fraction: float) -> None:
    """Show progress on one line."""
    print(f"\r{fraction:4.0%} {message[:110]:<110}", end="\n" if fraction >= 1 else "", flush=True)


if __name__ == "__main__":
    main()
