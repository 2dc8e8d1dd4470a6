"""The passport of an instrument, written into a model bundle, and for people."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from easyzloc_mm.io.beads.dataset import BeadDataset
from easyzloc_mm.model.card import ModelCard
from easyzloc_mm.passport.items import passport_of
from easyzloc_mm.passport.page import write_passport
from easyzloc_mm.profile.schema import Profile

REPORT = "report"


def into_bundle(profile: Profile | None = None) -> Callable[[ModelCard, BeadDataset, Path], None]:
    """Return what writes ``passport.json``, and ``report/passport.html``, into a bundle that is being made.

    Parameters
    ----------
    profile : Profile, optional
        Of the instrument.
    """

    def write(card: ModelCard, beads: BeadDataset, folder: Path) -> None:
        passport = passport_of(beads, card=card, profile=profile)
        passport.write(folder)
        write_passport(folder / REPORT, passport)

    return write
