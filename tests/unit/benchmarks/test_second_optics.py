"""The second optics against analytic facts, pyotf, and themselves; and its movies against their truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, maximum_filter, uniform_filter

from easyzloc_mm.benchmarks.second_optics.datasets import BeadScan, MovieConditions, write_bead_stacks, write_movie
from easyzloc_mm.benchmarks.second_optics.lens import SAMPLES_PER_PIXEL, Lens, Mask
from easyzloc_mm.benchmarks.second_optics.microscope import SecondMicroscope, sharpest_nm
from easyzloc_mm.io.beads.stacks import open_bead_stacks
from easyzloc_mm.io.images.movies import open_movie
from easyzloc_mm.typing import F64

PERFECT = Lens(
    spherical_rad=0, secondary_spherical_rad=0, trefoil_rad=0, coma_rad=(0, 0), astigmatism_rad=(0, 0),
    field_coma_rad=0, field_astigmatism_rad=0,
)  # fmt: skip
SMALL = SecondMicroscope(width_px=96, height_px=80, field_nodes=2)


def test_all_photons_are_on_an_infinite_camera() -> None:
    images = Lens().images(0.4, -0.7, np.array([-400.0, 0.0, 700.0]), 63)
    assert images.sum(axis=(1, 2)) / SAMPLES_PER_PIXEL**2 == pytest.approx(1, abs=0.02)


def test_a_perfect_lens_agrees_with_pyotf() -> None:
    otf = pytest.importorskip("pyotf.otf")
    step, size = 110 / 3, 255
    theirs = otf.HanserPSF(
        wl=680, na=1.46, ni=1.518, res=step, size=size, zres=300, zsize=5, vec_corr="total", condition="sine"
    ).PSFi
    theirs = theirs / theirs.sum(axis=(1, 2), keepdims=True)
    middle = size // 2
    pixels = slice(middle - 3 * 6, middle + 3 * 6 + 1, 3)
    focus = int(np.argmax(theirs.max(axis=(1, 2))))
    ours = PERFECT.model_copy(update={"water_index": 1.518}).images(0, 0, np.array([0.0, 300.0, 600.0]), 6)[:, ::2, ::2]
    for plane, image in enumerate(ours):
        # Three of their samples along each axis are a camera pixel.
        other = 9 * uniform_filter(theirs[focus - plane], 3)[pixels, pixels]
        assert np.corrcoef(image.ravel(), other.ravel())[0, 1] > 0.999
        # A pupil with a hard edge costs pyotf a little energy.
        assert image.max() == pytest.approx(other.max(), rel=0.03)


def test_aberrations_point_outwards_from_the_middle_of_the_field() -> None:
    lens = Lens(trefoil_rad=0, coma_rad=(0, 0), astigmatism_rad=(0, 0))
    z = np.array([-500.0, 200.0])
    here, opposite = lens.images(0.8, -0.3, z, 8), lens.images(-0.8, 0.3, z, 8)
    assert here[:, ::-1, ::-1] == pytest.approx(opposite, abs=1e-6)
    assert np.abs(here - opposite).max() > 1e-3


def test_a_perfect_lens_is_sharpest_at_zero() -> None:
    assert sharpest_nm(PERFECT.model_copy(update={"water_index": 1.518}), 0, 0) == pytest.approx(0, abs=1)


def test_depth_in_what_has_the_index_of_oil_is_only_a_place_of_the_stage() -> None:
    z = np.array([-300.0, 0.0, 400.0])
    matched = PERFECT.model_copy(update={"water_index": 1.518})
    deep = matched.model_copy(update={"depth_nm": 2000.0})
    assert deep.images(0, 0, z, 8) == pytest.approx(matched.images(0, 0, z, 8), abs=1e-6)


def test_evanescent_light_of_deep_molecules_is_lost_and_the_rest_is_aberrated() -> None:
    shallow, deep = (PERFECT.model_copy(update={"depth_nm": depth}) for depth in (0.0, 2000.0))
    total = [lens.images(0, 0, np.array([0.0]), 63).sum() for lens in (shallow, deep)]
    assert total[1] < 0.9 * total[0]
    assert abs(sharpest_nm(deep, 0, 0)) < 500
    below, above = deep.images(0, 0, sharpest_nm(deep, 0, 0) + np.array([-600.0, 600.0]), 8).max(axis=(1, 2))
    assert max(below, above) > 1.5 * min(below, above)


def test_the_table_is_the_lens() -> None:
    z = np.array([-730.0, -15.0, 310.0])
    corner = np.full(3, -1.0)
    focus = sharpest_nm(SMALL.lens, -1, -1)
    exact = SMALL.lens.images(-1, -1, focus + z, 9)
    # Half a pixel is one sample of the exact image.
    whole = SMALL.images(np.zeros(3), np.zeros(3), z, 8)
    assert whole == pytest.approx(exact[:, 2:-2:2, 2:-2:2], abs=0.01 * exact.max())
    half = SMALL.images(corner * 0 + 0.5 - 1e-9, np.zeros(3), z, 8)
    assert half == pytest.approx(exact[:, 2:-2:2, 1:-3:2], abs=0.03 * exact.max())


def test_field_curvature_moves_the_focus() -> None:
    curved = SMALL.model_copy(update={"field_curvature_nm": 400.0})
    x, y = np.array([0.0, 47.5, 95.0]), np.array([79.0, 39.5, 79.0])
    surface = curved.focal_surface_nm(x, y)
    assert surface == pytest.approx([400, 0, 400])
    z = np.array([100.0, -50.0, 0.0])
    assert curved.images(x, y, z + surface, 13) == pytest.approx(SMALL.images(x, y, z, 13))


def test_a_movie_is_its_truth_and_noise(tmp_path: Path) -> None:
    conditions = MovieConditions(frames=6, per_um2=0.1, photons=(2000.0, 3000.0))
    truth = write_movie(tmp_path / "movie.tif", SMALL, conditions, seed=1)
    movie = open_movie(tmp_path / "movie.tif")
    assert movie.shape == (6, 80, 96)
    assert movie.pixel_size_nm == pytest.approx(SMALL.lens.pixel_size_nm)
    half, response = 13, SMALL.response
    pulls = []
    for frame, pixels in enumerate(movie.read(0, 6)):
        here = truth[truth["frame"] == frame]
        mean = np.full((80 + 2 * half, 96 + 2 * half), float(here["background"].iloc[0]))
        images = SMALL.images(here["x"].to_numpy(), here["y"].to_numpy(), here["z"].to_numpy(), half)
        for x, y, n, image in zip(here["x"], here["y"], here["photons"], images, strict=True):
            top, left = round(y), round(x)
            mean[top : top + 2 * half + 1, left : left + 2 * half + 1] += n * image
        photons = (pixels - response.baseline_adu) * response.electrons_per_adu
        # Far enough inside that no molecule outside the camera sends light here.
        inner = (slice(half, -half), slice(half, -half))
        expected = mean[half:-half, half:-half][inner]
        variance = expected + response.read_noise_e**2 + response.electrons_per_adu**2 / 12
        pulls.append((photons[inner] - expected) / np.sqrt(variance))
    pull = np.concatenate([values.ravel() for values in pulls])
    assert pull.mean() == pytest.approx(0, abs=4 / np.sqrt(len(pull)))
    assert pull.var() == pytest.approx(1, abs=4 * np.sqrt(2.2 / len(pull)))


def test_uneven_light_rises_and_falls_by_the_stated_part_within_the_stated_distance(tmp_path: Path) -> None:
    conditions = MovieConditions(
        frames=12, per_um2=0.01, photons=(1.0, 1.0), background=(900.0, 900.0), structure=0.4, structure_px=16.0
    )
    write_movie(tmp_path / "movie.tif", SMALL, conditions, seed=4)
    light = SMALL.response.electrons_per_adu * (open_movie(tmp_path / "movie.tif").read(0, 12) - 100.0)
    assert SMALL.response.baseline_adu == 100
    assert light.mean() == pytest.approx(900, rel=0.02)
    assert np.sqrt(light.var() - 900) / 900 == pytest.approx(0.4 / 2, rel=0.1)
    smooth = gaussian_filter(light, (0, 1.0, 1.0))
    assert 1 / np.mean(np.diff(smooth > 900, axis=2)) == pytest.approx(16.0, rel=0.15)


def test_a_field_stop_leaves_the_stated_part_of_the_light_outside(tmp_path: Path) -> None:
    conditions = MovieConditions(
        frames=8, per_um2=0.01, photons=(1.0, 1.0), background=(900.0, 900.0), outside=0.1, circle_px=30.0, edge_px=2.0
    )
    truth = write_movie(tmp_path / "movie.tif", SMALL, conditions, seed=5)
    light = SMALL.response.electrons_per_adu * (open_movie(tmp_path / "movie.tif").read(0, 8) - 100.0)
    smooth = gaussian_filter(light, (0, 1.0, 1.0)) / 900
    for frame in smooth:
        dark, edge, bright = (np.mean((frame > low) & (frame < high)) for low, high in ((0, 0.2), (0.2, 0.9), (0.9, 2)))
        assert dark + bright > 0.75
        assert min(dark, edge, bright) > 0.01
        assert [np.median(frame[frame < 0.2]), np.median(frame[frame > 0.9])] == pytest.approx([0.1, 1.0], rel=0.05)
    assert truth["background"].between(89, 901).all()


def test_limits_shrink_with_the_root_of_the_light() -> None:
    x, y, z = np.array([40.3, 50.1]), np.array([30.2, 44.7]), np.array([-200.0, 350.0])
    one, four = (SMALL.limits_nm(x, y, z, n * np.full(2, 1e6), np.zeros(2)) for n in (1, 4))
    for first, second in zip(one, four, strict=True):
        assert first / second == pytest.approx(2, rel=0.01)


def test_bead_stacks_are_what_the_bead_room_reads(tmp_path: Path) -> None:
    scan = BeadScan(fields=2, beads=4, z_limit_nm=400.0, z_step_nm=100.0)
    truth = write_bead_stacks(tmp_path / "beads.ome.zarr", SMALL, scan, seed=2)
    stacks = open_bead_stacks(tmp_path / "beads.ome.zarr")
    assert [stack.pixels.shape for stack in stacks] == [(9, 80, 96)] * 2
    assert stacks[0].response == SMALL.response
    assert stacks[0].pixel_size_nm == SMALL.lens.pixel_size_nm
    for stack in stacks:
        sharp = stack.pixels[4].astype(float)
        for _, bead in truth[truth["fov"] == stack.fov].iterrows():
            row, column = round(bead["y"]), round(bead["x"])
            assert sharp[row - 1 : row + 2, column - 1 : column + 2].max() > 10 * np.median(sharp)


def lobes(image: F64) -> list[tuple[int, int]]:
    """Places (x, y) of the two brightest local maxima, in samples from the middle."""
    peaks = np.argwhere(image == maximum_filter(image, 5))
    brightest = peaks[np.argsort(image[tuple(peaks.T)])[-2:]] - len(image) // 2
    return [(int(x), int(y)) for y, x in brightest]


def test_engineered_psfs_do_what_they_are_made_for() -> None:
    z = np.array([-450.0, 450.0])
    water = {"water_index": 1.518}
    for mask in (Mask.DOUBLE_HELIX, Mask.PHASE_RAMP):
        below, above = PERFECT.model_copy(update={"mask": mask, **water}).images(0, 0, z, 12)
        turns = [np.arctan2(y, x) % np.pi for image in (below, above) for x, y in lobes(image)[:1]]
        assert np.sin(turns[0] - turns[1]) ** 2 > 0.2
    for mask in (Mask.ASTIGMATIC, Mask.TETRAPOD):
        below, above = PERFECT.model_copy(update={"mask": mask, **water}).images(0, 0, z, 12)
        # The same image, turned by a right angle.
        assert below == pytest.approx(above.T, abs=1e-6)
        assert all(abs(x) > abs(y) for x, y in lobes(below))
        assert all(abs(y) > abs(x) for x, y in lobes(above))
