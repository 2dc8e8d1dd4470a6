"""Which page shows a path: found out from what lies there, now or later."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from easyzloc_mm._log import FILE as LOG
from easyzloc_mm.acquire.scans.ledger import read_ledger
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.stacks import read_stack_metadata
from easyzloc_mm.io.runs.localizations import holds_localizations, read_metadata
from easyzloc_mm.io.writing.kinds import LEDGER, Kind, did_you_mean, kind_of
from easyzloc_mm.monitor.actions import Deed
from easyzloc_mm.monitor.beside import TOKEN
from easyzloc_mm.monitor.follow.run import Follower
from easyzloc_mm.monitor.follow.scan import ScanFollower
from easyzloc_mm.monitor.follow.stacks import StacksFollower
from easyzloc_mm.monitor.pages.calibration import make_calibration_page
from easyzloc_mm.monitor.pages.parts import TEMPLATE, heading_html
from easyzloc_mm.monitor.pages.run import WATCHING, make_page
from easyzloc_mm.monitor.pages.scan import make_scan_page
from easyzloc_mm.monitor.run_controls import RunControls
from easyzloc_mm.monitor.serve import Page, argument, stop_parent
from easyzloc_mm.monitor.steps import Launcher

if TYPE_CHECKING:
    from bokeh.document import Document

SHOWN = (Kind.RUN, Kind.CALIBRATION, Kind.BEAD_STACKS, Kind.SCAN)
AGAIN_MS = 1000
STACKS = "stacks.ome.zarr"
"""Bead stacks of a calibration, in its folder."""


def page_of(path: Path, say: Callable[[str], None]) -> tuple[Page, dict[str, Deed]]:
    """Return the page that shows `path`, and what its buttons do.

    Parameters
    ----------
    path : Path
        A run, a calibration, bead stacks or a scan; it may appear later.
    say : callable
        Given each command that a button runs.

    Raises
    ------
    InputError
        `path` is something else, cannot be read, or cannot appear.
    """
    path = Path(path)
    if not path.absolute().parent.is_dir():
        raise InputError(
            f"{path.absolute().parent} does not exist: give a run, a calibration, bead stacks or a scan that is there, "
            "or will be"
        )
    _check_readable(path, _shown_kind(path))
    controls = RunControls(path, stop_parent if TOKEN in os.environ else None, Launcher(say))

    def fill(document: Document, token: str) -> None:
        kind = _shown_kind(path)
        if kind is Kind.RUN:
            make_page(document, Follower(path), controls.of_tab(token) if token else WATCHING)
        elif kind is Kind.SCAN:
            _scan_or_field(document, path)
        elif kind is not None:
            stacks = path if kind is Kind.BEAD_STACKS else path / STACKS
            make_calibration_page(document, StacksFollower(stacks, None if stacks is path else path))
        else:
            _wait(document, path, lambda: fill(document, token))

    return fill, controls.deeds()


def _shown_kind(path: Path) -> Kind | None:
    """Return what `path` is, or will be by its name; None where that is not known yet."""
    kind = kind_of(path)
    if kind in SHOWN:
        return kind
    if kind is not None:
        other = did_you_mean(path, Kind.RUN)
        raise InputError(
            f"{path} is a {kind}, and this page shows runs, calibrations, bead stacks and scans: give one{other}"
        )
    if path.is_file() or (path.is_dir() and any(path.iterdir()) and not _beginning(path)):
        raise InputError(
            f"{path} is nothing that easyzloc_mm makes: give a run, a calibration, bead stacks or a scan"
            f"{did_you_mean(path, Kind.RUN)}"
        )
    if path.name.endswith(".ome.zarr"):
        return Kind.BEAD_STACKS
    return Kind.RUN if path.suffix == ".zarr" else None


def _beginning(path: Path) -> bool:
    """Whether a folder holds no more than what a result begins with: its log, a store's first files, drafts."""
    return path.suffix == ".zarr" or all(entry.name == LOG or entry.name.startswith(".") for entry in path.iterdir())


def _check_readable(path: Path, kind: Kind | None) -> None:
    """Raise `InputError` where what is there cannot be read: what only begins is not there yet, and never half."""
    stacks = path if kind is Kind.BEAD_STACKS else path / STACKS
    if (stacks / "zarr.json").is_file():
        read_stack_metadata(stacks)
    elif (path / "zarr.json").is_file() and holds_localizations(path):
        read_metadata(path)
    elif (path / LEDGER).is_file():
        read_ledger(path)


def _scan_or_field(document: Document, folder: Path) -> None:
    follower, name = ScanFollower(folder), argument(document, "field")
    run = follower.run_of(name) if name else None
    if run is None:
        make_scan_page(document, follower)
    else:
        make_page(document, Follower(run))


def _wait(document: Document, path: Path, begin: Callable[[], None]) -> None:
    from bokeh.models.widgets import Div

    def look() -> None:
        if _shown_kind(path) is not None:
            document.remove_periodic_callback(again)
            document.clear()
            begin()

    document.template = TEMPLATE  # type: ignore[assignment]
    document.title = f"{path.name} - easyZloc"
    document.add_root(Div(text=heading_html(f"{path.name}: waiting for it to begin", {})))
    again = document.add_periodic_callback(look, AGAIN_MS)
