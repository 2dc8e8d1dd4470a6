"""Detect, fit, z: one pipeline, fed by a live camera or by a file."""

from easyzloc_mm.localize.movie import localize_movie
from easyzloc_mm.localize.pipeline import Localizer, LocalizeReport
from easyzloc_mm.localize.stream import localize_stream

__all__ = ["LocalizeReport", "Localizer", "localize_movie", "localize_stream"]
