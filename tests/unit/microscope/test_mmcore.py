"""The types of the boundary to MMCore hold exactly the calls that are made, no more and no fewer."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import easyzloc_mm
from easyzloc_mm.microscope.mmcore import CALLS, MMCore
from easyzloc_mm.simulator.embedded.demo_core import DemoCore
from tests.helpers.bridge_server import METHODS

PACKAGE = Path(easyzloc_mm.__file__).parent
CORES = ("core", "remote")
"""Names that an MMCore object has in the package, as a variable or as a private attribute."""


def _is_core(node: ast.expr) -> bool:
    if isinstance(node, ast.Name):
        return node.id in CORES
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "type":
        return _is_core(node.args[0])
    return isinstance(node, ast.Attribute) and node.attr in [f"_{name}" for name in CORES]


def calls_in(folder: Path) -> set[str]:
    """Every public attribute of a core that a package's modules name."""
    return {
        node.attr
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and _is_core(node.value) and not node.attr.startswith("_")
    }


def methods(protocol: type) -> set[str]:
    return {name for name in vars(protocol) if not name.startswith("_")}


def test_the_microscope_makes_exactly_the_calls_of_its_type() -> None:
    assert calls_in(PACKAGE / "microscope") - {"split"} == methods(MMCore) == CALLS


def test_the_embedded_camera_makes_exactly_the_calls_of_its_type() -> None:
    assert calls_in(PACKAGE / "simulator" / "embedded") == methods(DemoCore)


@pytest.mark.parametrize("name", sorted(CALLS))
def test_every_call_states_its_thread_and_what_it_reaches(name: str) -> None:
    text = " ".join(str(vars(MMCore)[name].__doc__).split())
    assert re.search(r"(Device|Caller's|Either) thread; (devices?|memory)\b", text)


def test_the_bridge_under_test_serves_the_same_calls() -> None:
    # Micro-Manager has loaded its configuration before this program comes.
    called = {name.replace("_", "") for name in CALLS - {"load_system_configuration"}}
    assert {name.lower() for name in METHODS} == called
