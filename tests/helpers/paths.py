"""Where things lie in the source tree."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HELPERS = ROOT / "tests" / "helpers"
SCRIPTS = ROOT / "acquisition_scripts"
DEMO_PROFILE = ROOT / "hardware_profiles" / "demo.toml"
DATA = ROOT / "tests" / "data"
"""Small real recordings; its README says where each comes from."""
SHARED_DATA = ROOT.parent / "shared" / "data"
"""Real recordings that are not part of the repository; may be absent."""
