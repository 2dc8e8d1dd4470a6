"""Bead stacks to a labelled bead data set, and the information limit that their blur sets."""

from easyzloc_mm.beads.build import bead_set_from_rois, build_bead_set, count_reasons
from easyzloc_mm.beads.judge import Rules
from easyzloc_mm.beads.report import write_bead_report
from easyzloc_mm.beads.sources import beads_from_sources
from easyzloc_mm.beads.summary import offsets_in_words, summarise, summary_figures, which_rejected

__all__ = [
    "Rules",
    "bead_set_from_rois",
    "beads_from_sources",
    "build_bead_set",
    "count_reasons",
    "offsets_in_words",
    "summarise",
    "summary_figures",
    "which_rejected",
    "write_bead_report",
]
