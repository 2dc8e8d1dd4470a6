"""The focal surface of beads against a known one: what is taken out of z so that a flat sample looks flat."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from easyzloc_mm.camera.response import CameraResponse
from easyzloc_mm.io.beads.dataset import BeadDataset
from easyzloc_mm.io.focal_surface import FocalSurface
from easyzloc_mm.psf.focal_surface import measure_focal_surface, surface_change_nm
from easyzloc_mm.typing import F64

FIELD_PX = (1100, 1000)
"""120 um at 110 nm."""
BEADS, STACKS = 360, 6
SAG_NM, TILT_NM = 400.0, (150.0, -90.0)


def bowl(x: F64, y: F64, fourth: float = 0.0) -> F64:
    """Field curvature, from 0 in the middle to `SAG_NM` in the corners."""
    u, v = 2 * x / (FIELD_PX[0] - 1) - 1, 2 * y / (FIELD_PX[1] - 1) - 1
    square = (u * u + v * v) / 2
    return np.asarray(SAG_NM * ((1 - fourth) * square + fourth * square**2))


def tilted(x: F64, y: F64) -> F64:
    u, v = 2 * x / (FIELD_PX[0] - 1) - 1, 2 * y / (FIELD_PX[1] - 1) - 1
    return TILT_NM[0] * u + TILT_NM[1] * v


def beads_with_foci(seed: int, heights_nm: float, fourth: float = 0.0) -> BeadDataset:
    rng = np.random.default_rng(seed)
    x, y = (rng.uniform(0, size - 1, BEADS) for size in FIELD_PX)
    stack = np.arange(BEADS) % STACKS
    focus = 50_000 + 700 * stack + bowl(x, y, fourth) + tilted(x, y) + rng.normal(0, heights_nm, BEADS)
    # Some lie on dirt.
    focus[::15] += 1000
    none = np.zeros(BEADS, np.int64)
    return BeadDataset(
        rois=np.zeros((BEADS, 1, 1, 1), np.uint16), z_nm=np.zeros((BEADS, 1), np.float32), x=x, y=y,
        roi_x0=none, roi_y0=none, stack=stack, region=none, accepted=np.ones(BEADS, bool), reason=("",) * BEADS,
        response=CameraResponse(baseline_adu=100.0, electrons_per_adu=0.5, read_noise_e=1.6), pixel_size_nm=110.0,
        field_size_px=FIELD_PX, field_known=True, measures=pd.DataFrame({"focus_um": focus / 1000}),
    )  # fmt: skip


def over_the_field() -> tuple[F64, F64]:
    x, y = np.meshgrid(np.linspace(0, FIELD_PX[0] - 1, 40), np.linspace(0, FIELD_PX[1] - 1, 40))
    return x.ravel(), y.ravel()


def measured(beads: BeadDataset) -> FocalSurface:
    surface = measure_focal_surface(beads)
    assert surface is not None
    return surface


@pytest.mark.parametrize("fourth", [0.0, 0.5])
def test_a_flat_layer_over_120_um_under_400_nm_of_curvature_is_flat(fourth: float) -> None:
    surface = measured(beads_with_foci(1, 20.0, fourth))
    x, y = over_the_field()
    # Where the lens focuses higher, a flat layer lies below the focus.
    layer = -bowl(x, y, fourth)
    assert np.ptp(layer) > 390
    assert (layer + surface.height_nm(x, y, tilt=False)).std() < 10
    with_tilt = -bowl(x, y, fourth) - tilted(x, y)
    assert (with_tilt + surface.height_nm(x, y, tilt=True)).std() < 10
    assert surface.curvature_nm == pytest.approx(400, abs=30)


def test_without_noise_the_surface_is_exact_and_zero_in_the_middle() -> None:
    surface = measured(beads_with_foci(2, 0.0))
    x, y = over_the_field()
    assert surface.height_nm(x, y, tilt=False) == pytest.approx(bowl(x, y), abs=0.5)
    assert surface.tilt_nm == pytest.approx(TILT_NM, abs=0.5)
    middle = np.array([(FIELD_PX[0] - 1) / 2]), np.array([(FIELD_PX[1] - 1) / 2])
    assert surface.height_nm(*middle, tilt=True) == pytest.approx(0, abs=1e-6)
    assert FocalSurface.model_validate_json(surface.model_dump_json()) == surface


def test_rough_beads_bend_no_flat_field() -> None:
    beads = beads_with_foci(5, 40.0)
    x, y = beads.x, beads.y
    flat = beads.measures["focus_um"] - bowl(x, y) / 1000
    surface = measured(replace(beads, measures=pd.DataFrame({"focus_um": flat})))
    assert surface.height_nm(*over_the_field(), tilt=False).std() < 10
    # The standard error of a plane's rise; its ends are 1 away from the middle, beads 0.58 (root mean square).
    assert surface.tilt_nm == pytest.approx(TILT_NM, abs=4 * 40 / (0.58 * np.sqrt(BEADS)))


def test_the_field_ends_at_its_edge() -> None:
    surface = measured(beads_with_foci(3, 0.0))
    outside = surface.height_nm(np.array([-500.0, 5000.0]), np.array([499.5, 5000.0]), tilt=True)
    edge = surface.height_nm(np.array([0.0, FIELD_PX[0] - 1]), np.array([499.5, FIELD_PX[1] - 1]), tilt=True)
    assert outside == pytest.approx(edge)


def test_no_surface_without_places_or_with_few_beads() -> None:
    beads = beads_with_foci(4, 10.0)
    assert measure_focal_surface(replace(beads, field_known=False)) is None
    assert measure_focal_surface(replace(beads, accepted=np.arange(BEADS) < 20)) is None
    assert measure_focal_surface(replace(beads, measures=pd.DataFrame(index=range(BEADS)))) is None


def scaled(surface: FocalSurface, factor: float) -> FocalSurface:
    return surface.model_copy(
        update={"coefficients_nm": tuple(factor * value for value in surface.coefficients_nm), "tilt_nm": (0.0, 0.0)}
    )


def some(beads: BeadDataset, count: int) -> BeadDataset:
    """The first `count` of the beads are accepted."""
    return replace(beads, accepted=np.arange(len(beads)) < count)


def test_a_change_of_curvature_is_measured_by_thirty_beads_whatever_the_tilt() -> None:
    before = measured(beads_with_foci(1, 0.0))
    today = some(beads_with_foci(3, 20.0), 40)
    x, y = over_the_field()
    changed = surface_change_nm(today, scaled(before, 0.5))
    same = surface_change_nm(today, scaled(before, 1.0))
    assert changed is not None
    assert same is not None
    assert changed[0] == pytest.approx(np.std(bowl(x, y)) / 2, abs=3 * changed[1])
    assert changed[1] < 10
    assert same[0] < 3 * same[1]


def test_a_change_is_not_told_by_few_beads() -> None:
    before = measured(beads_with_foci(1, 0.0))
    assert surface_change_nm(some(beads_with_foci(3, 20.0), 12), before) is None
