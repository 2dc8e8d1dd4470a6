"""The program as a person starts it, and the profile of a small embedded microscope."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from easyzloc_mm.io.profiles import shipped_profiles
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


def command(*arguments: str | Path) -> dict[str, Any]:
    """Run a command that must succeed; its JSON is the last line of standard output."""
    outcome = subprocess.run(
        [*PROGRAM, *map(str, arguments), "--json"],
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert outcome.returncode == 0, outcome.stderr
    return dict(json.loads(outcome.stdout.splitlines()[-1]))
