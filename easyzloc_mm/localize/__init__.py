"""Detect, fit, z: one pipeline, fed by a live camera, by a file, or by a table."""

from easyzloc_mm.localize.movie import localize_movie
from easyzloc_mm.localize.pipeline import Localizer, LocalizeReport
from easyzloc_mm.localize.status import LiveStatus
from easyzloc_mm.localize.stream import live_pool, localize_stream
from easyzloc_mm.localize.workers import Workers

__all__ = ["LiveStatus", "LocalizeReport", "Localizer", "Workers", "live_pool", "localize_movie", "localize_stream"]
