"""Pictures: what is in them, and that they open elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from easyzloc_mm._picasso import picasso
from easyzloc_mm.benchmarks.fixtures.tables import PIXEL_SIZE_NM, drifting_table
from easyzloc_mm.cli.app import main
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.io.tables.registry import write_table
from easyzloc_mm.locs.locs import Locs
from easyzloc_mm.rendering.napari_view import layer_of, view_run
from easyzloc_mm.rendering.outputs import write_rendering
from easyzloc_mm.rendering.raster.canvas import VIEW_AXES, Canvas, view_axes
from easyzloc_mm.rendering.raster.colormap import color_table
from easyzloc_mm.rendering.raster.splat import MAX_RADIUS_PX, splat
from easyzloc_mm.rendering.source import BATCH_ROWS, RunSource
from easyzloc_mm.rendering.views import render_image

EDGE = 130
FACTS = RunMetadata(pixel_size_nm=PIXEL_SIZE_NM, width_px=EDGE, height_px=EDGE, frames=600)
ONE = np.ones((1, 1), np.float32)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("render") / "r.zarr"
    table = drifting_table(frames=600, per_frame=30, edge_px=EDGE, drift_nm=(1.0, 1.0, 1.0)).table
    write_table(path, table, FACTS)
    return path


def cloud(x: list[float], y: list[float], z: list[float], sigma: float) -> pd.DataFrame:
    wide = np.full(len(x), sigma)
    return pd.DataFrame({"x_nm": x, "y_nm": y, "z": z, "lpx_nm": wide, "lpy_nm": 2 * wide, "lpz": 3 * wide})


def test_a_localisation_is_the_gaussian_it_should_be() -> None:
    canvas = Canvas(VIEW_AXES["xy"], (0, 400, 0, 300), 5.0, (-1, 1), colormap="grey")
    canvas.add(cloud([203.0], [151.0], [0.0], 12.0))
    image = canvas.values[0]
    assert image.sum() == pytest.approx(1, abs=1e-5)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]] * 5.0 + 2.5
    wanted = np.exp(-0.5 * (((columns - 203) / 12) ** 2 + ((rows - 151) / 24) ** 2)) / (2 * np.pi * 12 * 24) * 25
    np.testing.assert_allclose(image, wanted, atol=0.03 * wanted.max())


def test_side_views_use_the_uncertainty_of_z_and_point_up() -> None:
    canvas = Canvas(VIEW_AXES["xz"], (0, 400, -300, 300), 5.0, (-1, 1), colormap="grey")
    canvas.add(cloud([100.0], [0.0], [120.0], 10.0))
    image = canvas.values[0]
    z = -(np.arange(image.shape[0]) * 5.0 - 300 + 2.5)
    across = image.sum(axis=1)
    assert (across * z).sum() == pytest.approx(120, abs=0.5)
    assert np.sqrt((across * (z - 120) ** 2).sum()) == pytest.approx(30, rel=0.05)
    assert np.argmax(across) < image.shape[0] / 2, "positive z is up"


def test_turned_views_are_rotations_with_z_up() -> None:
    for azimuth in (0.0, 45.0, 200.0):
        look = view_axes(azimuth, 25.0)
        np.testing.assert_allclose(look @ look.T, np.eye(2), atol=1e-12)
        assert (look @ [0, 0, 1])[0] == pytest.approx(0)
        assert (look @ [0, 0, 1])[1] < 0


@pytest.mark.parametrize("channels", [1, 3, 20])
def test_everything_is_drawn_once_whatever_the_order(channels: int) -> None:
    rng = np.random.default_rng(0)
    n = 5000
    u, v = (rng.uniform(-20, 720, n).astype(np.float32) for _ in "uv")
    su, sv = (rng.uniform(0, 6, n).astype(np.float32) for _ in "uv")
    weights = rng.uniform(0.1, 1, (7, channels)).astype(np.float32)
    level = rng.integers(0, 7, n)
    image, again = (np.zeros((channels, 650, 700), np.float32) for _ in range(2))
    splat(image, u, v, su, sv, level, weights)
    order = rng.permutation(n)
    splat(again, u[order], v[order], su[order], sv[order], level[order], weights)
    np.testing.assert_allclose(image, again, atol=1e-4)
    inside = (u > 20) & (u < 680) & (v > 20) & (v < 630)
    alone = np.zeros_like(image)
    splat(alone, u[inside], v[inside], su[inside], sv[inside], level[inside], weights)
    np.testing.assert_allclose(alone.sum(axis=(1, 2)), weights[level[inside]].sum(axis=0), rtol=1e-4)


def test_edges_and_giants_do_no_harm() -> None:
    image = np.zeros((1, 40, 40), np.float32)
    place = np.array([-1e9, -3, 0, 39.99, 44, 1e9, 20], np.float32)
    wide = np.array([1, 5, 0, 3, 5, 1, 1e6], np.float32)
    splat(image, place, place[::-1].copy(), wide, wide, np.zeros(7, int), ONE)
    assert np.isfinite(image).all()
    assert image.sum() < 7
    assert MAX_RADIUS_PX > 40


def test_picassos_picture_is_ours(run: Path) -> None:
    source = RunSource(run)
    batch = next(iter(source.batches()))
    batch = batch.assign(lpx_nm=batch["lpx_nm"].clip(lower=8), lpy_nm=batch["lpy_nm"].clip(lower=8))
    edge = EDGE * PIXEL_SIZE_NM
    canvas = Canvas(VIEW_AXES["xy"], (0, edge, 0, edge), 10.0, (-1, 1), colormap="grey")
    canvas.add(batch)
    locs = pd.DataFrame({"x": batch["x_nm"] / PIXEL_SIZE_NM, "y": batch["y_nm"] / PIXEL_SIZE_NM,
                         "lpx": batch["lpx_nm"] / PIXEL_SIZE_NM, "lpy": batch["lpy_nm"] / PIXEL_SIZE_NM})  # fmt: skip
    info = [{"Width": EDGE, "Height": EDGE, "Frames": 600, "Pixelsize": PIXEL_SIZE_NM}]
    _, theirs = picasso("render").render(locs, info, disp_px_size=10.0, blur_method="gaussian")
    ours = canvas.values[0]
    assert ours.shape == theirs.shape
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.995


def test_batches_are_all_of_the_table_and_filters_hold(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pd.concat(list(RunSource(run).batches()))
    monkeypatch.setattr("easyzloc_mm.rendering.source.BATCH_ROWS", 1000)
    assert BATCH_ROWS > 1000
    pieces = list(RunSource(run).batches())
    assert len(pieces) > 5
    pd.testing.assert_frame_equal(pd.concat(pieces, ignore_index=True), whole.reset_index(drop=True))
    some = pd.concat(list(RunSource(run, "z > 0").batches()))
    assert 0 < len(some) < len(whole)
    assert (some["z"] > 0).all()


def test_colours_of_depth_are_perceptually_even() -> None:
    from skimage.color import deltaE_ciede2000, rgb2lab

    lab = rgb2lab(color_table()[None])[0]
    steps = np.asarray(deltaE_ciede2000(lab[:-4:4], lab[4::4]))
    assert steps.min() > 0.55 * steps.mean(), "no two depths look the same"
    assert steps.max() < 1.5 * steps.mean(), "no step looks like an edge"
    assert np.ptp(lab[:, 0]) < 8, "no depth looks brighter than another"
    with pytest.raises(InputError, match="viridis"):
        color_table("nonsense")


@pytest.mark.parametrize("view", ["xy", "xz", "yz", "isometric"])
def test_figures(run: Path, tmp_path: Path, view: str) -> None:
    from PIL import Image

    result = write_rendering(run, tmp_path / "p.png", view=view)
    image = np.asarray(Image.open(tmp_path / "p.png").convert("RGB")).astype(int)
    assert image.shape[1] > 1000
    assert result["localizations"] > 10_000
    assert result["render_pixel_nm"] >= 5
    colourful = np.ptp(image, axis=2) > 40
    assert colourful.mean() > 0.002, "something is drawn, in colour"
    assert (image.max(axis=2) < 12).mean() > 0.4, "on black"


@pytest.mark.parametrize("view", ["xz", "yz"])
def test_a_slice_goes_through_what_is_there(view: str) -> None:
    """A membrane is dense, and the middle of its densest square is empty."""
    angle = np.random.default_rng(0).uniform(0, 2 * np.pi, 4000)
    table = pd.DataFrame({"frame": 0, "x": 40 + 15 * np.cos(angle), "y": 40 + 15 * np.sin(angle), "photons": 1000.0})
    table = table.assign(
        lpx=0.1, lpy=0.1, z=np.random.default_rng(1).uniform(-300, 300, 4000), lpz=20.0, z_flag=np.uint8(0)
    )
    locs = Locs(table, RunMetadata(pixel_size_nm=100.0, width_px=80, height_px=80, frames=1))
    slice_ = render_image(locs, view=view, render_pixel_nm=20.0, style="histogram")
    lit = int((slice_.image.max(axis=2) > 0).sum())
    through_the_middle = 4000 * 2 * np.arcsin(200 / 1500) / np.pi
    assert lit > 1.5 * through_the_middle
    with pytest.raises(InputError, match=r"they lie within x 2.5 to 5.5 µm, y 2.5 to 5.5 µm"):
        render_image(locs, view=view, region_um=(3.9, 4.1, 3.9, 4.1))


def test_grey_shows_every_depth_alike(run: Path, tmp_path: Path) -> None:
    from PIL import Image

    for name in ("p.png", "p.gif"):
        write_rendering(run, tmp_path / name, colormap="grey")
        with Image.open(tmp_path / name) as opened:
            image = np.asarray(opened.convert("RGB")).astype(int)
        assert image.max() > 200
        assert np.ptp(image, axis=2).max() < 8


def test_stacks_hold_the_localisations(run: Path, tmp_path: Path) -> None:
    import tifffile
    import yaozarrs
    import zarr

    options: dict[str, Any] = {"render_pixel_nm": 25.0, "plane_nm": 40.0, "z_range_nm": (-800.0, 800.0)}
    result = write_rendering(run, tmp_path / "s.tif", **options)
    with tifffile.TiffFile(tmp_path / "s.tif") as file:
        stack = file.asarray()
        assert len(file.pages) == result["planes"] == 40
        assert file.imagej_metadata is not None
        assert file.imagej_metadata["spacing"] == 0.04
        numerator, denominator = file.pages.first.tags["XResolution"].value
        assert numerator / denominator == pytest.approx(40)
    assert stack.dtype == np.uint16
    table = pd.concat(list(RunSource(run).batches()))
    assert stack.sum(dtype=np.int64) / 1000 == pytest.approx(len(table), rel=0.05)
    weights = stack.sum(axis=(1, 2), dtype=np.int64)
    z = -800 + 40 * (np.arange(40) + 0.5)
    inside = table["z"].between(-800, 800)
    assert np.average(z, weights=weights) == pytest.approx(table.loc[inside, "z"].mean(), abs=5)
    write_rendering(run, tmp_path / "s.ome.zarr", **options)
    yaozarrs.validate_zarr_store(str(tmp_path / "s.ome.zarr"))
    levels = zarr.open_group(tmp_path / "s.ome.zarr", mode="r")
    whole, half = levels["0"], levels["1"]
    assert isinstance(whole, zarr.Array)
    assert isinstance(half, zarr.Array)
    np.testing.assert_array_equal(np.asarray(whole), stack)
    fine, coarse = stack[:, :100, :100].astype(float), np.asarray(half)[:, :50, :50]
    np.testing.assert_allclose(coarse, fine.reshape(40, 50, 2, 50, 2).mean(axis=(2, 4)), atol=0.51)


def test_histograms_count(run: Path, tmp_path: Path) -> None:
    import tifffile

    write_rendering(
        run, tmp_path / "h.tif", style="histogram", render_pixel_nm=50.0, plane_nm=2000.0, z_range_nm=(-1000.0, 1000.0)
    )
    stack = tifffile.imread(tmp_path / "h.tif")
    table = pd.concat(list(RunSource(run).batches()))
    assert stack.sum(dtype=np.int64) == 1000 * table["z"].between(-1000, 1000).sum()


@pytest.mark.parametrize("ending", ["gif", "mp4"])
def test_turning_blocks(run: Path, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"t.{ending}"
    write_rendering(run, path, region_um=(3.0, 6.0, 3.0, 6.0))
    if ending == "gif":
        from PIL import Image

        with Image.open(path) as movie:
            assert getattr(movie, "n_frames") == 72  # noqa: B009  a GIF has it, which Pillow's types do not say
            first = np.asarray(movie.convert("RGB")).astype(int)
            movie.seek(18)
            assert np.abs(np.asarray(movie.convert("RGB")).astype(int) - first).mean() > 0.5
    else:
        import imageio_ffmpeg

        count, seconds = imageio_ffmpeg.count_frames_and_secs(str(path))
        assert count == 72
        assert seconds == pytest.approx(4, abs=0.2)


def test_render_refuses_with_one_sentence(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, hint in (
        (["--out", "p.jpg"], ".png"),
        (["--out", "p.png", "--z-range-nm", "5", "1"], "lower depth first"),
        (["--out", "p.png", "--pixel-nm", "0.1"], "--pixel-nm"),
        (["--out", "p.png", "--pixel-nm", "-3"], "--pixel-nm"),
        (["--out", "p.png", "--region", "5", "1", "1", "5"], "--region"),
        (["--out", "p.png", "--view", "up"], "isometric"),
        (["--out", "p.png", "--colormap", "mud"], "--colormap mud"),
        (["--out", "p.png", "--colours", "mud"], "viridis"),
        (["--out", "p.png", "--style", "oil"], "histogram"),
        (["--out", "p.tif", "--plane-nm", "0.5"], "--plane-nm"),
        *(
            (["--out", f"p.{ending}", "--region", "900", "901", "900", "901"], "they lie within")
            for ending in ("png", "gif", "tif", "ome.zarr")
        ),
        (["--out", "p.png", "--view", "xz", "--z-range-nm", "7000", "8000"], "nothing would be drawn"),
    ):
        arguments[1] = str(tmp_path / arguments[1])
        assert main(["render", str(run), *arguments]) == 2, arguments
        said = capsys.readouterr().err.strip()
        assert hint in said, said
        assert len([line for line in said.splitlines() if line.startswith("easyzloc-mm:")]) == 1
    assert not list(tmp_path.iterdir()), "nothing half-written is left"


def test_two_dimensional_tables_say_so(tmp_path: Path) -> None:
    flat = drifting_table(frames=50, edge_px=EDGE).table.drop(columns=["z", "lpz", "z_flag"])
    write_table(tmp_path / "f.zarr", flat, FACTS)
    with pytest.raises(InputError, match="has no z"):
        write_rendering(tmp_path / "f.zarr", tmp_path / "p.png")


def test_view_needs_napari_and_says_how_to_get_it(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "napari", None)
    with pytest.raises(InputError, match=r"easyzloc-mm\[view\]"):
        view_run(run)


def test_the_layer_that_napari_gets(run: Path) -> None:
    points, options = layer_of(run, where="z > 0")
    assert points.shape[1] == 3
    assert (points[:, 0] > 0).all()
    assert len(options["face_color"]) == len(points) == len(options["features"])
    lowest, highest = np.argmin(points[:, 0]), np.argmax(points[:, 0])
    assert options["face_color"][lowest][2] > options["face_color"][highest][2], "low is blue, high is red"
