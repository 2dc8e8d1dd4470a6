"""Beads whose image has lobes that wander with depth, drawn from Gaussians: each is one bead; neighbours stay such."""

from __future__ import annotations

import numpy as np
import pytest

from easyzloc_mm.beads.build import build_bead_set
from easyzloc_mm.beads.detection.find import Overview, find_beads
from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.beads.stack import BeadStack
from easyzloc_mm.psf.crop_choice import LIGHT_SHARE, crop_of, crop_px
from easyzloc_mm.psf.kind import PsfKind, kind_of_beads
from easyzloc_mm.typing import F64, Bool
from tests.helpers.lobed_beads import (
    APART_PX,
    RESPONSE,
    SIDE,
    Image,
    astigmatic,
    double_helix,
    extended,
    record,
    slide,
    spot,
    stack_of_planes,
    tetrapod,
    unmodified,
)


@pytest.mark.parametrize(
    ("image", "kind"),
    [(double_helix, PsfKind.DOUBLE_HELIX), (tetrapod, PsfKind.TETRAPOD), (astigmatic, PsfKind.ASTIGMATIC)],
)
def test_one_bead_is_one_candidate_whatever_its_lobes_do(image: Image, kind: PsfKind) -> None:
    stack, truth = slide(image, 1)
    beads = build_bead_set([stack], RESPONSE, 110.0)
    assert len(beads) == len(truth)
    assert beads.accepted.sum() >= len(truth) - 1
    away = np.hypot(beads.x[:, None] - truth[:, 0], beads.y[:, None] - truth[:, 1])
    mine = away.argmin(axis=1)
    assert sorted(mine) == list(range(len(truth)))
    offset = np.stack([beads.x, beads.y], axis=1) - truth[mine, :2]
    assert np.abs(offset - np.median(offset, axis=0)).max() < 0.05
    label = 1000 * beads.measures["focus_um"].to_numpy() - truth[mine, 2]
    assert np.std(label[beads.accepted]) < 10
    edge = crop_px(beads)
    assert beads.rois.shape[-1] >= edge
    assert kind_of_beads(beads) is kind


def test_a_neighbour_among_lobed_beads_is_still_a_neighbour() -> None:
    stack, truth = slide(double_helix, 2, second=True)
    beads = build_bead_set([stack], RESPONSE, 110.0)
    beside = np.hypot(beads.x - truth[0, 0], beads.y - truth[0, 1]) < 12
    assert beside.any()
    assert not beads.accepted[beside].any()
    assert beads.accepted.sum() >= len(truth) - 2


def test_doublets_are_none_of_the_beads_though_a_third_of_them_are() -> None:
    rng = np.random.default_rng(11)
    places = np.stack(np.meshgrid(np.arange(4), np.arange(4)), axis=-1).reshape(-1, 2) * 48.0 + 38
    drawn = [(*place, rng.uniform(-80, 80), rng.uniform(3e4, 6e4)) for place in places]
    # Two lobed beads so near to each other are one patch of light, and one candidate.
    for (x, y), angle, apart in zip(places[:6], rng.uniform(0, 2 * np.pi, 6), np.linspace(3, 7.5, 6), strict=True):
        drawn.append((x + apart * np.cos(angle), y + apart * np.sin(angle), rng.uniform(-80, 80), 4e4))
    beads = build_bead_set([stack_of_planes(record(double_helix, SIDE, drawn, 12))], RESPONSE, 110.0)
    nearest = np.hypot(beads.x[:, None] - places[:, 0], beads.y[:, None] - places[:, 1]).argmin(axis=1)
    assert sorted(nearest) == list(range(len(places)))
    assert not beads.accepted[nearest < 6].any()
    assert beads.accepted[nearest >= 6].all()


def of_two_kinds(first: Image, second: Image, seed: int) -> tuple[BeadStack, F64, Bool]:
    """A slide of 16 beads, of which the left half shows one image and the right half another."""
    places: F64 = np.stack(np.meshgrid(np.arange(4.0), np.arange(4.0)), axis=-1).reshape(-1, 2) * APART_PX + APART_PX
    right = places[:, 0] > SIDE / 2
    halves = [
        record(image, SIDE, [(*place, 0.0, 4e4) for place in places[which]], seed).astype(int)
        for image, which in ((first, ~right), (second, right))
    ]
    # Baseline and background are in both.
    pixels = halves[0] + halves[1] - int(np.median(halves[0]))
    return stack_of_planes(pixels.astype(np.uint16)), places, right


def test_labels_follow_the_lobes_where_another_plane_is_sharpest_on_either_side_of_the_field() -> None:
    def sharpest_at(best_nm: float) -> Image:
        def image(x: F64, y: F64, z_nm: float) -> F64:
            width = 1.4 * np.sqrt(1 + ((z_nm - best_nm) / 500) ** 2)
            away = 2.0 + abs(z_nm) / 180
            dx, dy = (0.0, away) if z_nm > 0 else (away, 0.0)
            return np.asarray(0.5 * (spot(x - dx, y - dy, width, width) + spot(x + dx, y + dy, width, width)))

        return image

    beads = build_bead_set([of_two_kinds(sharpest_at(-120.0), sharpest_at(120.0), 21)[0]], RESPONSE, 110.0)
    assert beads.accepted.all()
    labels = 1000 * beads.measures["focus_um"].to_numpy()
    right = beads.x > SIDE / 2
    by_sharpness = labels - beads.measures["sharpness_shift_nm"]
    assert abs(np.median(by_sharpness[right]) - np.median(by_sharpness[~right])) > 100
    assert abs(np.median(labels[right]) - np.median(labels[~right])) < 15


def test_beads_of_several_stacks_have_one_middle() -> None:
    slides = [slide(tetrapod, seed) for seed in (31, 32)]
    beads = build_bead_set([stack for stack, _ in slides], RESPONSE, 110.0)
    middles = []
    for number, (_, truth) in enumerate(slides):
        found = np.stack([beads.x, beads.y], axis=1)[beads.stack == number]
        away = found[:, None] - truth[:, :2]
        nearest = np.hypot(*away.transpose(2, 0, 1)).argmin(axis=1)
        middles.append(np.median(away[np.arange(len(found)), nearest], axis=0))
    assert np.abs(middles[0] - middles[1]).max() < 0.01


def test_light_beside_a_bead_at_another_depth_is_its_own_where_it_is_so_beside_many() -> None:
    def beside(x: F64, y: F64, z_nm: float) -> F64:
        there = np.exp(-(((z_nm - 800) / 200) ** 2))
        return np.asarray(unmodified(x, y, z_nm) + 0.5 * there * spot(x - 4, y, 1.4, 1.4))

    stack, places, _ = of_two_kinds(unmodified, beside, 22)
    beads = build_bead_set([stack], RESPONSE, 110.0)
    assert len(beads) == len(places)
    assert beads.accepted.all()


def test_crops_can_be_asked_to_hold_the_light_at_every_depth() -> None:
    row, column = np.mgrid[-15:16, -15:16].astype(float)
    images = np.stack([tetrapod(column, row, z_nm) for z_nm in np.linspace(-1000, 1000, 9)])[None].astype(np.float32)

    def least(edge: int) -> float:
        part = slice(15 - edge // 2, 16 + edge // 2)
        return float((images[:, :, part, part].sum(axis=(2, 3)) / images.sum(axis=(2, 3))).min())

    assert least(crop_of(images)) < LIGHT_SHARE
    assert least(crop_of(images, every_depth=True)) >= LIGHT_SHARE > least(crop_of(images, every_depth=True) - 2)


def test_a_spot_that_hardly_changes_is_called_so() -> None:
    assert kind_of_beads(build_bead_set([slide(extended, 8)[0]], RESPONSE, 110.0)) is PsfKind.EXTENDED


def test_spots_stay_spots_and_crowded_ones_are_not_taken_for_lobes() -> None:
    stack, truth = slide(unmodified, 3)
    beads = build_bead_set([stack], RESPONSE, 110.0)
    assert beads.accepted.sum() >= len(truth) - 1
    assert crop_px(beads) == 15
    assert kind_of_beads(beads) is PsfKind.UNMODIFIED
    angles = iter(np.random.default_rng(4).uniform(0, np.pi, 100))
    # Every bead has a neighbour, each in another direction.
    fixed: dict[float, float] = {}

    def doublets(x: F64, y: F64, z_nm: float) -> F64:
        key = float(x[0, 0] * 1000 + y[0, 0])
        if key not in fixed:
            fixed[key] = next(angles)
        turned = fixed[key]
        dx, dy = 4.5 * np.cos(turned), 4.5 * np.sin(turned)
        return 0.5 * (unmodified(x - dx, y - dy, z_nm) + unmodified(x + dx, y + dy, z_nm))

    crowded, _ = slide(doublets, 5)
    with pytest.raises(InputError, match="dilute the bead slide"), pytest.warns(EasyZlocWarning, match="fewer than 3"):
        build_bead_set([crowded], RESPONSE, 110.0)


def test_the_size_of_crops_can_be_given_and_is_held_against_the_regions() -> None:
    stack, _ = slide(unmodified, 6)
    beads = build_bead_set([stack], RESPONSE, 110.0, roi_px=21)
    assert beads.rois.shape[-1] == 29
    assert crop_px(beads) == 21
    assert crop_px(beads, 17) == 17
    with pytest.raises(InputError, match="hold crops of up to 21 px"):
        crop_px(beads, 23)
    for impossible in (16, 13, 33):
        with pytest.raises(InputError, match="an odd number from 15 to 31"):
            crop_px(beads, impossible)


def test_beads_at_every_edge_are_seen_and_rings_of_bright_ones_are_not() -> None:
    row, column = np.mgrid[:SIDE, :SIDE].astype(float)
    rng = np.random.default_rng(7)
    edges = [(2.0, 100.0), (SIDE - 3.0, 60.0), (80.0, 2.0), (140.0, SIDE - 3.0), (0.0, 30.0), (SIDE - 1.0, 150.0)]
    mean = np.full((SIDE, SIDE), 20.0)
    for x, y in [*edges, (110.0, 110.0)]:
        mean += 2e4 * unmodified(column - x, row - y, 0.0)
    bright, faint = (40.0, 170.0), (60.0, 176.0)
    mean += 3e6 * unmodified(column - bright[0], row - bright[1], 0.0)
    mean += 2e4 * unmodified(column - faint[0], row - faint[1], 0.0)
    plane = ((rng.poisson(mean) + rng.normal(0, 1.5, mean.shape)) / 0.5 + 100).astype(np.float32)
    overview = Overview(np.arange(1), np.ones(1), np.ones(1), plane[None], np.zeros(1))
    found = find_beads(overview, 0.0)
    for x, y in [*edges, (110.0, 110.0), bright]:
        assert np.hypot(found.x - x, found.y - y).min() < 1.5
    assert len(found.x) == len(edges) + 2
