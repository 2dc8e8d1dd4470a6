"""The plate of a scan: a picture of every field that is over, all in the same size, pixel and colours of depth."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from easyzloc_mm.acquire.plans.wells import plate_places
from easyzloc_mm.acquire.scans.ledger import FieldState, LedgerContent
from easyzloc_mm.io.images.plates import Picture, PlateStore, listed_places
from easyzloc_mm.io.runs.frames import holds_frames
from easyzloc_mm.io.runs.localizations import holds_localizations
from easyzloc_mm.rendering.raster.canvas import VIEW_AXES
from easyzloc_mm.rendering.source import RunSource
from easyzloc_mm.rendering.views import Style, fill, fitting_render_pixel_nm

logger = logging.getLogger(__name__)

PLATE = "plate.ome.zarr"
"""Name in a scan's folder."""
EDGE_PX = 1024
"""Longer edge of a picture."""
USUAL_DEPTHS_NM = (-600.0, 600.0)
"""Colours of depth where the model does not say how far it reaches."""
TO_SCAN = "../../../.."
"""From the image of a field to the scan's folder."""


def grow_plate(folder: Path, content: LedgerContent) -> int:
    """Add the pictures of fields that are over and have none yet; return how many were added.

    Parameters
    ----------
    folder : Path
        Of the scan.
    content : LedgerContent
        Of its ledger.

    Raises
    ------
    InputError
        The plate, or a run, is damaged.
    """
    fields = {place.name: place for place in content.plan.places()}
    places = plate_places(list(fields))
    store = PlateStore(folder / PLATE, content.plan.name, list(places.values()))
    there, facts, added = set(listed_places(folder / PLATE)), store.facts(), 0
    for name, place in places.items():
        state = content.fields.get(name)
        if state is None or not state.status.is_over or place in there:
            continue
        sources = [RunSource(store) for store in stores_of(folder, state) if holds_localizations(store)]
        if not sources:
            continue
        facts = facts or _facts(sources[0])
        about: dict[str, object] = {"field": name, "position_um": list(fields[name].position_um)}
        about |= {"status": str(state.status), "verdict": state.verdict, "reasons": list(state.reasons)}
        about["runs"] = _links(folder, state)
        store.put(place, draw_field(sources, facts), facts["render_pixel_nm"] / 1000, about=about, facts=facts)
        added += 1
    return added


def stores_of(folder: Path, state: FieldState) -> list[Path]:
    """Return the runs that a field consists of, in the order in which they were taken."""
    return [folder / name for name in (*state.parts, *((state.run,) if state.run else ()))]


def draw_field(sources: Sequence[RunSource], facts: dict[str, Any]) -> Picture:
    """Draw a field from above, depth as colour; black where it has no molecule.

    Parameters
    ----------
    sources : sequence of RunSource
        Its runs.
    facts : dict
        ``extent_nm``, ``render_pixel_nm`` and ``z_range_nm``: the same for all fields of a plate.
    """
    left, right, top, bottom = facts["extent_nm"]
    low, high = facts["z_range_nm"]
    canvas = Style((low, high)).canvas(VIEW_AXES["xy"], (left, right, top, bottom), facts["render_pixel_nm"])
    for source in sources:
        fill([canvas], source.batches())
    return np.rint(255 * canvas.picture()).astype(np.uint8).transpose(2, 0, 1)


def _facts(source: RunSource) -> dict[str, Any]:
    extent = source.field_nm
    return {
        "extent_nm": list(extent),
        "render_pixel_nm": fitting_render_pixel_nm(extent, EDGE_PX),
        "z_range_nm": list(source.metadata.z_range_nm or USUAL_DEPTHS_NM),
    }


def _links(folder: Path, state: FieldState) -> list[dict[str, str]]:
    """Where a field's localisations and raw frames lie, seen from its picture: nothing is copied."""
    links = []
    for store in stores_of(folder, state):
        links.append({"localizations": f"{TO_SCAN}/{store.name}/localizations"})
        if holds_frames(store):
            links[-1]["frames"] = f"{TO_SCAN}/{store.name}/frames"
    return links
