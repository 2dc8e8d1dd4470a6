"""Live 3D runs on a grid of fields around a place, one store per field.

    python scan_fields.py --profile my_microscope.toml --model today/model --at 5000 0 --grid 3 2 --out scan1

Started again with the same arguments it goes on where it was stopped. For wells and hand-picked cells write
a plan file and use `easyzloc-mm scan --plan`.
"""

import argparse
from pathlib import Path

import easyzloc_mm as ez


def main() -> None:
    """Lay out a grid and image it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--profile", default="demo", help="a .toml file, or the name of a shipped profile")
    parser.add_argument("--model", type=Path, required=True, help="model folder of the calibration")
    parser.add_argument("--at", type=float, nargs=2, required=True, metavar=("X_UM", "Y_UM"))
    parser.add_argument("--grid", type=int, nargs=2, default=(2, 2), metavar=("COLUMNS", "ROWS"))
    parser.add_argument("--spacing-um", type=float, help="default: one field of view")
    parser.add_argument("--frames", type=int, help="per field; default: the profile's imaging.frames")
    parser.add_argument("--out", type=Path, required=True, help="folder: one run per field and the ledger")
    options = parser.parse_args()

    profile = ez.load_profile(options.profile)
    model = ez.Model.load(options.model, profile)
    field_um = profile.camera.width_px * profile.optics.pixel_size_nm / 1000
    plan = ez.ScanPlan(
        name=options.out.name,
        frames=options.frames,
        grid=ez.Grid(
            first_um=tuple(options.at),
            columns=options.grid[0],
            rows=options.grid[1],
            spacing_um=options.spacing_um or field_um,
        ),
    )

    with ez.connect(profile) as microscope:  # stages go back and the shutter closes, whatever happens in here
        scan = ez.scan(microscope, plan, model, options.out, progress=say)
    print(
        f"{scan.done} fields imaged, {scan.already_done} were done before; "
        f"{scan.localizations} localisations in {scan.frames} frames: {scan.out}"
    )


def say(message: str, fraction: float) -> None:
    """Show progress on one line."""
    print(f"\r{fraction:4.0%} {message:<70}", end="\n" if fraction >= 1 else "", flush=True)


if __name__ == "__main__":
    main()
