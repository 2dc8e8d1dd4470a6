"""The figures of an instrument against beads of known width, their grades, and their trends."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from easyzloc_mm.api.calibrating.trends import is_folder_of_calibrations, trends
from easyzloc_mm.beads.build import build_bead_set
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.dataset import BeadDataset
from easyzloc_mm.io.passport import PASSPORT_FILE, Grade, Item, LightLevel, Passport
from easyzloc_mm.passport.items import graded, passport_of
from easyzloc_mm.passport.light import light_ratio
from easyzloc_mm.passport.page import COLOURS, write_passport
from tests.helpers.bead_slides import PIXEL_NM, RESPONSE, photograph, slide, stack_of

SIZE_PX = 220
FWHM = 2.3548
EXPOSURE_MS = 30.0
"""Of `stack_of`."""


@pytest.fixture(scope="module")
def beads() -> BeadDataset:
    rng = np.random.default_rng(5)
    stacks = [stack_of(photograph(slide(14, SIZE_PX, rng), SIZE_PX, rng), f"field {number}") for number in range(2)]
    return build_bead_set(stacks, RESPONSE, PIXEL_NM)


@pytest.fixture(scope="module")
def passport(beads: BeadDataset) -> Passport:
    return passport_of(beads)


def item(passport: Passport, name: str) -> Item:
    return next(one for one in passport.items if one.name == name)


def widths_nm() -> tuple[float, float]:
    """Of `photograph` in the sharpest plane, along x and y."""
    z = np.linspace(-400, 400, 801)
    along_x, along_y = 1.35 * np.hypot(1, (z - 250) / 450), 1.25 * np.hypot(1, (z + 250) / 400)
    best = int(np.argmin(along_x * along_y))
    return FWHM * PIXEL_NM * float(along_x[best]), FWHM * PIXEL_NM * float(along_y[best])


def test_widths_are_those_of_the_beads(passport: Passport) -> None:
    x_nm, y_nm = widths_nm()
    for name, truth in (("x", x_nm), ("y", y_nm)):
        found = item(passport, f"fwhm_micron_{name}_mean")
        assert found.value is not None
        assert 1000 * found.value == pytest.approx(truth, rel=0.05)
    ratio = item(passport, "fwhm_lateral_asymmetry_ratio_mean").value
    assert ratio == pytest.approx(min(x_nm, y_nm) / max(x_nm, y_nm), abs=0.05)


def test_beads_are_counted_with_the_reasons_against_them(passport: Passport, beads: BeadDataset) -> None:
    assert item(passport, "considered_valid_count").value == beads.distinct
    assert item(passport, "total_bead_count").value == len(beads)
    assert sum(passport.rejected.values()) == int((~beads.accepted).sum())
    assert item(passport, "considered_valid_count").grade is Grade.RED
    assert "more fields" in item(passport, "considered_valid_count").mend


def test_light_is_that_of_the_median_bead(passport: Passport, beads: BeadDataset) -> None:
    (level,) = passport.light.values()
    photons = beads.measures["photons"].to_numpy(float)[beads.accepted]
    assert level.photons_per_ms == pytest.approx(float(np.median(photons)) / EXPOSURE_MS, rel=0.03)
    assert level.beads == int(beads.accepted.sum())


def test_light_is_compared_under_the_same_preset_only() -> None:
    dim, bright = (LightLevel(photons_per_ms=value, relative_sd=0.03, beads=30) for value in (50.0, 100.0))
    found = light_ratio({"low": dim, "high": bright}, {"low": bright})
    assert found is not None
    assert found[0] == pytest.approx(0.5)
    assert found[1] == pytest.approx(0.5 * np.hypot(0.03, 0.03))
    assert light_ratio({"high": bright}, {"low": bright}) is None


@pytest.mark.parametrize(
    ("value", "limits", "grade"),
    [(0.9, (0.85, 0.7), Grade.GREEN), (0.85, (0.85, 0.7), Grade.GREEN), (0.8, (0.85, 0.7), Grade.YELLOW),
     (0.6, (0.85, 0.7), Grade.RED), (1.0, (2.0, 4.0), Grade.GREEN), (4.0, (2.0, 4.0), Grade.YELLOW),
     (5.0, (2.0, 4.0), Grade.RED), (None, (2.0, 4.0), None)],
)  # fmt: skip
def test_grades(value: float | None, limits: tuple[float, float], grade: Grade | None) -> None:
    assert graded(value, *limits) is grade


def test_a_passport_is_written_read_back_and_shown(passport: Passport, tmp_path: Path) -> None:
    passport.write(tmp_path)
    assert Passport.read(tmp_path) == passport
    page = write_passport(tmp_path, passport).read_text(encoding="utf-8")
    assert "fwhm_lateral_asymmetry_ratio_mean" in page
    grades = [item.grade for item in passport.items if item.grade]
    assert Grade.RED in grades
    for grade in grades:  # in words, and with a dot of their colour beside
        assert f'<i class="mark" style="background: {COLOURS[grade]}"></i>{grade}</span></td>' in page


def day(made: str, coverage: float) -> Passport:
    one = Item(name="field_coverage", meaning="", value=coverage, grade=graded(coverage, 0.9, 0.5))
    return Passport(made=made, items=(one, Item(name="total_bead_count", meaning="", value=3.0)))


def test_days_are_put_side_by_side_the_oldest_first(tmp_path: Path) -> None:
    for name, one in {
        "tuesday/model": day("2026-03-03T10:00:00+01:00", 0.6),
        "monday/model": day("2026-03-02T10:00:00+01:00", 1.0),
    }.items():
        (tmp_path / "days" / name).mkdir(parents=True)
        one.write(tmp_path / "days" / name)
    assert is_folder_of_calibrations(tmp_path / "days")
    found = trends(tmp_path / "days", tmp_path / "report")
    assert found["values"] == {"field_coverage": [1.0, 0.6]}
    assert found["grades"] == {"field_coverage": "yellow"}
    stored = json.loads((tmp_path / "report" / "trends.json").read_text(encoding="utf-8"))
    assert stored["values"] == found["values"]
    assert (tmp_path / "report" / "trends.png").is_file()


def test_a_folder_without_passports_and_a_damaged_one_are_refused(tmp_path: Path) -> None:
    (tmp_path / "days" / "model").mkdir(parents=True)
    with pytest.raises(InputError, match="no passport"):
        trends(tmp_path / "days", tmp_path / "report")
    (tmp_path / "days" / "model" / PASSPORT_FILE).write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="passport"):
        trends(tmp_path / "days", tmp_path / "report")
    assert not (tmp_path / "report").exists()
