"""Every import is declared, nothing declared is unused, and an extra that is missing is one line that installs it."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from easyzloc_mm._extras import need
from easyzloc_mm.cli.app import main
from easyzloc_mm.errors import InputError
from tests.helpers.localize_bench import small_bundle

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OWN = {"easyzloc_mm", "tests"}
INSTALLED_AS = {
    "PIL": "pillow",
    "google_crc32c": "google-crc32c",
    "imageio_ffmpeg": "imageio-ffmpeg",
    "mm_test_adapters": "mm-test-adapters",
    "ome_zarr": "ome-zarr",
    "picasso": "picassosr",
    "pymmcore_plus": "pymmcore-plus",
    "skimage": "scikit-image",
    "useq": "useq-schema",
    "yaml": "pyyaml",
    "zmq": "pyzmq",
}
"""Packages that are imported under another name than they are installed by."""
NOT_IMPORTED = {
    "tensorflow": "Keras trains with it",
    "tf2onnx": "Keras exports to ONNX through it",
    "onnx": "tf2onnx writes with it; versions below 1.17 do not fit NumPy 2",
}
TOOLS = {"import-linter", "mkdocs-material", "mypy", "pandas-stubs", "pytest-timeout", "pytest-xdist", "ruff", "pyotf"}
"""In the extra `test`, and run rather than imported."""
USER_EXTRAS = {"demo", "tune", "video", "view", "cluster", "bench", "plans", "plus"}


def requirements(extra: str | None = None) -> set[str]:
    """Names of the packages that the base, or an extra with those that it includes, asks for."""
    listed = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    names: set[str] = set()
    for requirement in listed:
        matched = re.match(r"([\w.-]+)(?:\[([\w,]+)\])?", requirement)
        assert matched
        if matched[1] == "easyzloc-mm":
            names = names.union(*(requirements(other) for other in matched[2].split(",")))
        else:
            names.add(matched[1].lower())
    return names


def imports(folder: str) -> Iterator[tuple[str, Path, bool]]:
    """Yield every import of another package: its name on installation, the file, and if it runs with the file."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        if (
            "data" in path.relative_to(ROOT).parts
        ):  # what wrote the stores of an earlier version, and runs with that version only
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        typing_only = {
            id(node)
            for block in ast.walk(tree)
            if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
            for node in block.body
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module or ""]
            else:
                continue
            for top in {module.split(".")[0] for module in modules} - OWN - sys.stdlib_module_names:
                if id(node) not in typing_only:
                    yield INSTALLED_AS.get(top, top), path, node in tree.body


def test_every_import_is_declared() -> None:
    declared = requirements().union(*(requirements(extra) for extra in USER_EXTRAS))
    used = {name: path for name, path, _ in imports("easyzloc_mm")}
    assert not set(used) - declared, {name: used[name] for name in set(used) - declared}
    used = {name: path for folder in ("tests", "acquisition_scripts") for name, path, _ in imports(folder)}
    known = requirements() | requirements("test")
    assert not set(used) - known, {name: used[name] for name in set(used) - known}


def test_nothing_declared_is_unused() -> None:
    used = {name for name, _, _ in imports("easyzloc_mm")}
    assert not requirements() - used - set(NOT_IMPORTED)
    assert not set(NOT_IMPORTED) & used
    for extra in USER_EXTRAS:
        assert requirements(extra) <= used, extra
    tested = used | {name for name, _, _ in imports("tests")}
    assert not requirements("test") - tested - TOOLS


def test_extras_are_whole() -> None:
    assert set(PROJECT["optional-dependencies"]) == USER_EXTRAS | {"all", "docs", "test"}
    assert requirements("all") == set[str]().union(*(requirements(extra) for extra in USER_EXTRAS))
    assert not requirements("all") & requirements(), "what the base has needs no extra"


def test_each_optional_import_is_guarded() -> None:
    optional = requirements("all")
    for name, path, with_the_file in imports("easyzloc_mm"):
        # The simulator is reached through `connect`, which asks first.
        if name in optional and "embedded" not in path.parts:
            assert not with_the_file, f"{path} imports {name} before anybody could be told that it is missing"
            assert f'need("{name}"' in path.read_text(encoding="utf-8"), f"{path} imports {name} without `need`"


def test_a_missing_package_is_one_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    need("numpy", extra="tune")
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(InputError, match=r'^num-py is not installed.*: pip install "easyzloc-mm\[tune\]"$'):
        need("num-py", extra="tune", module="numpy")


@pytest.mark.parametrize(
    ("module", "arguments", "extra"),
    [
        ("mm_test_adapters", ["demo", "--out", "OUT"], "demo"),
        ("mm_test_adapters", ["acquire-beads", "--profile", "demo", "--out", "OUT"], "demo"),
        ("optuna", ["tune", "OUT.beads", "--out", "OUT"], "tune"),
        ("threadpoolctl", ["bench", "infer", "OUT.model"], "bench"),
    ],
)
def test_a_command_whose_extra_is_missing_says_so(
    module: str,
    arguments: list[str],
    extra: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    assert main([argument.replace("OUT", str(tmp_path / "out")) for argument in arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert f'pip install "easyzloc-mm[{extra}]"' in lines[-1]
    assert not list(tmp_path.iterdir())


def test_the_readmes_commands_are_those_of_the_extras() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert 'pip install -c constraints.txt ".[demo]"' in text
    assert "easyzloc-mm demo" in text
    assert 'pip install -c constraints.txt ".[test]" && python -m pytest' in text
    assert requirements("demo") <= requirements("test")


def test_localising_needs_no_tensorflow(tmp_path: Path) -> None:
    """A movie is localised, workers included, where TensorFlow and Keras cannot be imported."""
    for name in ("tensorflow", "keras"):
        (tmp_path / "absent" / name).mkdir(parents=True)
        (tmp_path / "absent" / name / "__init__.py").write_text(f"raise ImportError('{name} is not here')\n")
    model = small_bundle(tmp_path / "model", field=(64, 64))
    rng = np.random.default_rng(0)
    movie = rng.poisson(200, (20, 64, 64)).astype(np.uint16)
    movie[:, 20:23, 30:33] += 400
    tifffile.imwrite(tmp_path / "movie.tif", movie)
    subprocess.run(
        [sys.executable, "-m", "easyzloc_mm", "localize", str(tmp_path / "movie.tif"), "--model", str(model),
         "--out", str(tmp_path / "run.zarr"), "--workers", "1"],
        check=True, timeout=300, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{tmp_path / 'absent'}{os.pathsep}{ROOT}"},
    )  # fmt: skip
    assert (tmp_path / "run.zarr").is_dir()
