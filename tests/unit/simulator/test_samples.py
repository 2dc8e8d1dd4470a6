"""What lies on the embedded slide."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from easyzloc_mm.simulator.samples.drift import Drift
from easyzloc_mm.simulator.samples.samples import BEAD, DIRT, FILAMENT, PORE, BeadSlide, BlinkingSample, Emitters, View

FIELD_UM = 56.3


def view(x: float, y: float, start_s: float = 0.0, *, exposure_s: float = 0.03, power: float = 1.0) -> View:
    return View(x, y, FIELD_UM, FIELD_UM, start_s, exposure_s, power)


def inside(emitters: Emitters, x: float, y: float) -> Emitters:
    half = FIELD_UM / 2
    return emitters.select((np.abs(emitters.x_um - x) < half) & (np.abs(emitters.y_um - y) < half))


def test_each_place_has_its_own_beads_and_keeps_them() -> None:
    slide = BeadSlide(0)
    here, there = (inside(slide.shining(view(x, 0.0)), x, 0.0) for x in (0.0, 80.0))
    back = inside(slide.shining(view(0.0, 0.0)), 0.0, 0.0)
    assert np.array_equal(here.x_um, back.x_um)
    assert not set(here.emitter) & set(there.emitter)
    other = inside(BeadSlide(1).shining(view(0.0, 0.0)), 0.0, 0.0)
    assert len(other.x_um) != len(here.x_um) or not np.allclose(other.x_um, here.x_um)


def test_bead_fields_are_as_dense_and_bright_as_wanted() -> None:
    slide = BeadSlide(0)
    counts, alone, photons, heights, dirt = [], [], [], [], 0
    for x in np.arange(0, 800, 80.0):
        seen = inside(slide.shining(view(x, 0.0, power=1 / 3)), x, 0.0)
        beads = seen.select(seen.structure == BEAD)
        counts.append(len(beads.x_um))
        places = np.stack([beads.x_um, beads.y_um], axis=1)
        alone.append(cKDTree(places).query(places, k=2)[0][:, 1] > 2.5)
        photons.append(beads.photons)
        heights.append(beads.height_nm - 1000 * (0.5e-3 * beads.x_um - 0.3e-3 * beads.y_um))
        dirt += len(np.unique(seen.structure_id[seen.structure == DIRT]))
    assert 60 <= np.mean(counts) <= 100
    assert 10 <= dirt <= 60
    assert np.mean(np.concatenate(alone)) > 0.5
    assert 20_000 <= np.concatenate(photons).min() <= np.concatenate(photons).max() <= 80_000
    assert np.abs(np.concatenate(heights)).max() <= 100


def test_beads_fade_with_the_light_they_get() -> None:
    slide = BeadSlide(0)
    bright = inside(slide.shining(view(0, 0)), 0, 0).photons
    for _ in range(100):
        slide.shining(view(0, 0, power=0.0))
    assert np.array_equal(inside(slide.shining(view(0, 0)), 0, 0).photons / bright > 0.999, np.full(len(bright), True))
    for _ in range(400):
        slide.shining(view(0, 0))
    faded = inside(slide.shining(view(0, 0)), 0, 0).photons / bright
    assert faded == pytest.approx(np.exp(-402 * 30 / 60_000), rel=1e-3)


def test_pores_have_two_rings() -> None:
    sample = BlinkingSample(0)
    tile = next(sample.seen(5000.0, 0.0, 1.0, 1.0))[2]
    spacing, diameter = [], []
    pore_ids = tile.structure_id[: tile.pore_sites]
    for pore in np.unique(pore_ids):
        at = np.flatnonzero(pore_ids == pore)
        assert len(at) == 32
        place = np.stack([1000 * tile.x_um[at], 1000 * tile.y_um[at], tile.height_nm[at]], axis=1)
        lower, upper = place[:16], place[16:]
        axis = upper.mean(axis=0) - lower.mean(axis=0)
        spacing.append(np.linalg.norm(axis))
        assert np.degrees(np.arccos(axis[2] / spacing[-1])) < 17
        diameter.append(2 * np.linalg.norm(lower - lower.mean(axis=0), axis=1).mean())
    assert np.mean(spacing) == pytest.approx(50, abs=1)
    assert np.mean(diameter) == pytest.approx(107, abs=1)
    assert np.ptp(tile.height_nm[tile.structure == FILAMENT]) == pytest.approx(1000, abs=30)


def test_blinking_is_sparse_and_follows_from_time_alone() -> None:
    sample, twin = BlinkingSample(0), BlinkingSample(0)
    counts, photons = [], []
    spans: dict[int, list[int]] = {}
    for frame in range(120):
        at = view(5000.0, 0.0, frame * 0.0306)
        seen = inside(sample.shining(at), 5000.0, 0.0)
        counts.append(len(seen.x_um))
        photons.append(seen.photons)
        for emitter in seen.emitter:
            spans.setdefault(int(emitter), []).append(frame)
        assert set(seen.structure) <= {PORE, FILAMENT}
    again = inside(twin.shining(at), 5000.0, 0.0)
    assert np.array_equal(np.sort(again.emitter), np.sort(seen.emitter))
    assert 50 <= np.mean(counts) <= 80
    everything = np.concatenate(photons)
    assert np.median(everything[everything > 300]) == pytest.approx(2500, rel=0.1)
    assert 1.8 < np.mean([len(frames) for frames in spans.values()]) < 3.0


def test_photons_of_an_event_do_not_depend_on_how_it_is_cut_into_frames() -> None:
    short, whole = BlinkingSample(0), BlinkingSample(0)
    parts = [short.shining(view(5000, 0, 10 + 0.05 * k, exposure_s=0.05)).photons.sum() for k in range(8)]
    assert whole.shining(view(5000, 0, 10.0, exposure_s=0.4)).photons.sum() == pytest.approx(sum(parts), rel=0.01)


def test_every_pore_is_seen_in_a_run() -> None:
    """Labels seen per pore in 100 s: enough for an average pore to show its rings."""
    sample = BlinkingSample(0)
    labels: dict[int, set[int]] = {}
    for second in range(100):
        seen = inside(sample.shining(view(5000, 0, float(second), exposure_s=1.0)), 5000, 0)
        pores = seen.select(seen.structure == PORE)
        for emitter, pore in zip(pores.emitter, pores.structure_id, strict=True):
            labels.setdefault(int(pore), set()).add(int(emitter))
    assert len(labels) > 400
    assert np.median([len(found) for found in labels.values()]) > 24


def test_drift_is_smooth_and_of_the_right_size() -> None:
    ends = np.array([Drift(seed).at(180.0) for seed in range(40)])
    size = np.sqrt((ends**2).mean(axis=0))
    assert np.all((size > 60) & (size < 200))
    path = np.array([Drift(0).at(t) for t in np.arange(0, 300, 0.3)])
    assert np.abs(np.diff(path, axis=0)).max() < 4  # nm in ten frames
    assert np.array_equal(path[0], np.zeros(3))
