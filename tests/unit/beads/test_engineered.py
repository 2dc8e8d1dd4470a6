"""Engineered PSFs from elsewhere: ready-cut ROIs, real masks, what is light of a bead, and what each kind is called."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from easyzloc_mm.api.calibrating.calibration import build_beads
from easyzloc_mm.beads.build import bead_set_from_rois, build_bead_set
from easyzloc_mm.beads.detection.find import find_beads, look_through
from easyzloc_mm.benchmarks.second_optics.lens import SAMPLES_PER_PIXEL, Lens, Mask
from easyzloc_mm.errors import EasyZlocWarning
from easyzloc_mm.io.beads.dataset import BeadDataset
from easyzloc_mm.io.beads.stack import StackPixels
from easyzloc_mm.psf.kind import IN_WORDS, PsfKind, kind_of_beads, kind_of_images
from easyzloc_mm.typing import F64, U16
from tests.helpers.lobed_beads import (
    RESPONSE,
    STAGE_NM,
    Image,
    astigmatic,
    double_helix,
    extended,
    ready_cut,
    record,
    stack_of_planes,
    tetrapod,
    unmodified,
)

KINDS = [(double_helix, PsfKind.DOUBLE_HELIX), (tetrapod, PsfKind.TETRAPOD), (unmodified, PsfKind.UNMODIFIED)]


@pytest.mark.parametrize(("image", "kind"), KINDS)
def test_ready_cut_beads_are_accepted_whatever_their_lobes_do(image: Image, kind: PsfKind) -> None:
    beads = bead_set_from_rois(ready_cut(image, 8, 1), RESPONSE, 110.0, 100.0)
    assert beads.accepted.all()
    assert kind_of_beads(beads) is kind


@pytest.mark.parametrize(("image", "kind"), KINDS[:2])
def test_a_single_roi_with_lobes_is_one_bead(image: Image, kind: PsfKind) -> None:
    with pytest.warns(EasyZlocWarning, match="fewer than 3 usable beads"):
        beads = bead_set_from_rois(ready_cut(image, 1, 2), RESPONSE, 110.0, 100.0)
    assert beads.accepted.tolist() == [True]
    assert kind_of_beads(beads) is kind


@pytest.mark.parametrize("image", [tetrapod, unmodified])
def test_a_roi_with_two_beads_is_still_refused(image: Image) -> None:
    beads = bead_set_from_rois(ready_cut(image, 9, 3, doublets=3), RESPONSE, 110.0, 100.0)
    assert beads.accepted.tolist() == [False] * 3 + [True] * 6


def hot(roi: U16) -> U16:
    """A ROI with a pixel that is stuck."""
    stuck = roi.copy()
    stuck[..., 12, 19] = 60_000
    return stuck


@pytest.mark.parametrize(
    ("image", "wrong", "kind"),
    [
        (unmodified, lambda: ready_cut(tetrapod, 1, 60), PsfKind.UNMODIFIED),
        (unmodified, lambda: ready_cut(extended, 1, 60), PsfKind.UNMODIFIED),
        (astigmatic, lambda: ready_cut(tetrapod, 1, 60), PsfKind.ASTIGMATIC),
        (extended, lambda: hot(ready_cut(extended, 1, 50)), PsfKind.EXTENDED),
    ],
    ids=["tetrapod", "extended", "tetrapod, astigmatic", "hot pixel"],
)
def test_one_wrong_bead_among_good_ones_names_no_other_kind(
    image: Image, wrong: Callable[[], U16], kind: PsfKind
) -> None:
    beads = bead_set_from_rois(np.concatenate([ready_cut(image, 5, 1), wrong()]), RESPONSE, 110.0, 100.0)
    assert beads.accepted.tolist() == [True] * 5 + [False]
    assert kind_of_beads(beads) is kind
    # Had the judge let it pass, too.
    assert kind_of_beads(replace(beads, accepted=np.ones(6, bool))) is kind


@pytest.mark.parametrize(("mask", "kind"), [("crlb1", PsfKind.TETRAPOD), ("edof", PsfKind.EXTENDED)])
def test_a_real_bead_behind_a_mask_is_one_bead_of_its_kind(shared_data: Path, mask: str, kind: PsfKind) -> None:
    with pytest.warns(EasyZlocWarning, match=r"GUESSED|fewer than 3"):
        beads = build_beads(shared_data / f"real_engineered_psf_{mask}.tif", pixel_size_nm=110.0, z_step_nm=100.0)
    assert beads.accepted.tolist() == [True]
    assert kind_of_beads(beads) is kind


def test_a_faint_bead_with_lobes_is_no_light_of_bright_ones() -> None:
    apart = [(45.0, 45.0), (45.0, 150.0), (150.0, 45.0), (150.0, 150.0)]
    drawn = [(x, y, 0.0, 6e5) for x, y in apart] + [(97.0, 97.0, 0.0, 6e4)]
    beads = build_bead_set([stack_of_planes(record(tetrapod, 196, drawn, 4))], RESPONSE, 110.0)
    found = np.column_stack([beads.x, beads.y])
    assert len(found) == len(drawn)
    assert np.hypot(*(found[:, None] - np.array(drawn)[:, :2]).T).min(axis=1).max() < 2


def test_a_slide_full_of_lobes_is_no_empty_one() -> None:
    rng = np.random.default_rng(9)
    drawn = [(*place, 0.0, 4e4) for place in rng.uniform(8, 132, (36, 2))]
    pixels = record(double_helix, 140, drawn, 10)
    overview = look_through(StackPixels(pixels, len(pixels)), np.arange(len(pixels)), STAGE_NM)
    assert len(find_beads(overview, 0.0).x) >= len(drawn)


def through_focus(lens: Lens, u: float, v: float) -> F64:
    return lens.images(u, v, STAGE_NM[2:-2], 12)[:, ::SAMPLES_PER_PIXEL, ::SAMPLES_PER_PIXEL]


def nine_beads(lens: Lens, u: float, v: float, half_px: int) -> BeadDataset:
    """Nine beads that stand alone, each as the lens images it at one place of its field."""
    table = lens.images(u, v, STAGE_NM, half_px)[:, ::SAMPLES_PER_PIXEL, ::SAMPLES_PER_PIXEL]
    rng = np.random.default_rng(5)
    mean = np.full((len(STAGE_NM), 180, 180), 20.0)
    for x, y in itertools.product((40, 90, 140), repeat=2):
        mean[:, y - half_px : y + half_px + 1, x - half_px : x + half_px + 1] += 4e4 * table
    pixels = (rng.poisson(mean) + rng.normal(0, 1.5, mean.shape)) / 0.5 + 100
    return build_bead_set([stack_of_planes(np.rint(pixels).astype(np.uint16))], RESPONSE, 110.0)


def test_a_bead_whose_image_walks_sideways_is_one_candidate() -> None:
    # Coma at the edge of the field: the image's brightest detail below focus and above it are 4 px apart.
    assert nine_beads(Lens(), -0.86, -0.18, 13).accepted.tolist() == [True] * 9


def test_a_phase_ramp_is_one_bead_and_called_what_it_may_be() -> None:
    beads = nine_beads(Mask.PHASE_RAMP.lens, 0.3, -0.2, 20)
    assert beads.accepted.tolist() == [True] * 9
    kind = kind_of_beads(beads)
    assert kind is not None
    assert "two lobes that turn around each other with depth" in IN_WORDS[kind]
    assert "a phase ramp" in IN_WORDS[kind]


def test_what_each_mask_is_called_and_that_aberrations_are_no_mask() -> None:
    for mask, kind in ((Mask.ASTIGMATIC, PsfKind.ASTIGMATIC), (Mask.TETRAPOD, PsfKind.TETRAPOD),
                       (Mask.DOUBLE_HELIX, PsfKind.DOUBLE_HELIX)):  # fmt: skip
        assert kind_of_images(through_focus(mask.lens, 0.0, 0.0)) is kind
    rng = np.random.default_rng(6)
    for _ in range(12):
        lens = Lens(
            spherical_rad=rng.uniform(-0.9, 0.9), coma_rad=tuple(rng.normal(0, 0.3, 2)),
            astigmatism_rad=tuple(rng.normal(0, 0.3, 2)), trefoil_rad=rng.normal(0, 0.3),
        )  # fmt: skip
        found = kind_of_images(through_focus(lens, *rng.uniform(-1, 1, 2)))
        assert found in (PsfKind.UNMODIFIED, PsfKind.ASTIGMATIC), lens
