"""Where the images of a TIFF file lie: one per directory, or many behind each other after one of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from easyzloc_mm.io.sources.tiff.directory import Directory, Page

SMALL_BYTES = 4096
"""Images of fewer bytes are not told from what lies between two images."""


@dataclass(frozen=True, slots=True)
class Slot:
    """Place of one image in a file.

    Attributes
    ----------
    page : Page
        Which says how it is stored.
    at : int or None
        Where its pixels lie in one piece, bytes; None where `page` must be decoded.
    whole : bool
        Whether the file reaches to its end.
    """

    page: Page
    at: int | None
    whole: bool


def slots_of(directory: Directory, stated: int = 0) -> tuple[list[Slot], int]:
    """Find the images that begin inside a file, in the order of the directories.

    Parameters
    ----------
    directory : Directory
    stated : int
        Images that a heading promises; 0 without one.

    Returns
    -------
    slots : list of Slot
        Those that lie behind the last directory's included; the last one may be there in part only.
    promised : int
        How many there were to be, as far as the layout of the file tells.
    """
    last = directory.pages[-1]
    behind = _behind(directory, last, stated)
    promised = len(directory.pages) - 1 + behind
    if directory.cut and behind == 1:
        promised += 1  # one more directory was to follow, and whatever came after it
    slots = [_slot(directory, page, 0) for page in directory.pages]
    for number in range(1, behind):
        if last.at is None or last.at + number * last.nbytes >= directory.size:
            break
        slots.append(_slot(directory, last, number))
    return slots, promised


def _slot(directory: Directory, page: Page, number: int) -> Slot:
    """Return the image `number` of those that lie behind each other from the pixels of a page."""
    at = None if page.at is None else page.at + number * page.nbytes
    end = page.end + number * page.nbytes
    return Slot(page, at, end <= directory.size)


def _behind(directory: Directory, page: Page, stated: int) -> int:
    """Return how many images were to lie behind each other from the pixels of the last page on.

    ImageJ and MetaMorph write one directory for all images, and tifffile those of the others behind the last image: of
    a file that was cut off before, the first directory says where they were to follow.
    """
    alone = len(directory.pages) == 1
    if page.at is None or (not alone and page.nbytes < SMALL_BYTES):
        return 1
    if directory.next_at > page.at:
        promised = max((directory.next_at - page.at) // page.nbytes, 1)
        return promised if stated <= 1 or not alone else min(promised, stated)
    there, rest = divmod(directory.size - page.at, page.nbytes)
    if stated > 1 and alone:
        return there if there > stated and rest == 0 else stated
    return 1


def frames_and_others(slots: list[Slot]) -> tuple[list[Slot], list[Slot]]:
    """Tell images of the most frequent kind from pages of another size or type; smaller copies are never frames."""
    kinds = Counter(slot.page.kind for slot in slots if not slot.page.reduced and slot.page.dtype is not None)
    if not kinds:
        return [], slots
    most = max(kinds.items(), key=lambda item: (item[1], item[0][0][0] * item[0][0][1]))[0]
    frames = [slot for slot in slots if slot.page.kind == most and not slot.page.reduced]
    chosen = {id(slot) for slot in frames}
    return frames, [slot for slot in slots if id(slot) not in chosen]
