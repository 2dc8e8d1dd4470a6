"""Pictures, stacks and films of a table: the name of the output chooses which."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from easyzloc_mm._progress import part_of, silent
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.writing.kinds import kind_of_image
from easyzloc_mm.io.writing.output import check_output, remove, whole_or_nothing
from easyzloc_mm.locs.locs import Locs
from easyzloc_mm.rendering.figures import draw_overview, draw_view
from easyzloc_mm.rendering.raster.canvas import Extent
from easyzloc_mm.rendering.raster.colormap import DEPTH
from easyzloc_mm.rendering.regions import BLOCK_NM, SLICE_THICK_NM, around, check_shown, parse_region, usual_region
from easyzloc_mm.rendering.source import FieldOverview, Source, field_overview, open_source
from easyzloc_mm.rendering.turntable import draw_turntable
from easyzloc_mm.rendering.views import Style, check_lengths, check_look, checked_render_pixel_nm
from easyzloc_mm.rendering.volume import Grid, write_pyramid, write_tiff
from easyzloc_mm.report.figures import FORMATS
from easyzloc_mm.typing import IfExists, Progress

STACK_EDGE_PX, STACK_PLANE_NM = 2048, 50.0
ENDINGS = (*FORMATS, ".tif", ".tiff", ".zarr", ".gif", ".mp4")


def write_rendering(
    table: Locs | Path,
    out: Path,
    *,
    view: str = "xy",
    z_range_nm: tuple[float, float] | None = None,
    region_um: tuple[float, float, float, float] | None = None,
    render_pixel_nm: float | None = None,
    plane_nm: float = STACK_PLANE_NM,
    thickness_nm: float = SLICE_THICK_NM,
    style: str = "gaussian",
    colormap: str = DEPTH,
    where: str | None = None,
    pixel_size_nm: float | None = None,
    if_exists: IfExists = "error",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Draw a table: .png, .svg or .pdf a figure, .tif and .ome.zarr a 16-bit stack along z, .gif and .mp4 a turntable.

    Parameters
    ----------
    table : Locs or Path
        Localisations, ``RUN.zarr`` (which is never read whole), or a table of another program.
    out : Path
        Its ending chooses what is drawn.
    view : {"xy", "xz", "yz", "isometric"}
        Of a .png.
    z_range_nm : (float, float), optional
        Depths that the colours, or the planes, span; those of all but a few localisations if not given.
    region_um : (float, float, float, float), optional
        Left, right, top, bottom; the whole field, or its densest part where that would show nothing, if not given.
    render_pixel_nm, plane_nm : float
        Of the picture, and of a stack along z.
    thickness_nm : float
        Of a slice.
    style : {"gaussian", "histogram"}
    colormap : str
        ``depth`` (equal lightness), or a map of matplotlib.
    where : str, optional
        Condition on the rows.
    progress : callable, optional
        Given (message, fraction).

    Returns
    -------
    dict
        ``out``, ``localizations``, ``render_pixel_nm``, ``z_from_nm``, ``z_to_nm``, and for stacks ``planes``,
        ``levels``, ``saturated_voxels``.

    Raises
    ------
    InputError
        Something of this cannot be drawn.
    """
    kind = kind_of_image(Path(out))
    path = table.source if isinstance(table, Locs) else Path(table)
    inputs = [] if path is None else [path]
    out = check_output(Path(out), kind, if_exists=if_exists, inputs=inputs)
    ending = out.suffix.lower()
    if ending not in ENDINGS:
        raise InputError(f"{out}: name the picture {', '.join(ENDINGS)} (.ome.zarr for a pyramid)")
    check_look(view=view, z_range_nm=z_range_nm, style=style, colormap=colormap)
    check_lengths(render_pixel_nm=render_pixel_nm, plane_nm=plane_nm, thickness_nm=thickness_nm)
    region = parse_region(region_um)
    report = progress or silent
    report("looking over the localisations", 0.0)
    source = open_source(table if isinstance(table, Locs) else Path(table), where=where, pixel_size_nm=pixel_size_nm)
    found = field_overview(source)
    look = Style(z_range_nm or found.z_range_nm, colormap, style)
    with whole_or_nothing(out, kind, if_exists=if_exists, inputs=inputs) as draft:
        # Writers choose the format by the ending, which a draft's name lacks.
        target = draft.with_name(draft.name + out.suffix)
        try:
            report(f"drawing {found.localizations} localisations", 0.2)
            drawing = part_of(report, 0.2, 1.0)
            more = _draw(
                target, ending, source, found, look, view, region, render_pixel_nm, plane_nm, thickness_nm, drawing
            )
            target.rename(draft)
        finally:
            remove(target)
    low, high = look.z_range_nm
    return {"out": out, "localizations": found.localizations, **more, "z_from_nm": low, "z_to_nm": high}


def _draw(
    target: Path, ending: str, source: Source, found: FieldOverview, look: Style, view: str, region: Extent | None,
    render_pixel_nm: float | None, plane_nm: float, thickness_nm: float, progress: Progress,
) -> dict[str, Any]:  # fmt: skip
    if ending in FORMATS:
        if view == "xy" and region is None:
            return {"render_pixel_nm": draw_overview(target, source, found, look, render_pixel_nm=render_pixel_nm)}
        area = region or usual_region(source, found, view, thickness_nm)
        return {
            "render_pixel_nm": draw_view(
                target, source, look, view, area, render_pixel_nm=render_pixel_nm, thickness_nm=thickness_nm
            )
        }
    if ending in (".gif", ".mp4"):
        area = region or around(found.densest(BLOCK_NM)[0], BLOCK_NM)
        return {
            "render_pixel_nm": draw_turntable(target, source, look, area, video=ending == ".mp4", progress=progress)
        }
    extent = region or found.extent_nm
    check_shown(source, extent, look.z_range_nm)
    grid = Grid(
        extent, checked_render_pixel_nm(render_pixel_nm, extent, edge_px=STACK_EDGE_PX), plane_nm, look.z_range_nm
    )
    write = write_pyramid if ending == ".zarr" else write_tiff
    return {"render_pixel_nm": grid.render_pixel_nm, **write(target, source, grid, look.style, progress=progress)}
