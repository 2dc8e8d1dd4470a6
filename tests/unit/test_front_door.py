"""The public names: there, lazy, typed, and not hidden by a sub-package of the same name."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import easyzloc_mm as ez
from tests.helpers.paths import ROOT, SCRIPTS

SOURCE = ast.parse((ROOT / "easyzloc_mm" / "__init__.py").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ez.__all__)
def test_every_public_name_is_there_with_a_docstring(name: str) -> None:
    value = getattr(ez, name)
    assert value.__doc__


def test_type_checkers_see_the_names_that_are_loaded_lazily() -> None:
    checked = {
        alias.name
        for node in ast.walk(SOURCE)
        if isinstance(node, ast.If)
        for statement in node.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    homes = {name: f"easyzloc_mm.{home}" for name, home in ez._HOMES.items()}
    declared = {
        alias.name: node.module
        for node in ast.walk(SOURCE)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name in checked
    }
    assert declared == homes
    assert set(homes) < set(ez.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'localise'"):
        ez.localise  # noqa: B018


def test_no_sub_package_takes_the_place_of_a_public_name() -> None:
    """Importing ``easyzloc_mm.NAME`` would set the attribute NAME of the package to the module."""
    folders = {path.stem for path in (ROOT / "easyzloc_mm").iterdir()}
    assert not folders & set(ez.__all__)


def test_import_is_light() -> None:
    script = (
        "import sys, easyzloc_mm as ez\n"
        "ez.InputError, ez.__version__\n"
        "heavy = {'tensorflow', 'keras', 'picasso', 'pycromanager', 'numba', 'numpy', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "ez.load_profile, ez.connect, ez.live, ez.localize, ez.train, ez.Model\n"
        "heavy = {'tensorflow', 'keras', 'picasso', 'pycromanager', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT, timeout=120)


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.py")), ids=lambda path: path.stem)
def test_scripts_use_the_front_door_alone(script: Path) -> None:
    imported = [
        name
        for node in ast.walk(ast.parse(script.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    ]
    assert [name for name in imported if name.startswith("easyzloc_mm")] == ["easyzloc_mm"]
