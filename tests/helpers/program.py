"""The program as a person starts it, and the profile of a small embedded microscope."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from easyzloc_mm.cli.app import main
from easyzloc_mm.errors import EasyZlocWarning
from easyzloc_mm.io.profiles import shipped_profiles
from tests.helpers.paths import ROOT
from tests.helpers.patience import PATIENCE_S

SIZE_PX = 192
FRAMES = 80
PROGRAM = (sys.executable, "-m", "easyzloc_mm")


def write_profile(folder: Path, **changes: str) -> Path:
    """Write the demo profile with a small camera and short plans, as a person would edit it."""
    text = shipped_profiles()["demo"].read_text(encoding="utf-8")
    edits = {
        "width_px = 512": f"width_px = {SIZE_PX}",
        "height_px = 512": f"height_px = {SIZE_PX}",
        "z_start_nm = -1500.0": "z_start_nm = -1200.0",
        "z_stop_nm = 1500.0": "z_stop_nm = 1200.0",
        "z_step_nm = 25.0": "z_step_nm = 50.0",
        "fov_spacing_um = 80.0": "fov_spacing_um = 30.0",
        "frames = 6000": f"frames = {FRAMES}",
        **changes,
    }
    for old, new in edits.items():
        assert old in text, old
        text = text.replace(old, new)
    path = folder / "small.toml"
    path.write_text(text, encoding="utf-8")
    return path


def command(*arguments: str | Path, patience_s: float = PATIENCE_S) -> dict[str, Any]:
    """Run a command that must succeed; its JSON is the last line of standard output."""
    return _run(PROGRAM, arguments, patience_s=patience_s)


def calibrate_briefly(profile: Path, out: Path) -> dict[str, Any]:
    """Calibrate by the command, with few steps, and few molecules to calibrate and judge the model by."""
    program = (sys.executable, "-m", "tests.helpers.brief_program")
    return _run(program, ("calibrate", "--profile", profile, "--out", out, "--steps", "100"), cwd=ROOT)


def command_here(*arguments: str | Path) -> dict[str, Any]:
    """Run a command that must succeed in this process, which saves the start of another."""
    said = io.StringIO()
    with redirect_stdout(said), warnings.catch_warnings():
        warnings.simplefilter("ignore", EasyZlocWarning)  # a person would read them
        code = main([*map(str, arguments), "--json"])
    assert code == 0, said.getvalue()
    return dict(json.loads(said.getvalue().splitlines()[-1]))


def _run(
    program: Sequence[str], arguments: Sequence[str | Path], *, patience_s: float = PATIENCE_S, cwd: Path | None = None
) -> dict[str, Any]:
    outcome = subprocess.run(
        [*program, *map(str, arguments), "--json"],
        capture_output=True, text=True, timeout=patience_s, check=False, cwd=cwd,
    )  # fmt: skip
    assert outcome.returncode == 0, outcome.stderr
    return dict(json.loads(outcome.stdout.splitlines()[-1]))
