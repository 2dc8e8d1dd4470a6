"""Runs a script of the Script Panel in the interpreter that Micro-Manager has, with stand-ins for its API."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.helpers.patience import PATIENCE_S

JAR = "EASYZLOC_BEANSHELL_JAR"
"""Environment variable: where BeanShell's interpreter lies, if not in Maven's folder."""
MAVEN = Path.home() / ".m2" / "repository"
STAND_INS = """
core() {
    getImageWidth() { return 256L; }
    getImageHeight() { return 128L; }
    getROI() { return new java.awt.Rectangle(16, 32, 256, 128); }
    getExposure() { return 25.0; }
    isSequenceRunning() { return SEQUENCE; }
    return this;
}
list() {
    getNumberOfPositions() { return POSITIONS; }
    save(String path) { w = new java.io.FileWriter(path); w.write("{}"); w.close(); }
    return this;
}
manager() { getPositionList() { return list(); } return this; }
panel() { message(String text) { print(text); } return this; }
studio() { scripter() { return panel(); } positions() { return manager(); } return this; }
mmc = core();
mm = studio();
"""
"""The calls that the script makes, as Micro-Manager 2's published interfaces have them."""


def run_in_panel(script: str, folder: Path, *, positions: int = 0, camera_running: bool = False) -> list[str]:
    """Run a script and return the lines that it puts into the panel; skip the test where there is no interpreter."""
    known = [Path(os.environ.get(JAR, "")), *MAVEN.glob("org/**/bsh-2*.jar")]
    jar = next((path for path in known if path.is_file()), None)
    java = shutil.which("java")
    if jar is None or java is None:
        pytest.skip(f"no BeanShell: install Java, and name its interpreter in {JAR}")
    mocks = STAND_INS.replace("POSITIONS", str(positions)).replace("SEQUENCE", str(camera_running).lower())
    file = folder / "panel.bsh"
    file.write_text(mocks + script, encoding="utf-8")
    done = subprocess.run(
        [java, "-Djava.awt.headless=true", "-XX:TieredStopAtLevel=1", "-cp", str(jar), "bsh.Interpreter", str(file)],
        capture_output=True, text=True, timeout=PATIENCE_S, cwd=folder, check=False,
    )  # fmt: skip
    assert not done.stderr.strip(), done.stderr
    return done.stdout.splitlines()
