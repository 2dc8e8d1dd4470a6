"""A process that reads files, one after the other, and says what came of it: run as ``python -m tests.fuzz.victim``.

A line of its input is a reader and a path, separated by a tab; a line of its output is the outcome, the memory (MB)
that the process has taken beyond what whole files take, and a word on it.
"""

from __future__ import annotations

import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from easyzloc_mm._processes import peak_bytes
from easyzloc_mm.errors import EasyZlocWarning, InputError

FEW = 4
LONGEST_SENTENCE = 700
SPARE_BYTES = 4 << 30
"""Address space beyond the present one, so that a runaway ends with an error and not with the machine."""


def read_movie(path: Path) -> None:
    from easyzloc_mm.io.images.movies import open_movie

    movie = open_movie(path)
    frames = movie.shape[0]
    movie.read(0, min(frames, FEW))
    movie.read(max(0, frames - FEW), frames)


def read_stacks(path: Path) -> None:
    from easyzloc_mm.io.beads.stacks import open_bead_stacks

    for stack in open_bead_stacks(path, z_step_nm=50.0, pixel_size_nm=110.0)[:FEW]:
        _ = stack.pixels[:FEW]


def read_run(path: Path) -> None:
    from easyzloc_mm.locs.run import Run

    run = Run.open(path)
    _ = run.metadata, run.status, len(run.locs())
    if run.has_frames:
        frames = run.frames()
        frames.read(0, min(frames.shape[0], FEW))


def read_psf(path: Path) -> None:
    from easyzloc_mm.model.predictor import Predictor

    _ = Predictor.load(path).psf


def read_network(path: Path) -> None:
    from easyzloc_mm.model.predictor import Predictor

    _ = Predictor.load(path)._session


def readers() -> dict[str, Callable[[Path], Any]]:
    from easyzloc_mm.acquire.plans.plan import ScanPlan
    from easyzloc_mm.acquire.scans.ledger import read_ledger
    from easyzloc_mm.api.analysing.verify import verify
    from easyzloc_mm.io.beads.dataset import read_bead_set
    from easyzloc_mm.io.beads.rois import read_roi_stacks
    from easyzloc_mm.io.camera_map import read_camera_map
    from easyzloc_mm.io.places.read import read_places
    from easyzloc_mm.io.profiles import load_profile
    from easyzloc_mm.io.runs.ground_truth import read_record
    from easyzloc_mm.io.tables.complete import read_2d_table
    from easyzloc_mm.io.tables.picasso.picks import read_picks
    from easyzloc_mm.io.tables.truth import read_truth
    from easyzloc_mm.locs.locs import Locs
    from easyzloc_mm.model.card import ModelCard

    return {
        "table": lambda path: Locs.load(path, pixel_size_nm=110.0),
        "2d": lambda path: read_2d_table(path, 110.0),
        "truth": lambda path: read_truth(path, 110.0),
        "movie": read_movie,
        "stacks": read_stacks,
        "rois": read_roi_stacks,
        "run": read_run,
        "record": lambda path: read_record(path.with_suffix(".zarr"), "emitters"),
        "beads": read_bead_set,
        "camera": read_camera_map,
        "card": ModelCard.load,
        "psf": read_psf,
        "network": read_network,
        "ledger": read_ledger,
        "verify": lambda path: verify(path),
        "profile": load_profile,
        "plan": ScanPlan.from_file,
        "picks": read_picks,
        "positions": read_places,
    }


def outcome(read: Callable[[Path], Any], path: Path) -> tuple[str, str]:
    """Return ``result``, ``refused`` or ``fault``, and a word on it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", EasyZlocWarning)
            warnings.showwarning = lambda *_args, **_others: None
            read(path)
    except InputError as error:
        sentence = str(error)
        if "\n" in sentence or len(sentence) > LONGEST_SENTENCE:
            return "fault", f"a sentence of {len(sentence)} characters: {sentence[:200]!r}"
        return "refused", sentence.replace("\t", " ")
    except BaseException:  # whatever else comes out of a reader is what this looks for
        lines = traceback.format_exc().strip().splitlines()
        places = [line.strip() for line in lines if "easyzloc_mm" in line and line.strip().startswith("File")]
        return "fault", " <- ".join([lines[-1][:300], *places[::-1][:3]]).replace("\t", " ")
    return "result", ""


def _bounded() -> None:
    """Bound the address space, where the system can."""
    if sys.platform == "win32":
        return
    import resource

    status = Path("/proc/self/statm")
    if status.is_file():
        now = int(status.read_text("ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + SPARE_BYTES, resource.RLIM_INFINITY))


def main() -> None:
    """Read until the input ends. The first line names whole files, which are read to load all that reading needs."""
    known = readers()
    baseline = 0
    for line in sys.stdin:
        name, path = line.rstrip("\n").split("\t")
        if name == "begin":
            _bounded()
            baseline = peak_bytes()
            print("begun\t0\t", flush=True)
            continue
        what, word = outcome(known[name], Path(path))
        taken = (peak_bytes() - baseline) // 2**20 if baseline else 0
        print(f"{what}\t{taken}\t{' '.join(word.split())}", flush=True)


if __name__ == "__main__":
    main()
