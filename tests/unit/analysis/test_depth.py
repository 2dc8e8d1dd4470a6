"""Depth in a sample of another index: against the published formula where it holds, and against plain refraction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from easyzloc_mm.analysis.depth import correct_depth
from easyzloc_mm.api.analysing.depth import correct_depth as ez_correct
from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.profiles import load_profile
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.locs.locs import Locs
from easyzloc_mm.optics.depth import SAMPLES, DepthScale, IntoSample, formula_factor, sharpest_stage_nm
from easyzloc_mm.optics.pupil import image_fields, intensity, make_pupil
from easyzloc_mm.profile.schema import Optics
from easyzloc_mm.typing import F64

FOCUS_NM = 1500.0
LENS_RAD = (0.1, 0.15, -0.08, 0.12, 0.65)
"""Of an objective as they are: astigmatism, coma, spherical aberration."""


def optics(na: float, sample_index: float) -> Optics:
    return Optics(na=na, immersion_index=1.518, sample_index=sample_index, emission_nm=680.0, pixel_size_nm=110.0)


@pytest.fixture(scope="module")
def water() -> DepthScale:
    return DepthScale.of(optics(1.46, 1.333), FOCUS_NM)


def table(**facts: object) -> Locs:
    z = np.linspace(-800, 800, 9).astype(np.float32)
    rows = pd.DataFrame({"frame": np.arange(9, dtype=np.uint32), "x": 5.0, "y": 5.0, "z": z, "lpz": np.float32(20)})
    return Locs(
        rows, RunMetadata(pixel_size_nm=110.0, height_px=10, width_px=10, z_range_nm=(-900, 900)).changed(**facts)
    )


@pytest.mark.parametrize(("na", "depth_nm"), [(1.46, 4000.0), (1.4, 4000.0), (1.25, 400.0), (1.25, 4000.0)])
def test_the_vectorial_focus_is_that_of_the_published_formula(na: float, depth_nm: float) -> None:
    """Far from the glass; at any depth, where no light beyond the critical angle is collected. Within 5 %."""
    here = optics(na, 1.333)
    stage = sharpest_stage_nm(here, depth_nm) - sharpest_stage_nm(here, 0.0)
    assert depth_nm / stage == pytest.approx(float(formula_factor(here, stage)), rel=0.05)


def test_of_a_low_aperture_the_indices_alone_decide() -> None:
    here = optics(0.4, 1.333)
    stage = sharpest_stage_nm(here, 5000.0) - sharpest_stage_nm(here, 0.0)
    assert 5000.0 / stage == pytest.approx(1.333 / 1.518, rel=0.02)


def test_where_the_indices_match_nothing_changes() -> None:
    same = DepthScale.of(optics(1.4, 1.518), FOCUS_NM)
    z = np.linspace(-900, 900, 7)
    assert same.height_nm(z) == pytest.approx(z, abs=3)
    assert same.slope(z) == pytest.approx(1, abs=0.01)


def test_z_and_its_uncertainty_become_those_of_the_sample(water: DepthScale) -> None:
    corrected = correct_depth(table(), water)
    z = table().table["z"].to_numpy(float)
    found = corrected.table["z"].to_numpy(float)
    assert np.all(np.diff(found) > 0)
    assert found[4] == 0
    assert np.all(np.abs(found[z != 0]) < 0.85 * np.abs(z[z != 0]))
    steps = (water.height_nm(z + 1) - water.height_nm(z - 1)) / 2
    assert corrected.table["lpz"].to_numpy() == pytest.approx(20 * steps, rel=1e-3)
    assert corrected.metadata.z_range_nm == pytest.approx(water.height_nm(np.array([-900.0, 900.0])))


def test_a_molecule_that_the_optics_put_somewhere_is_found_there(water: DepthScale) -> None:
    """Between the knots: the stage by which a molecule is sharpest, turned into its depth again."""
    here = optics(1.46, 1.333)
    glass = sharpest_stage_nm(here, 0.0)
    for depth_nm in (350.0, 1234.0, 2100.0):
        z = sharpest_stage_nm(here, depth_nm) - glass - FOCUS_NM
        assert water.focus_depth_nm + float(water.height_nm(z)) == pytest.approx(depth_nm, abs=10)


def test_heights_by_the_psf_of_the_sample_become_those_of_the_sample(water: DepthScale) -> None:
    """What a fit would find, by the most alike image: under the PSF of molecules at the focus' depth (`refresh`)."""
    here = optics(1.46, 1.333)
    pupil = make_pupil(here, SAMPLES)
    wave = 2 * np.pi / here.emission_nm
    transverse = np.minimum(np.hypot(*np.meshgrid(pupil.k, pupil.k)), wave * here.na)
    axial = np.sqrt((wave * here.sample_index) ** 2 - transverse.astype(complex) ** 2)
    lens = np.tensordot(LENS_RAD, pupil.zernikes, axes=1)
    at = np.arange(-880.0, 881.0, 80.0)

    def image(depth_nm: float, stage_nm: float) -> F64:
        factors = np.exp(1j * (axial * depth_nm - pupil.kz * stage_nm + lens)).astype(np.complex64)
        light = intensity(image_fields(factors, at, at, pupil), pupil)
        return np.asarray(light / np.sqrt(np.sum(light**2)))

    z_nm = np.arange(-600.0, 601.0, 10.0)
    focus = sharpest_stage_nm(here, water.focus_depth_nm)
    known = np.stack([image(water.focus_depth_nm, focus - z) for z in z_nm])

    def fitted(height_nm: float) -> float:
        alike = np.tensordot(known, image(water.focus_depth_nm + height_nm, focus), axes=2)
        return float(z_nm[int(np.argmax(alike))])

    heights = np.array([-100.0, 100.0, 200.0, 300.0])
    found = np.array([fitted(height) for height in heights])
    assert water.height_nm(found) == pytest.approx(heights, abs=15)
    assert np.abs(found - heights).max() > 50


def test_a_stage_that_falls_into_the_sample_mirrors_z(water: DepthScale) -> None:
    falling = water.model_copy(update={"into_sample": IntoSample.FALLING})
    z = np.array([-300.0, 100.0, 500.0])
    assert falling.height_nm(-z) == pytest.approx(-water.height_nm(z))


def test_the_scale_is_kept_and_applied_once(water: DepthScale, tmp_path: Path) -> None:
    correct_depth(table(), water).save(tmp_path / "deep.zarr")
    back = Locs.load(tmp_path / "deep.zarr")
    assert back.metadata.depth_scale == water
    with pytest.raises(InputError, match="corrected for depth already"):
        correct_depth(back, water)
    with pytest.raises(InputError, match=r"focal_shift_factor of 0\.8"):
        correct_depth(table(focal_shift_factor=0.8), water)


def test_deep_in_another_medium_a_warning_names_what_is_needed() -> None:
    watery = load_profile("demo").replace(optics={"sample_index": 1.333})
    with pytest.warns(EasyZlocWarning, match="`refresh` made"):
        corrected = ez_correct(table(), watery, focus_nm=1000.0)
    assert corrected.metadata.depth_scale is not None
    with pytest.raises(InputError, match="`focus_nm`"):
        ez_correct(table(), watery, focus_nm=-5.0)
    with pytest.raises(InputError, match="`into_sample`"):
        ez_correct(table(), watery, focus_nm=5.0, into_sample="up")
