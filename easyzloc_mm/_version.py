"""The version of this package, written here alone, and those of installed packages, as results store them."""

from __future__ import annotations

from collections.abc import Iterable

__version__ = "0.2.0"


def installed(packages: Iterable[str]) -> dict[str, str]:
    """Return package to version; "unknown" for one that is not installed, as where the source tree itself is run."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found
