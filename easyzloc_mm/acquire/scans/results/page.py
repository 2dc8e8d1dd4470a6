"""The page of a scan: map, pictures and verdicts of its fields, in one file that needs no other."""

from __future__ import annotations

import base64
import io
import json
from html import escape
from pathlib import Path

from easyzloc_mm.acquire.scans.ledger import BeadVisit, LedgerContent, read_ledger
from easyzloc_mm.acquire.scans.results.plate import PLATE, grow_plate
from easyzloc_mm.acquire.scans.results.summary import FieldSummary, ScanSummary, summarize_scan
from easyzloc_mm.io.images.plates import PlatePlace, listed_places, read_picture
from easyzloc_mm.io.writing.kinds import Kind
from easyzloc_mm.io.writing.output import check_output, whole_or_nothing
from easyzloc_mm.report.html import Block, Card, Cards, Drawing, Heading, Paragraph, Rows, write_page
from easyzloc_mm.typing import IfExists

REPORT = "report"
"""Folder of the page in that of the scan."""
JSON_FILE = "report.json"
THUMBNAIL_PX = 160
COLORS = {"good": "#009e73", "poor": "#d55e00", "failed": "#c1121f", "skipped": "#7a8594", "pending": "#c3cad4"}
UNDER_WAY = "#0072b2"
MAP_PX, MARGIN_PX = 640, 24
NAMED_FIELDS = 40
"""Maps of more fields that lie in no wells have no names."""


def write_scan_page(folder: Path, out: Path | None = None, *, if_exists: IfExists = "overwrite") -> ScanSummary:
    """Write ``index.html`` and ``report.json`` of a scan, after adding what its plate lacks; return what is in them.

    Parameters
    ----------
    folder : Path
        Of the scan.
    out : Path, optional
        Folder of the page; ``report`` in that of the scan if not given.
    if_exists : {'error', 'overwrite'}
        What becomes of a page that is there already.

    Raises
    ------
    InputError
        The ledger cannot be read, or `out` cannot be written.
    """
    folder = Path(folder)
    out = folder / REPORT if out is None else Path(out)
    check_output(out, Kind.REPORT, if_exists=if_exists, inputs=[folder])
    content = read_ledger(folder)
    grow_plate(folder, content)
    found = summarize_scan(content)
    with whole_or_nothing(out, Kind.REPORT, if_exists=if_exists, inputs=[folder]) as draft:
        draft.mkdir()
        (draft / JSON_FILE).write_text(json.dumps(found.model_dump(mode="json"), indent=1), encoding="utf-8")
        write_page(draft, f"Scan {found.name}", _lead(found), _blocks(folder, content, found))
    return found


def _lead(found: ScanSummary) -> str:
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in found.verdicts.items())
    lost = f", {found.frames_lost:,} frames lost" if found.frames_lost else ""
    return f"{len(found.fields)} fields: {verdicts}. {found.localizations:,} localisations{lost}."


def _blocks(folder: Path, content: LedgerContent, found: ScanSummary) -> list[Block]:
    overhead = "" if found.overhead is None else f" ({found.overhead:.1%})"
    totals = [
        ("frames", f"{found.frames:,}"),
        ("frames lost", f"{found.frames_lost:,}"),
        ("localisations", f"{found.localizations:,}"),
        ("light on the fields", f"{found.light_s:,.0f} s; {found.light_s_per_field:,.1f} s for one at most"),
        ("light budget of a field", _budget(content)),
        ("time of the fields that are over", f"{found.seconds / 60:,.1f} min"),
        ("of that neither moving, nor waiting, nor light", f"{found.overhead_s:,.0f} s{overhead}"),
        ("interrupted between calls, which is in none of these times", _interrupted(found)),
        ("fields taken again", str(sum(field.retries for field in found.fields))),
    ]
    blocks: list[Block] = [Drawing(_map(found), "Where the fields are, by their verdict."), Rows(totals)]
    if found.rules:
        blocks += [Heading("Rules"), *(Paragraph(rule) for rule in found.rules)]
    if found.visits:
        blocks += [Heading("Beads beside the sample"), Rows(_visits(found.visits), header=True)]
    pictures = set(listed_places(folder / PLATE))
    cards = [_card(field, folder if _place(field) in pictures else None) for field in found.fields]
    return [*blocks, Heading("Fields"), Cards(cards)]


def _interrupted(found: ScanSummary) -> str:
    if not found.interruptions:
        return "never"
    times = "once" if found.interruptions == 1 else f"{found.interruptions} times"
    return f"{times}, {found.interrupted_s:,.0f} s"


def _budget(content: LedgerContent) -> str:
    return "the profile's" if content.plan.light_budget_ms is None else f"{content.plan.light_budget_ms / 1000:,.1f} s"


def _visits(visits: tuple[BeadVisit, ...]) -> list[tuple[str, str, str, str, str, str]]:
    def number(value: float | None, form: str) -> str:
        return "not known" if value is None else format(value, form)

    return [("after fields", "beads", "error of z (nm)", "scale of z", "focus moved (nm)", "")] + [
        (
            str(visit.after_fields), str(visit.beads), number(visit.error_nm, ".0f"), number(visit.scale, ".3f"),
            number(visit.focus_moved_nm, "+.0f"), visit.trouble or "",
        )
        for visit in visits
    ]  # fmt: skip


def _place(field: FieldSummary) -> PlatePlace:
    row, column, image = field.picture.split("/")
    return PlatePlace(row, column, int(image))


def _card(field: FieldSummary, folder: Path | None) -> Card:
    lines = [field.verdict, *field.reasons]
    if field.ended_by and field.ended_by not in field.reasons:
        lines.append(f"ended early: {field.ended_by}")
    if field.frames:
        lines.append(f"{field.localizations:,} localisations in {field.frames:,} frames")
    measures = field.measures
    if measures is not None:
        known = (
            (measures.photons, "{:,.0f} photons"), (measures.lpz_nm, "lpz {:.0f} nm"),
            (measures.focus_nm, "focus {:+.0f} nm"), (measures.z_drift_nm, "drift in z {:+.0f} nm"),
            (measures.xy_drift_nm, "sideways {:.0f} nm"),
        )  # fmt: skip
        lines.append(", ".join(form.format(value) for value, form in known if value is not None))
    if field.light_s is not None:
        lines.append(f"{field.light_s:.1f} s of light" + (f", {field.retries} retries" if field.retries else ""))
    picture = None if folder is None else _thumbnail(folder / PLATE, _place(field))
    title = field.name if field.name.startswith(field.well) else f"{field.name} ({field.well})"
    return Card(title, tuple(line for line in lines if line), picture, COLORS.get(field.verdict, UNDER_WAY))


def _thumbnail(plate: Path, place: PlatePlace) -> str:
    """Return the picture of a field as a data address."""
    from PIL import Image

    stored = io.BytesIO()
    pixels = read_picture(plate, place, edge_px=THUMBNAIL_PX).transpose(1, 2, 0)
    Image.fromarray(pixels).save(stored, format="JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(stored.getvalue()).decode()}"


def _map(found: ScanSummary) -> str:
    """Draw the fields where they are, y downwards as in the pictures."""
    xs, ys = ([field.position_um[axis] for field in found.fields] for axis in (0, 1))
    left, top = min(xs), min(ys)
    scale = MAP_PX / max(max(xs) - left, max(ys) - top, 1e-9)
    radius = max(4.0, min(14.0, 0.3 * MAP_PX / len(xs) ** 0.5))
    width, height = (scale * (max(each) - min(each)) + 2 * (MARGIN_PX + radius) for each in (xs, ys))
    plate = len({field.well for field in found.fields}) > 1
    dots = []
    for field, x, y in zip(found.fields, xs, ys, strict=True):
        at = (scale * (x - left) + MARGIN_PX + radius, scale * (y - top) + MARGIN_PX + radius)
        words = escape("; ".join((f"{field.name}: {field.verdict}", *field.reasons)))
        dots.append(
            f'<circle cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="{radius:.1f}" '
            f'fill="{COLORS.get(field.verdict, UNDER_WAY)}"><title>{words}</title></circle>'
        )
        if _place(field).image == 0 if plate else len(xs) <= NAMED_FIELDS:
            label = field.well if plate else field.name
            dots.append(
                f'<text x="{at[0]:.1f}" y="{at[1] + radius + 11:.1f}" font-size="10" text-anchor="middle" '
                f'fill="currentColor">{escape(label)}</text>'
            )
    return f'<svg viewBox="0 0 {width:.0f} {height:.0f}" style="max-height: 420px" role="img">{"".join(dots)}</svg>'
