"""`bench render`: ten million localisations, drawn here and by Picasso, each in a process of its own."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from easyzloc_mm._processes import in_fresh_process, peak_bytes
from easyzloc_mm.typing import AnyFloat

PIXEL_SIZE_NM, EDGE_PX, RENDER_PIXEL_NM = 110.0, 512, 10.0
SEED = 0


def many(localizations: int, rng: np.random.Generator) -> pd.DataFrame:
    """Localisations all over a field of 512x512 pixels, Picasso's columns."""
    photons = 2500 * rng.lognormal(0, 0.5, localizations)
    lateral = 10 / PIXEL_SIZE_NM * np.sqrt(2500 / photons)
    values = {
        "frame": np.sort(rng.integers(0, 100_000, localizations)).astype(np.uint32),
        "x": rng.uniform(2, EDGE_PX - 2, localizations),
        "y": rng.uniform(2, EDGE_PX - 2, localizations),
        "z": rng.normal(0, 200, localizations),
        "lpx": lateral,
        "lpy": lateral,
        "lpz": 25 * np.sqrt(2500 / photons),
        "z_flag": np.zeros(localizations, np.uint8),
    }
    table = pd.DataFrame(values)
    return table.astype({name: np.float32 for name in table if name not in ("frame", "z_flag")})


def _own(run: str, colormap: str) -> tuple[dict[str, float], AnyFloat]:
    from easyzloc_mm.rendering.raster.canvas import VIEW_AXES, Canvas
    from easyzloc_mm.rendering.source import RunSource

    source = RunSource(Path(run))

    def canvas() -> Canvas:
        # Picasso's picture begins in the middle of the first pixel.
        edge = EDGE_PX * PIXEL_SIZE_NM
        return Canvas(VIEW_AXES["xy"], (0.0, edge, 0.0, edge), RENDER_PIXEL_NM, (-500.0, 500.0), colormap=colormap)

    warm = canvas()
    warm.add(next(iter(source.batches())).iloc[:1000])
    del warm
    start = time.perf_counter()
    image = canvas()
    drawing = 0.0
    for batch in source.batches():
        begin = time.perf_counter()
        image.add(batch)
        drawing += time.perf_counter() - begin
    took = time.perf_counter() - start
    result = {"seconds": took, "drawing_s": drawing, "peak_bytes": peak_bytes(), "sum": float(image.values.sum())}
    return result, image.values.sum(axis=0)[:1000, :1000]


def _picasso(run: str, method: str) -> tuple[dict[str, float], AnyFloat]:
    from easyzloc_mm._picasso import picasso
    from easyzloc_mm.io.runs.localizations import read_localizations

    render = picasso("render").render
    info = [{"Width": EDGE_PX, "Height": EDGE_PX, "Frames": 100_000, "Pixelsize": PIXEL_SIZE_NM}]
    few, _ = read_localizations(Path(run), rows=1000)
    render(few, info, disp_px_size=RENDER_PIXEL_NM, blur_method=method)
    start = time.perf_counter()
    table, _ = read_localizations(Path(run))
    begin = time.perf_counter()
    _, image = render(table, info, disp_px_size=RENDER_PIXEL_NM, blur_method=method)
    end = time.perf_counter()
    result = {"seconds": end - start, "drawing_s": end - begin, "peak_bytes": peak_bytes(), "sum": float(image.sum())}
    return result, image[:1000, :1000]


def bench_render(*, localizations: int = 10_000_000) -> dict[str, Any]:
    """Draw the same table of a ``RUN.zarr`` at 10 nm, Gaussians by ``lpx``, ``lpy``: this package, and Picasso.

    Times begin with the table on disk and end with the image in memory; kernels are compiled before.

    Returns
    -------
    dict
        ``seconds``, ``picasso_seconds``, ``ratio`` (Picasso's over this package's), ``peak_gb``, ``picasso_peak_gb``,
        ``correlation`` (of the grey images), ``cases``.
    """
    from easyzloc_mm.io.runs.localizations import LocalizationWriter
    from easyzloc_mm.io.runs.metadata import RunMetadata

    cases: dict[str, Any] = {}
    images = {}
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "many.zarr"
        metadata = RunMetadata(pixel_size_nm=PIXEL_SIZE_NM, width_px=EDGE_PX, height_px=EDGE_PX, frames=100_000)
        rng = np.random.default_rng(SEED)
        with LocalizationWriter.create(run, metadata) as writer:
            for first in range(0, localizations, 1_000_000):
                writer.append(many(min(1_000_000, localizations - first), rng))
        for name, target, argument in (
            ("easyzloc, color", _own, "depth"),
            ("easyzloc, grey", _own, "grey"),
            ("Picasso gaussian", _picasso, "gaussian"),
        ):
            cases[name], images[name] = in_fresh_process(target, str(run), argument).value
    grey, stock = images["easyzloc, grey"], images["Picasso gaussian"]
    own, other = cases["easyzloc, color"], cases["Picasso gaussian"]
    return {
        "localizations": localizations,
        "seconds": own["seconds"],
        "grey_seconds": cases["easyzloc, grey"]["seconds"],
        "picasso_seconds": other["seconds"],
        "ratio": other["seconds"] / own["seconds"],
        "peak_gb": own["peak_bytes"] / 1e9,
        "grey_peak_gb": cases["easyzloc, grey"]["peak_bytes"] / 1e9,
        "picasso_peak_gb": other["peak_bytes"] / 1e9,
        "correlation": float(np.corrcoef(grey.ravel(), stock.ravel())[0, 1]),
        "cases": cases,
    }
