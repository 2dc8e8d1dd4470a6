"""Beads of today against a model: the verdict of `calibrate --check`."""

from __future__ import annotations

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.dataset import BeadDataset
from easyzloc_mm.io.calibration_check import CalibrationCheck
from easyzloc_mm.localization.sample.check import check_explained, check_of_beads
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.passport.change import Calibrated, measure_change
from easyzloc_mm.passport.verdict import judge
from easyzloc_mm.profile.schema import Optics
from easyzloc_mm.typing import Progress

FEWEST_BEADS = 8
"""Fewer tell no scatter."""


def check(beads: BeadDataset, card: ModelCard, optics: Optics, *, progress: Progress | None = None) -> CalibrationCheck:
    """Hold beads against a model.

    Parameters
    ----------
    beads : BeadDataset
        Of today.
    card : ModelCard
    optics : Optics
        Of the instrument.
    progress : callable, optional
        Given (message, fraction).

    Raises
    ------
    InputError
        The model has no PSF of its beads, or one that was refreshed, the optics do not explain it, the pixel or image
        size is another, or the beads are too few.
    """
    check_comparable(card, beads.pixel_size_nm, beads.field_size_px)
    if beads.distinct < FEWEST_BEADS:
        raise InputError(
            f"{beads.distinct} beads are usable, {FEWEST_BEADS} are needed to hold a calibration against: photograph "
            "more fields, or a slide with more beads"
        )
    here = optics.model_copy(update={"pixel_size_nm": card.pixel_size_nm})
    change = measure_change(beads, Calibrated.of(card), here, progress=progress)
    check_explained(change.aberrations.correlation, card)
    return judge(change).changed(model=str(card.path), model_digest=card.digest, sources=beads.sources)


def check_comparable(card: ModelCard, pixel_size_nm: float, field_size_px: tuple[int, int]) -> None:
    """Refuse a model that beads of a camera cannot be held against.

    Raises
    ------
    InputError
        It has no PSF of its beads, or the pixel or image size is another.
    """
    check_of_beads(card)
    if not card.has_pixel_size(pixel_size_nm) or field_size_px != card.field_size_px:
        width, height = field_size_px
        raise InputError(
            f"beads are recorded on {width} x {height} px of {pixel_size_nm:g} nm, and model {card.path} is for "
            f"{card.field_size_px[0]} x {card.field_size_px[1]} px of {card.pixel_size_nm:g} nm: use the same camera "
            "ROI and magnification"
        )
