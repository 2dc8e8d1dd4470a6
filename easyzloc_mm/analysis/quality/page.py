"""`report`: a run's quality on one page, with the figures as JSON beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from easyzloc_mm._progress import part_of, silent
from easyzloc_mm.analysis.drift.apply import draw_drift
from easyzloc_mm.analysis.quality.figures import Distribution, Interval, QualityReport, enough, quality
from easyzloc_mm.analysis.quality.light import light_of
from easyzloc_mm.analysis.quality.linearity import LinearityMap, linearity
from easyzloc_mm.analysis.quality.linearity_part import NAME, draw_linearity, linearity_blocks
from easyzloc_mm.analysis.quality.sample import sample_blocks
from easyzloc_mm.analysis.resolution import ResolutionResult, measure_resolution
from easyzloc_mm.analysis.resolution_output import draw_resolution
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.writing.kinds import Kind
from easyzloc_mm.io.writing.output import check_output, whole_or_nothing
from easyzloc_mm.locs.linking import LinkResult, link_locs
from easyzloc_mm.locs.locs import Locs
from easyzloc_mm.locs.table import believable
from easyzloc_mm.report.figures import FORMATS, picture
from easyzloc_mm.report.html import Block, Heading, Paragraph, Picture, Rows, write_page
from easyzloc_mm.typing import IfExists, Progress

if TYPE_CHECKING:
    from matplotlib.axes import Axes

JSON_FILE = "report.json"
ON_PAGES = (".png", ".svg")
"""Formats that a browser shows in a page."""
INK, SECOND, THIRD = "#0072b2", "#d55e00", "#009e73"
TIME_BINS = 100


def write_quality_report(
    run: Path,
    folder: Path,
    *,
    figures: str = "png",
    where: str | None = None,
    pixel_size_nm: float | None = None,
    movie: Path | None = None,
    if_exists: IfExists = "error",
    progress: Progress | None = None,
) -> QualityReport:
    """Write ``index.html``, its figures, and ``report.json`` with every number, into `folder`.

    Parameters
    ----------
    run : Path
        ``RUN.zarr``, or a table of another program.
    folder : Path
    figures : {'png', 'svg', 'pdf'}
        Format of the figures; beside PDFs, which no page shows, lie PNGs.
    where : str, optional
        Condition on the rows.
    pixel_size_nm : float, optional
        Camera pixel, for tables that do not say.
    movie : Path, optional
        Images of the run, for its linearity; needed only where they are neither in the run nor beside it.
    if_exists : {'error', 'overwrite'}
        What becomes of a `folder` that is there already.
    progress : callable, optional
        Given (message, fraction).

    Raises
    ------
    InputError
        There is no such table, it is empty, `movie` is not that of it, or `folder` cannot be written.
    """
    report = progress or silent
    if f".{figures}" not in FORMATS:
        raise InputError(f"`figures` {figures}: choose one of {', '.join(name[1:] for name in FORMATS)}")
    inputs = [run] if movie is None else [run, movie]
    check_output(Path(folder), Kind.REPORT, if_exists=if_exists, inputs=inputs)
    report(f"reading {run}", 0.0)
    locs = Locs.load(run, where=where, pixel_size_nm=pixel_size_nm)
    if not len(locs):
        raise InputError(f"{run} has no localisations: nothing to report")
    report("blinking", 0.1)
    linked = _linked(locs)
    resolution = measure_resolution(locs, progress=part_of(report, 0.2, 0.7)) if enough(locs) else None
    light = light_of(locs, movie, part_of(report, 0.7, 0.8))
    linear = light if isinstance(light, str) else linearity(light)
    found = quality(locs, linked, resolution, linear)
    report("drawing", 0.8)
    with whole_or_nothing(Path(folder), Kind.REPORT, if_exists=if_exists, inputs=inputs) as draft:
        draft.mkdir()
        shown = ".png" if f".{figures}" not in ON_PAGES else f".{figures}"
        for ending in dict.fromkeys((shown, f".{figures}")):
            _draw(draft, ending, locs, linked, resolution)
            if isinstance(linear, LinearityMap):
                draw_linearity(draft / f"{NAME}{ending}", linear)
        (draft / JSON_FILE).write_text(json.dumps(found.model_dump(mode="json"), indent=1), encoding="utf-8")
        blocks = [*_blocks(draft, found, shown), *sample_blocks(draft, locs)]
        write_page(draft, f"Quality of {Path(locs.name).name}", _lead(found), blocks)
    return found


def _linked(locs: Locs) -> LinkResult | None:
    """Link the believable rows; None where they state no precision to link by."""
    table = believable(locs.table).reset_index(drop=True)
    if not {"lpx", "lpy"} <= set(table) or not (table[["lpx", "lpy"]].median() > 0).all():
        return None
    return link_locs(locs.with_table(table))


def _lead(found: QualityReport) -> str:
    share = found.believed / found.localizations
    parts = [f"{found.localizations:,} localisations in {found.frames:,} frames, {share:.0%} without a flag"]
    if found.photons:
        parts.append(f"{found.photons.median:,.0f} photons")
    parts += [f"{name} {one.median:.0f} nm" for name, one in (("lpx", found.lpx_nm), ("lpz", found.lpz_nm)) if one]
    if found.frc.nm:
        parts.append(f"FRC {_interval(found.frc)}")
    return ", ".join(parts) + "."


def _blocks(folder: Path, found: QualityReport, ending: str) -> list[Block]:
    def figure(name: str, caption: str) -> list[Block]:
        return [Picture(f"{name}{ending}", caption)] if (folder / f"{name}{ending}").exists() else []

    rows: list[tuple[str, ...]] = [("", "5 %", "25 %", "median", "75 %", "95 %")]
    rows += [_row(name, getattr(found, field), form) for name, field, form in (
        ("photons", "photons", ",.0f"), ("background (photons per pixel)", "background", ".1f"),
        ("precision of x (nm)", "lpx_nm", ".1f"), ("precision of y (nm)", "lpy_nm", ".1f"),
        ("precision of z (nm)", "lpz_nm", ".1f"), ("z (nm)", "z_nm", ".0f"),
    )]  # fmt: skip
    nena = ", ".join(f"{axis} {value:.1f} nm" for axis, value in found.nena_nm.items()) or "too few emitters stay on"
    return [
        Heading("Flags"),
        Paragraph("Everything below is of localisations without a flag."),
        Rows((("localisations", f"{found.localizations:,}"), ("without a flag", f"{found.believed:,}"),
              ("frames, lost", f"{found.frames:,}, {found.frames_lost:,}"),
              *((why, f"{count:,}") for why, count in found.flags.items()))),
        Heading("Photons and precision"),
        Rows(rows, header=True),
        Paragraph(f"Precision as measured on neighbours in adjacent frames (NeNA): {nena}."),
        *figure("photons", "Photons, background and stated precision."),
        Heading("Density"),
        Rows((
            ("localisations per frame", f"{found.localizations_per_frame:.1f}"),
            ("in the first, in the last tenth of the run",
             f"{found.first_tenth_per_frame:.1f}, {found.last_tenth_per_frame:.1f}"),
            ("per square micrometre where there are any", _number(found.localizations_per_um2, ",.0f")),
            ("finest detail that so many can carry (Nyquist)", _number(found.nyquist_nm, ".0f", " nm")),
        )),
        *figure("time", "Localisations per frame, and median photons, over the run."),
        Heading("Blinking"),
        Rows((
            ("times that an emitter was on", _number(found.events, ",d")),
            ("mean length, frames", _number(found.on_frames, ".2f")),
            ("median photons of one", _number(found.photons_per_event, ",.0f")),
        )),
        *figure("blinking", "How long emitters stay on."),
        Heading("Drift"),
        Paragraph(
            "Nothing was taken out: correct it with `easyzloc-mm undrift`, and report the result."
            if found.drift_nm is None
            else f"Taken out, peak to peak: {', '.join(f'{a} {v:.0f} nm' for a, v in found.drift_nm.items())} "
            f"({found.drift_methods})."
        ),
        *figure("drift", "What was taken out, beside the other estimates."),
        Heading("Resolution"),
        Rows((("Fourier ring correlation, x and y (95 %)", _interval(found.frc)),
              ("Fourier shell correlation, 3D (95 %)", _interval(found.fsc)))),
        *figure("resolution", "Correlation of two halves of the run, and the distributions of precision."),
        *linearity_blocks(folder, found.linearity, found.no_linearity, ending),
    ]  # fmt: skip


def _row(name: str, one: Distribution | None, form: str) -> tuple[str, ...]:
    values = one.model_dump().values() if one else [None] * 5
    return (name, *(_number(value, form) for value in values))


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None else f"{value:{form}}{unit}"


def _interval(one: Interval) -> str:
    if one.nm is None:
        return "not reached, or too few localisations"
    limits = f" ({one.low_nm:.0f} to {one.high_nm:.0f})" if one.low_nm and one.high_nm else ""
    return f"{one.nm:.0f} nm{limits}"


def _draw(
    folder: Path, ending: str, locs: Locs, linked: LinkResult | None, resolution: ResolutionResult | None
) -> None:
    table = believable(locs.table)
    columns = {"photons": ("photons", 1.0), "bg": ("background (photons per pixel)", 1.0)}
    columns |= {f"lp{axis}": (f"precision of {axis} (nm)", locs.pixel_size_nm) for axis in "xy"}
    columns |= {"lpz": ("precision of z (nm)", 1.0), "z": ("z (nm)", 1.0)}
    shown = [(table[name] * scale, label) for name, (label, scale) in columns.items() if name in table]
    if shown and len(table):
        with picture(folder / f"photons{ending}", 11, 5.2) as figure:
            for axes, (values, label) in zip(figure.subplots(2, 3).flat, shown, strict=False):
                _histogram(axes, values, label)
    with picture(folder / f"time{ending}", 11, 3.2) as figure:
        _draw_time(figure.subplots(), table, locs.frames)
    if linked is not None and len(linked.locs):
        with picture(folder / f"blinking{ending}", 7, 3.2) as figure:
            axes = figure.subplots()
            lengths = linked.locs.table["len"].to_numpy()
            axes.hist(lengths, bins=np.arange(0.5, min(int(lengths.max()), 40) + 1.5).tolist(), color=INK)
            axes.set(xlabel="frames from first to last", ylabel="times on", yscale="log")
    if locs.drift is not None:
        draw_drift(locs.drift, locs.pixel_size_nm, folder / f"drift{ending}")
    if resolution is not None:
        draw_resolution(folder / f"resolution{ending}", locs.nm, resolution)


def _histogram(axes: Axes, values: pd.Series, label: str) -> None:
    low, high = (float(value) for value in np.percentile(values, [0.5, 99]))
    axes.hist(values, bins=np.linspace(low, max(high, low + 1e-6), 60).tolist(), color=INK)
    axes.axvline(float(values.median()), color=SECOND, linewidth=1.2)
    axes.set(xlabel=label, yticks=[])
    axes.set_title(f"median {values.median():.4g}", fontsize=9)


def _draw_time(axes: Axes, table: pd.DataFrame, frames: int) -> None:
    edges = np.linspace(0, max(frames, 1), min(TIME_BINS, max(frames, 1)) + 1)
    frame = table["frame"].to_numpy(float)
    counts, _ = np.histogram(frame, edges)
    middle = (edges[1:] + edges[:-1]) / 2
    axes.plot(middle, counts / np.diff(edges), color=INK)
    axes.set(xlabel="frame", ylim=(0, None))
    axes.set_ylabel("localisations per frame", color=INK)
    if "photons" in table:
        bins = np.clip(np.digitize(frame, edges) - 1, 0, len(middle) - 1)
        median = table["photons"].groupby(bins).median()
        other = axes.twinx()
        other.plot(middle[median.index.to_numpy()], median, color=THIRD, linewidth=0.9)
        other.set_ylabel("median photons", color=THIRD)
        other.set_ylim(0, None)
