"""The analyses on a table, as the commands and the demonstration call them."""

from __future__ import annotations

from easyzloc_mm.analysis.linking import link_run
from easyzloc_mm.analysis.npc import npc_run
from easyzloc_mm.analysis.rendering import render_run, slice_run
from easyzloc_mm.analysis.resolution import resolution_run
from easyzloc_mm.analysis.tables import export_run
from easyzloc_mm.analysis.undrift import draw_drift, undo_run, undrift_run

__all__ = [
    "draw_drift",
    "export_run",
    "link_run",
    "npc_run",
    "render_run",
    "resolution_run",
    "slice_run",
    "undo_run",
    "undrift_run",
]
