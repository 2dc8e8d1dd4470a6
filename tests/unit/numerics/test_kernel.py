"""What is compiled is kept, and is compiled anew when something that it is made of changes, wherever that stands."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import easyzloc_mm

INNER = """
from easyzloc_mm.numerics.kernel import kernel

STEP = {step}

@kernel()
def inner(x):
    return {inner}
"""
OUTER = """
from easyzloc_mm.numerics.kernel import kernel
from inner_of_test import STEP, inner

@kernel()
def outer(x):
    return below(x)

@kernel()
def below(x):
    return inner(x) + STEP
"""

Outer = Callable[..., Any]


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int, str], Any]]:
    """Give a function that writes both modules, as an upgrade would, and returns the outer kernel of a new import."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "outer_of_test.py").write_text(OUTER, encoding="utf-8")

    def built(step: int, inner: str) -> Any:
        (tmp_path / "inner_of_test.py").write_text(INNER.format(step=step, inner=inner), encoding="utf-8")
        _forget()
        return importlib.import_module("outer_of_test").outer

    yield built
    _forget()


def _forget() -> None:
    importlib.invalidate_caches()
    for name in ("inner_of_test", "outer_of_test"):
        sys.modules.pop(name, None)


def test_a_kernel_is_kept(build: Callable[[int, str], Any]) -> None:
    assert build(1, "2 * x")(10) == 21
    again = build(1, "2 * x")
    assert again(10) == 21
    assert sum(again.stats.cache_hits.values()) == 1


@pytest.mark.parametrize(("step", "inner", "expected"), [(1, "3 * x", 31), (500, "2 * x", 520)])
def test_a_change_in_another_file_is_not_missed(
    build: Callable[[int, str], Any], step: int, inner: str, expected: int
) -> None:
    assert build(1, "2 * x")(10) == 21
    assert build(step, inner)(10) == expected


def test_what_a_kernel_takes_in_is_imported_by_name() -> None:
    """A digest sees the names of a module: what stands behind another module's name is not among them."""
    kernels = [value for module in _modules_with_kernels() for value in vars(module).values() if _is_kernel(value)]
    assert len(kernels) > 50
    assert not [
        f"{kernel.__module__}.{kernel.__name__} uses {used.__name__}"
        for kernel in kernels
        for used in map(kernel.py_func.__globals__.get, kernel.py_func.__code__.co_names)
        if isinstance(used, ModuleType) and used.__name__.startswith("easyzloc_mm")
    ]


def _is_kernel(value: object) -> bool:
    return hasattr(value, "py_func")


def _modules_with_kernels() -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(easyzloc_mm.__path__, "easyzloc_mm."):
        spec = importlib.util.find_spec(found.name)
        if spec and spec.origin and "kernel(" in Path(spec.origin).read_text(encoding="utf-8"):
            yield importlib.import_module(found.name)
