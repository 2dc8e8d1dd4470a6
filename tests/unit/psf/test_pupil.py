"""Aberrations of a sample, found by molecules, on optics that share no code with the pupil model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from easyzloc_mm.model.emitter_prior import EmitterPrior
from easyzloc_mm.optics.pupil import (
    Pupil,
    collected,
    deep_pupil,
    image_fields,
    intensity,
    make_pupil,
    phase,
    through_sample,
)
from easyzloc_mm.psf.bead_psf import PITCH_PX
from easyzloc_mm.psf.field_psf import FieldPsf
from easyzloc_mm.psf.mle import fit_psf
from easyzloc_mm.psf.pupil.change import CHANGING, PsfChange
from easyzloc_mm.psf.pupil.climb import DEEPEST_NM, LARGEST_RAD, DepthPrior, Difference, climb
from easyzloc_mm.psf.pupil.depth import likeliest
from easyzloc_mm.psf.pupil.estimate import FLOOR_RAD, ITERATIONS, Estimate, estimate
from easyzloc_mm.psf.pupil.modelled import NOLLS, PupilImages
from easyzloc_mm.psf.pupil.score import Molecules
from easyzloc_mm.psf.pupil.wavefront import Wavefront, retrieve
from tests.helpers.sample_run import ADDED, BEADS, PROFILE, READ_NOISE_E, SAMPLE, SIDE_PX, molecules, one_place

FIELD_PX = (SIDE_PX, SIDE_PX)
OPTICS = PROFILE.optics
MOLECULES = 1200
DEPTH_NM = 1100.0


@pytest.fixture(scope="module")
def beads() -> FieldPsf:
    return one_place(BEADS)


@pytest.fixture(scope="module")
def sample() -> FieldPsf:
    return one_place(SAMPLE)


@pytest.fixture(scope="module")
def wavefront(beads: FieldPsf) -> Wavefront:
    return retrieve(beads, OPTICS)


def molecules_of(psf: FieldPsf, seed: int) -> Molecules:
    """Molecules whose depths are known to 50 nm, as from a network."""
    drawn = molecules(psf, MOLECULES, seed)
    known = drawn.z_nm + np.random.default_rng(seed).normal(0, 50, MOLECULES)
    return Molecules(drawn.crops, drawn.x, drawn.y, known, EmitterPrior().prior(drawn.x, drawn.y), READ_NOISE_E)


@pytest.fixture(scope="module")
def found(beads: FieldPsf, sample: FieldPsf, wavefront: Wavefront) -> Estimate:
    """Looked at for a depth, too, which these molecules have not."""
    return estimate(molecules_of(sample, 1), beads, OPTICS, FIELD_PX, wavefront=wavefront, depth=DepthPrior())


@pytest.fixture(scope="module")
def deep() -> FieldPsf:
    """1.1 um of water above the glass, and another setting of the collar."""
    return one_place(SAMPLE.model_copy(update={"depth_nm": DEPTH_NM}))


def test_the_wavefront_of_beads_is_that_of_their_lens(wavefront: Wavefront) -> None:
    known = dict(zip(NOLLS, wavefront.zernike_rad[0], strict=True))
    assert wavefront.correlation > 0.99
    assert known[11] == pytest.approx(BEADS.spherical_rad, abs=FLOOR_RAD)
    assert known[22] == pytest.approx(BEADS.secondary_spherical_rad, abs=FLOOR_RAD)
    assert known[10] == pytest.approx(BEADS.trefoil_rad, abs=FLOOR_RAD)
    assert known[6] == pytest.approx(BEADS.astigmatism_rad[0], abs=FLOOR_RAD)


def test_molecules_tell_which_aberrations_the_sample_adds(found: Estimate) -> None:
    assert found.differs
    assert np.all(np.abs(found.theta_rad - ADDED) < 3 * found.sd_rad)
    assert found.molecules > 0.9 * MOLECULES


def test_the_refreshed_psf_is_the_samples(beads: FieldPsf, sample: FieldPsf, found: Estimate) -> None:
    """Where z is in use; near the ends of the stack splines of all kinds have their own."""
    z_nm = beads.z_start_nm + beads.z_pitch_nm * np.arange(beads.coefficients.shape[1])
    used = np.abs(z_nm) < 900
    before, after = (psf.coefficients[0, used] - sample.coefficients[0, used] for psf in (beads, found.psf))
    assert np.sum(after**2) < 0.1 * np.sum(before**2)


def test_crops_of_another_size_change_alike(beads: FieldPsf, found: Estimate) -> None:
    def narrow(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return values[:, :, 4:-4, 4:-4]

    wanted = narrow(found.psf.coefficients)
    other = found.applied_to(replace(beads, coefficients=narrow(beads.coefficients))).coefficients
    z_nm = beads.z_start_nm + beads.z_pitch_nm * np.arange(beads.coefficients.shape[1])
    used = np.abs(z_nm) < 900
    change = np.sum((wanted - narrow(beads.coefficients))[:, used] ** 2)
    assert np.sum((other - wanted)[:, used] ** 2) < 1e-3 * change


def test_what_the_beads_psf_does_to_z_is_told(beads: FieldPsf, sample: FieldPsf, found: Estimate) -> None:
    """To first order: by less than a factor of two, of the molecules that stay at their depth."""
    drawn = molecules_of(sample, 1)
    place = np.zeros(MOLECULES, np.int64)
    under = [
        fit_psf(drawn.crops, psf.table(FIELD_PX), place, drawn.z_nm[:, None], READ_NOISE_E, drawn.prior).z_nm[:, 0]
        for psf in (beads, sample)
    ]
    moved = under[0] - under[1]
    moved = moved[np.abs(moved) < 300] - np.median(moved)
    assert 0.5 < found.z_error_nm / np.sqrt(np.mean(moved**2)) < 2


def test_a_sample_like_the_beads_is_left_alone(beads: FieldPsf, wavefront: Wavefront) -> None:
    same = estimate(molecules_of(beads, 2), beads, OPTICS, FIELD_PX, wavefront=wavefront, iterations=1)
    assert not same.differs
    assert np.all(np.abs(same.theta_rad) < 3 * same.sd_rad)


def test_molecules_deep_in_water_tell_their_psf_and_depth(
    beads: FieldPsf, deep: FieldPsf, wavefront: Wavefront
) -> None:
    """Spherical aberration and depth are alike, so that neither is known well; the PSF of the two together is."""
    drawn = molecules_of(deep, 3)
    found = estimate(drawn, beads, OPTICS, FIELD_PX, wavefront=wavefront, depth=DepthPrior())
    assert found.differs
    assert abs(found.depth_nm - DEPTH_NM) < 3 * found.depth_sd_nm
    assert found.theta_rad[CHANGING.index(8)] == pytest.approx(ADDED[3], abs=FLOOR_RAD)
    place, true_nm = np.zeros(MOLECULES, np.int64), molecules(deep, MOLECULES, 3).z_nm.astype(float)
    wrong, mended, best = (
        fit_psf(drawn.crops, psf.table(FIELD_PX), place, true_nm[:, None], READ_NOISE_E, drawn.prior).z_nm[:, 0]
        for psf in (beads, found.psf, deep)
    )
    near = np.abs(true_nm) < 600
    scales = [np.polyfit(true_nm[near], z_nm[near], 1)[0] for z_nm in (wrong, mended, best)]
    assert abs(scales[0] - 1) > 0.1
    assert scales[1] == pytest.approx(scales[2], abs=0.02)
    errors = [np.std((z_nm - true_nm)[near]) for z_nm in (mended, best)]
    assert errors[0] < 1.15 * errors[1]


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_difference_stays_on_its_side_within_what_a_sample_may_have(side: float) -> None:
    start, far = Difference(np.zeros(len(CHANGING)), side * 1000.0), np.full(len(CHANGING) + 1, side * 20.0)
    assert start.moved(far).depth_nm == side * DEEPEST_NM
    assert start.moved(-far).depth_nm == 0.0
    assert np.abs(start.moved(far).theta_rad).max() == LARGEST_RAD
    assert np.abs(Difference(start.theta_rad).moved(far[:-1]).theta_rad).max() == LARGEST_RAD


def test_both_sides_of_the_glass_are_climbed_within_what_a_sample_may_have(
    beads: FieldPsf, wavefront: Wavefront
) -> None:
    """Molecules whose wrong side asks for more spherical aberration than any sample has."""
    very_deep = one_place(SAMPLE.model_copy(update={"depth_nm": 2700.0}))
    change = PsfChange(beads, wavefront)
    drawn = molecules_of(very_deep, 4)
    at_glass = climb(drawn, change, FIELD_PX, Difference(np.zeros(len(CHANGING))), iterations=ITERATIONS).found
    ends = likeliest(drawn, change, FIELD_PX, at_glass.theta_rad, DepthPrior())
    assert [end.side for end in ends] == [1.0, -1.0]
    assert all(abs(end.depth_nm or 0.0) <= DEEPEST_NM for end in ends)
    assert all(np.abs(end.theta_rad).max() <= LARGEST_RAD for end in ends)


def test_where_z_counts_against_depth_molecules_say_so(deep: FieldPsf, beads: FieldPsf) -> None:
    """The same stacks, with a stage that counts the other way: nothing else can tell."""
    against = turned(beads)
    found = estimate(molecules_of(turned(deep), 3), against, OPTICS, FIELD_PX, depth=DepthPrior())
    assert found.depth_nm < 0


def turned(psf: FieldPsf) -> FieldPsf:
    """The PSF of a stage that counts the other way."""
    end_nm = psf.z_start_nm + psf.z_pitch_nm * (psf.coefficients.shape[1] - 1)
    planes = np.ascontiguousarray(psf.coefficients[:, ::-1])
    return replace(psf, coefficients=planes, z_start_nm=-end_nm, low_nm=-psf.high_nm, high_nm=-psf.low_nm)


@pytest.mark.parametrize("depth_nm", [400.0, 2500.0])
def test_the_images_of_a_depth_are_those_of_other_code(depth_nm: float) -> None:
    """Of a lens without aberrations, wherever each of the two has its focus."""
    none = (0.0, 0.0)
    plain = BEADS.model_copy(
        update={
            "spherical_rad": 0.0,
            "secondary_spherical_rad": 0.0,
            "trefoil_rad": 0.0,
            "coma_rad": none,
            "astigmatism_rad": none,
            "depth_nm": depth_nm,
        }
    )
    known, planes = one_place(plain), slice(8, 28)
    z_nm = known.z_start_nm + known.z_pitch_nm * np.arange(known.coefficients.shape[1])[planes]
    images = PupilImages(OPTICS, known.coefficients.shape[-1], depth_nm=depth_nm)

    def alike(shift_nm: float) -> float:
        drawn = images.coefficients(np.zeros(len(NOLLS)), z_nm[0] + shift_nm, known.z_pitch_nm, len(z_nm))
        return float(np.corrcoef(drawn.ravel(), known.coefficients[0, planes].ravel())[0, 1])

    assert max(map(alike, np.arange(-400.0, 401.0, 40.0))) > 0.995


@pytest.mark.parametrize("depth_nm", [0.0, 2200.0])
def test_few_samples_of_the_pupil_are_enough_at_any_depth(depth_nm: float) -> None:
    """Light beyond the critical angle fades within less than a cell: points of it would be a tenth off in the image."""
    place_nm, none = 110.0 * np.arange(-10, 11), np.zeros(len(NOLLS))

    def images(pupil: Pupil, factor: NDArray[np.complex64] | float = 1.0) -> NDArray[np.float64]:
        drawn = [
            intensity(image_fields(phase(pupil, none, z_nm) * factor, place_nm, place_nm, pupil), pupil)
            for z_nm in (-600.0, 0.0, 600.0)
        ]
        return np.stack(drawn)

    points = make_pupil(OPTICS, 240, NOLLS)
    factor = through_sample(OPTICS, points, depth_nm)
    wanted = images(points, factor) / collected(points, factor)
    error = images(deep_pupil(OPTICS, 40, NOLLS, depth_nm)) - wanted
    assert np.sqrt(np.sum(error**2) / np.sum(wanted**2)) < 0.03


def test_depth_matters_only_where_indices_differ() -> None:
    matched = OPTICS.model_copy(update={"sample_index": OPTICS.immersion_index})
    pupil = make_pupil(matched, 40)
    assert np.abs(np.angle(through_sample(matched, pupil, 2000.0))[pupil.kz > 0]).max() < 1e-3
    assert collected(pupil, through_sample(matched, pupil, 2000.0)) == pytest.approx(1.0)


def test_light_beyond_the_critical_angle_does_not_come_from_deep_molecules() -> None:
    """By the pupil's own share of it: what is left at a depth of many wavelengths."""
    pupil = make_pupil(OPTICS, 40)
    power = np.tensordot(pupil.weights, np.abs(pupil.fields) ** 2, axes=1)
    k = np.hypot(*np.meshgrid(pupil.k, pupil.k))
    travelling = power[k < 2 * np.pi / OPTICS.emission_nm * OPTICS.sample_index].sum() / power.sum()
    assert collected(pupil, through_sample(OPTICS, pupil, 1e5)) == pytest.approx(travelling, abs=0.01)
    assert collected(pupil, through_sample(OPTICS, pupil, 0.0)) == 1.0


def test_no_change_is_exactly_none(beads: FieldPsf, wavefront: Wavefront) -> None:
    assert PsfChange(beads, wavefront).changed(np.zeros(len(CHANGING))) is beads


def test_x_and_y_of_the_refreshed_psf_do_not_follow_the_stage(beads: FieldPsf, sample: FieldPsf) -> None:
    """Beads are followed sideways, be it the stage or coma that moves them: only the pupil tells the two apart."""
    walk = np.array([60.0, -35.0])
    z_um = (beads.z_start_nm + beads.z_pitch_nm * np.arange(beads.coefficients.shape[1])) / 1000
    pitch_nm = PITCH_PX * OPTICS.pixel_size_nm
    followed = [
        ndimage.shift(plane, walk[::-1] * z / pitch_nm, order=5, mode="nearest")
        for plane, z in zip(beads.coefficients[0], z_um, strict=True)
    ]
    moving = replace(beads, coefficients=np.stack(followed)[None])
    seen = retrieve(moving, OPTICS)
    assert 1000 * np.array(seen.walk) == pytest.approx(walk, abs=5)
    drawn = molecules_of(sample, 1)
    made = molecules(sample, MOLECULES, 1)
    near = np.abs(made.z_nm) < 600
    slopes = []
    for psf in (moving, PsfChange(moving, seen).changed(ADDED)):
        start = made.z_nm[:, None].astype(float)
        fits = fit_psf(
            drawn.crops, psf.table(FIELD_PX), np.zeros(MOLECULES, np.int64), start, READ_NOISE_E, drawn.prior
        )
        place = np.stack([fits.x_px[:, 0], fits.y_px[:, 0]], axis=1) - made.xy_px
        line = np.polyfit(made.z_nm[near] / 1000, OPTICS.pixel_size_nm * place[near], 1)
        slopes.append(line[0])
    assert np.abs(slopes[0]).max() > 50
    assert np.abs(slopes[1]).max() < 8


def test_slopes_are_those_of_the_changed_psf(beads: FieldPsf, wavefront: Wavefront) -> None:
    change = PsfChange(beads, wavefront)
    step = np.zeros(len(CHANGING))
    step[1] = 0.02  # astigmatism moves no focus
    slope = change.slopes(np.zeros(len(CHANGING)), FIELD_PX).coefficients[0, 1]
    difference = (change.changed(step).coefficients[0] - change.changed(-step).coefficients[0]) / 0.04
    assert np.abs(difference - slope).max() < 0.05 * np.abs(slope).max()


def test_a_field_polynomial_takes_the_change_up_whatever_its_degree(beads: FieldPsf, wavefront: Wavefront) -> None:
    """The same images at every node: the same change everywhere, for a PSF that varied over the field by a plane."""
    nodes = np.stack([grid.ravel() for grid in np.meshgrid([0.0, -0.8, 0.8], [0.0, -0.8, 0.8])], axis=1)
    tilted = np.concatenate([beads.coefficients, 0.1 * beads.coefficients, -0.1 * beads.coefficients])
    everywhere = replace(
        wavefront,
        nodes=nodes,
        zernike_rad=np.repeat(wavefront.zernike_rad, 9, 0),
        z_nm=np.repeat(wavefront.z_nm, 9),
        xy_nm=np.repeat(wavefront.xy_nm, 9, 0),
    )
    linear = replace(beads, coefficients=tilted, degree=1)
    theta = np.array([0.1, 0.0, 0.0, 0.0, 0.0, 0.0])
    added = PsfChange(beads, wavefront).changed(theta).coefficients - beads.coefficients
    changed = PsfChange(linear, everywhere).changed(theta)
    assert changed.degree == 2
    before, after = (psf.table(FIELD_PX).coefficients for psf in (linear, changed))
    assert np.abs(after - before - added).max() < 1e-3 * np.abs(added).max()
