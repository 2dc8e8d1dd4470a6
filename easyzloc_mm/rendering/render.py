"""`render`: which picture a file name and a view ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.kinds import kind_of_image
from easyzloc_mm.io.output import check_output, remove, whole_or_nothing
from easyzloc_mm.rendering.canvas import STYLES, Extent, Source
from easyzloc_mm.rendering.colormap import DEPTH, color_table
from easyzloc_mm.rendering.figures import (
    BLOCK_NM,
    SLICE_NM,
    SLICE_THICK_NM,
    VIEWS,
    FieldOverview,
    Style,
    around,
    checked_render_pixel_nm,
    draw_overview,
    draw_view,
    field_overview,
)
from easyzloc_mm.rendering.turntable import draw_turntable
from easyzloc_mm.rendering.volume import Grid, write_pyramid, write_tiff
from easyzloc_mm.typing import IfExists

STACK_EDGE_PX, STACK_PLANE_NM = 2048, 50.0
ENDINGS = (".png", ".tif", ".tiff", ".zarr", ".gif", ".mp4")


def render_run(
    run: Path,
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
) -> dict[str, Any]:
    """Draw a table: .png a figure, .tif and .ome.zarr a 16-bit stack along z, .gif and .mp4 a turning block.

    Parameters
    ----------
    run : Path
        ``RUN.zarr``, or a table of another program.
    out : Path
        Its ending says what is drawn.
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
    out = check_output(Path(out), kind, if_exists=if_exists, inputs=[run])
    ending = out.suffix.lower()
    if ending not in ENDINGS:
        raise InputError(f"{out}: name the picture {', '.join(ENDINGS)} (.ome.zarr for a pyramid)")
    if z_range_nm is not None and not z_range_nm[0] < z_range_nm[1]:
        raise InputError(f"`z_range_nm` {z_range_nm[0]:g} {z_range_nm[1]:g}: give the lower depth first")
    for name, value, known in (("`view`", view, VIEWS), ("`style`", style, STYLES)):
        if value not in known:
            raise InputError(f"{name} {value} is unknown: use {', '.join(known)}")
    for option, length in (
        ("`render_pixel_nm`", render_pixel_nm),
        ("`plane_nm`", plane_nm),
        ("`thickness_nm`", thickness_nm),
    ):
        if length is not None and not 0 < length < 1e6:
            raise InputError(f"{option} {length:g}: give a length above 0")
    color_table(colormap)
    source = Source(Path(run), where, pixel_size_nm)
    region = _region(region_um)
    found = field_overview(source)
    look = Style(z_range_nm or found.z_range_nm, colormap, style)
    with whole_or_nothing(out, kind, if_exists=if_exists, inputs=[run]) as draft:
        # Writers tell the format by the ending, which a draft's name lacks.
        target = draft.with_name(draft.name + out.suffix)
        try:
            more = _draw(target, ending, source, found, look, view, region, render_pixel_nm, plane_nm, thickness_nm)
            target.rename(draft)
        finally:
            remove(target)
    low, high = look.z_range_nm
    return {"out": out, "localizations": found.localizations, **more, "z_from_nm": low, "z_to_nm": high}


def _region(region_um: tuple[float, float, float, float] | None) -> Extent | None:
    if region_um is None:
        return None
    left, right, top, bottom = (1000 * edge for edge in region_um)
    if not (left < right and top < bottom):
        raise InputError(f"`region` {' '.join(f'{e:g}' for e in region_um)}: give left, right, top, bottom in µm")
    return left, right, top, bottom


def _draw(
    target: Path, ending: str, source: Source, found: FieldOverview, look: Style, view: str, region: Extent | None,
    render_pixel_nm: float | None, plane_nm: float, thickness_nm: float,
) -> dict[str, Any]:  # fmt: skip
    if ending == ".png":
        if view == "xy" and region is None:
            return {"render_pixel_nm": draw_overview(target, source, found, look, render_pixel_nm=render_pixel_nm)}
        area = region or _usual_region(found, view, thickness_nm)
        return {
            "render_pixel_nm": draw_view(
                target, source, look, view, area, render_pixel_nm=render_pixel_nm, thickness_nm=thickness_nm
            )
        }
    if ending in (".gif", ".mp4"):
        area = region or around(found.densest(BLOCK_NM)[0], BLOCK_NM)
        return {"render_pixel_nm": draw_turntable(target, source, look, area, video=ending == ".mp4")}
    extent = region or found.extent_nm
    grid = Grid(
        extent, checked_render_pixel_nm(render_pixel_nm, extent, edge_px=STACK_EDGE_PX), plane_nm, look.z_range_nm
    )
    write = write_pyramid if ending == ".zarr" else write_tiff
    return {"render_pixel_nm": grid.render_pixel_nm, **write(target, source, grid, look.style)}


def _usual_region(found: FieldOverview, view: str, thickness_nm: float) -> Extent:
    if view == "isometric":
        return around(found.densest(BLOCK_NM)[0], BLOCK_NM)
    x, y = found.densest(SLICE_NM / 2)[0]
    half, thin = SLICE_NM / 2, thickness_nm / 2
    return (x - half, x + half, y - thin, y + thin) if view == "xz" else (x - thin, x + thin, y - half, y + half)


def slice_run(run: Path, out: Path, **options: Any) -> dict[str, Any]:
    """Draw an xz slice through the densest part of the field, depth in true proportion (`render_run`)."""
    return render_run(run, out, view="xz", **options)
