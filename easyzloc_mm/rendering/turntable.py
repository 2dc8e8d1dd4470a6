"""Turntable of a block of the sample: GIF, or MP4 by imageio-ffmpeg, which brings its own encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from easyzloc_mm._extras import need
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.writing.kinds import MARK
from easyzloc_mm.rendering.figures import bar_length_nm, length_label
from easyzloc_mm.rendering.raster.canvas import Extent, view_axes
from easyzloc_mm.rendering.raster.colormap import GREY, color_table
from easyzloc_mm.rendering.regions import check_shown, inside
from easyzloc_mm.rendering.source import Source
from easyzloc_mm.rendering.views import Style
from easyzloc_mm.typing import F32, Progress

FRAMES = 72
FRAMES_PER_S = 18
EDGE_PX = 560
ELEVATION_DEGREES = 25.0
TALLEST = 4
"""Height of a block, in its widths."""
MARGIN_PX = 84
"""On the right, for the depth bar."""


def draw_turntable(
    path: Path, source: Source, style: Style, region_nm: Extent, *, video: bool, progress: Progress
) -> float:
    """Write one turn about the z axis; return the pixel (nm).

    Raises
    ------
    InputError
        The region holds no localisation, or MP4 is wanted and imageio-ffmpeg is missing.
    """
    if video:
        need("imageio-ffmpeg", extra="video", module="imageio_ffmpeg")
    check_shown(source, region_nm, style.z_range_nm)
    left, right, top, bottom = region_nm
    parts = [batch[batch["z"].between(*style.z_range_nm)] for batch in inside(source.batches(), region_nm)]
    cloud = pd.concat(parts, ignore_index=True)
    if np.ptp(style.z_range_nm) > TALLEST * max(right - left, bottom - top):
        raise InputError(
            f"the depths span {np.ptp(style.z_range_nm) / 1000:.0f} µm, and the region {(right - left) / 1000:.0f} µm: "
            "choose a narrower `z_range_nm`"
        )
    middle = np.array([(left + right) / 2, (top + bottom) / 2, sum(style.z_range_nm) / 2])
    # The corners of the square turn past its edges: all of it stays in view.
    reach = np.hypot(right - left, bottom - top) / 2
    rise = reach * np.sin(np.radians(ELEVATION_DEGREES)) + np.ptp(style.z_range_nm) / 2 + 0.03 * reach
    pixel = float(2 * reach / EDGE_PX)
    pictures, full = [], None
    for number in range(FRAMES):
        progress(f"view {number + 1} of {FRAMES}", number / FRAMES)
        axes = view_axes(360.0 * number / FRAMES, ELEVATION_DEGREES)
        u, v = axes @ middle
        canvas = style.canvas(axes, (u - reach, u + reach, v - rise, v + rise), pixel)
        canvas.add(cloud)
        full = full or canvas.full_brightness()
        pictures.append(_labelled(canvas.picture(full=full), pixel, style))
    if video:
        _write_mp4(path, pictures)
    else:
        _write_gif(path, pictures)
    return pixel


def _labelled(image: F32, render_pixel_nm: float, style: Style) -> NDArray[np.uint8]:
    from PIL import Image, ImageDraw, ImageFont

    height, width = image.shape[:2]
    # Encoders of video want even edges.
    page = Image.new("RGB", (2 * ((width + MARGIN_PX) // 2), 2 * ((height + 1) // 2)), "black")
    page.paste(Image.fromarray((255 * image).astype(np.uint8)), (0, 0))
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size=13)
    length = bar_length_nm(width * render_pixel_nm)
    long, right, low = round(length / render_pixel_nm), width - 14, height - 16
    draw.rectangle((right - long, low, right, low + 4), fill="white")
    draw.text((right - long / 2, low - 4), length_label(length), fill="white", font=font, anchor="mb")
    if style.colormap == GREY:
        return np.asarray(page)
    colors = (255 * color_table(style.colormap)).astype(np.uint8)
    tall = int(0.7 * height)
    bar = np.repeat(colors[np.linspace(255, 0, tall).astype(int)][:, None], 12, axis=1)
    up = (height - tall) // 2
    page.paste(Image.fromarray(bar), (width + 8, up))
    for depth, y in zip(style.z_range_nm[::-1], (up, up + tall), strict=True):
        draw.text((width + 26, y), f"{depth:.0f}", fill="white", font=font, anchor="lm")
    draw.text((width + 8, up - 20), "z (nm)", fill="white", font=font, anchor="ls")
    return np.asarray(page)


def _write_gif(path: Path, pictures: list[NDArray[np.uint8]]) -> None:
    from PIL import Image

    # One palette for all: colours must not flicker.
    sample = np.concatenate(pictures[:: max(1, len(pictures) // 6)])
    palette = Image.fromarray(sample).quantize(255, method=Image.Quantize.MEDIANCUT)
    frames = [Image.fromarray(p).quantize(palette=palette, dither=Image.Dither.NONE) for p in pictures]
    frames[0].save(
        path, format="GIF", save_all=True, append_images=frames[1:], duration=round(1000 / FRAMES_PER_S), loop=0,
        optimize=False, comment=MARK,
    )  # fmt: skip


def _write_mp4(path: Path, pictures: list[NDArray[np.uint8]]) -> None:
    import imageio_ffmpeg

    height, width = pictures[0].shape[:2]
    writer = imageio_ffmpeg.write_frames(
        str(path), (width, height), fps=FRAMES_PER_S, codec="libx264", pix_fmt_out="yuv420p", macro_block_size=2,
        quality=8, ffmpeg_log_level="error", output_params=["-f", "mp4", "-metadata", f"comment={MARK.decode()}"],
    )  # fmt: skip
    writer.send(None)
    try:
        for image in pictures:
            writer.send(np.ascontiguousarray(image))
    finally:
        writer.close()
