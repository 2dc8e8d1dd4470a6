"""Open a TIFF file, or a set of them: every image at its place, and what does not fit together said."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.reading import COPY_AGAIN, reading
from easyzloc_mm.io.sources.images import FEW_PLACES, MOST_GAPS, Images, Sampling, cut_behind_last
from easyzloc_mm.io.sources.tiff.directory import Directory, read_directory
from easyzloc_mm.io.sources.tiff.headings import Heading, Shaped, heading_of, shaped_of
from easyzloc_mm.io.sources.tiff.micro_manager import Indexed, read_index
from easyzloc_mm.io.sources.tiff.ome import ALL, Ome, OmeImage, is_ome, read_ome
from easyzloc_mm.io.sources.tiff.pixels import Place, taker
from easyzloc_mm.io.sources.tiff.slots import Slot, frames_and_others, slots_of

MOST_NAMED = 3
"""Odd pages are all counted, but only so many are named."""


def open_tiff(path: Path, *, partial: bool = False) -> list[Images]:
    """Open the images of a TIFF file: one entry per array, position or image that its headings tell apart.

    Parameters
    ----------
    path : Path
    partial : bool
        Whether a set of several files may lack some of them.

    Raises
    ------
    InputError
        It is no TIFF file, has no image that is whole, or a file of its set is missing.
    """
    directory = read_directory(path)
    text = directory.pages[0].description
    remarks: list[str] = []
    if is_ome(text):
        ome = read_ome(text, path)
        if ome is not None and ome.master:
            found = _of_master(directory, path.parent / ome.master, partial)
            if found:
                return found
            remarks += _parts_missing(path, [ome.master], partial)
        elif ome is not None and (found := _of_ome(directory, ome, partial)):
            return found
        else:
            remarks.append(f"{path}: its OME-XML is damaged, and its images are read in the order of its pages")
    elif (index := read_index(directory)) is not None:
        return _of_index(path, index, partial)
    return _of_pages(directory, remarks)


def _of_master(directory: Directory, master: Path, partial: bool) -> list[Images]:
    """Return the images of a set whose OME-XML stands in another file, TIFF or XML alone; none where that has none."""
    path = directory.path
    if not master.is_file() or master.name == path.name:
        return []
    if master.suffix.lower() in (".tif", ".tiff", ".btf"):
        directory = read_directory(master)
        text = directory.pages[0].description
    else:
        with reading(master, "OME-XML", cure=COPY_AGAIN):
            text = master.read_text(encoding="utf-8")
    ome = read_ome(text, directory.path)
    return _of_ome(directory, ome, partial) if ome is not None and ome.images else []


def _parts_missing(path: Path, names: Sequence[str], partial: bool) -> list[str]:
    """Refuse a set with missing files, or return what to say of it."""
    if not names:
        return []
    listed = f"{', '.join(names[:MOST_NAMED])}{f' and {len(names) - MOST_NAMED} more' * (len(names) > MOST_NAMED)}"
    verb = "is" if len(names) == 1 else "are"
    if not partial:
        raise InputError(
            f"{path} is one file of a set, of which {listed} {verb} missing: put it back beside it, or read what is "
            "there with `partial`"
        )
    return [f"{path} is one file of a set, of which {listed} {verb} missing: only what is there is read"]


def _no_image(directory: Directory) -> InputError:
    page = directory.pages[0]
    if page.dtype is None:
        return InputError(
            f"{directory.path} holds colour images, or pixels of other than 8, 16 or 32 bits: save one grey channel as "
            "the camera gave it"
        )
    return InputError(f"{directory.path} was cut off before the end of its first image: {COPY_AGAIN}")


def _odd_pages(path: Path, others: Sequence[Slot], total: int) -> list[str]:
    if not others:
        return []
    named = ", ".join(
        f"page {slot.page.index + 1} ({slot.page.shape_yx[1]} x {slot.page.shape_yx[0]} px)"
        for slot in others[:MOST_NAMED]
    )
    more = f" and {len(others) - MOST_NAMED} more" * (len(others) > MOST_NAMED)
    return [f"{path}: {named}{more} of its {total} pages are of another size or kind than the frames, and left out"]


def _of_pages(directory: Directory, remarks: list[str]) -> list[Images]:
    """Return what is found without a heading that says where each image lies."""
    path, heading = directory.path, heading_of(directory)
    first = shaped_of(directory.pages[0].description) if not heading.program else None
    stated = heading.count or (_images_of(first, directory.pages[0].shape_yx) if first else 0)
    slots, promised = slots_of(directory, stated if len(directory.pages) == 1 else heading.count)
    frames, others = frames_and_others(slots)
    if not any(slot.whole for slot in frames):
        raise _no_image(directory)
    remarks += _odd_pages(path, others, len(directory.pages))
    promised -= len(others)
    if first is None:
        return [_one_array(directory, frames, heading, promised, remarks)]
    return _shaped_arrays(directory, frames, promised, remarks)


def _one_array(directory: Directory, frames: list[Slot], heading: Heading, promised: int, remarks: list[str]) -> Images:
    path, count, whole = directory.path, len(frames), sum(slot.whole for slot in frames)
    total, exact = max(heading.count, promised, count), bool(heading.count) or promised > count + 1
    if total > MOST_GAPS * count + FEW_PLACES:
        total, exact = max(promised, count) if promised <= MOST_GAPS * count + FEW_PLACES else count, False
    axes, sizes = heading.axes, heading.sizes
    if len(axes) > 1 and math.prod(sizes) != total:
        raise InputError(
            f"{path} has {whole} images and its {heading.program} heading states "
            f"{' x '.join(map(str, sizes))} ({', '.join(axes)}): save it again as one series"
        )
    if len(axes) <= 1:
        axes, sizes = (axes or "I", (total,)) if total > 1 else ("", ())
    if directory.cut or whole < count:
        remarks = [*remarks, _cut_off(path, whole, total, exact=exact)]
    elif any(stated != count for stated in heading.counts):
        odd = next(stated for stated in heading.counts if stated != count)
        what = f"{total - count} count as missing" if total > count else "all are read"
        remarks = [
            *remarks,
            f"{path}: its {heading.program} heading states {odd} images and it has {count}: {what}",
        ]
    return _images(directory.path, axes, sizes, [(path, slot) for slot in frames], heading.sampling, remarks)


def _cut_off(path: Path, whole: int, total: int, *, exact: bool) -> str:
    if not exact:
        return f"{path} was cut off: {whole} whole images are there, how many more there were it does not say"
    return f"{path} was cut off: {whole} of {total} images are there, {total - whole} are missing"


def _images_of(shaped: Shaped, shape_yx: tuple[int, int]) -> int:
    return max(1, math.prod(shaped.shape) // math.prod(shape_yx))


def _shaped_arrays(directory: Directory, frames: list[Slot], promised: int, remarks: list[str]) -> list[Images]:
    """Return the arrays of a file of tifffile's, those of one image each as one series."""
    path, sampling = directory.path, heading_of(directory).sampling
    arrays: list[tuple[Shaped | None, list[Slot], int]] = []
    row = 0
    while row < len(frames):
        shaped = shaped_of(frames[row].page.description)
        count = _images_of(shaped, frames[row].page.shape_yx) if shaped else 1
        taken = frames[row : row + count]
        if count == 1 and arrays and arrays[-1][2] == len(arrays[-1][1]) and arrays[-1][0] is None:
            arrays[-1] = None, [*arrays[-1][1], *taken], len(arrays[-1][1]) + 1
        else:
            arrays.append((shaped if count > 1 else None, taken, count))
        row += len(taken)
    found = []
    for number, (shaped, taken, count) in enumerate(arrays):
        last = number == len(arrays) - 1
        if last and shaped is None:
            count = max(count, promised - sum(len(other) for _, other, _ in arrays[:-1]))
        if count > MOST_GAPS * len(taken) + FEW_PLACES:
            count, shaped = len(taken), None
        whole = sum(slot.whole for slot in taken)
        said = list(remarks) if number == 0 else []
        if whole < count:
            said.append(_cut_off(path, whole, count, exact=shaped is not None))
        axes, sizes = _lead(shaped, taken[0].page.shape_yx, count)
        if whole:
            images = _images(path, axes, sizes, [(path, slot) for slot in taken], sampling, said)
            found.append(replace(images, goes_on=number > 0))
    return found


def _lead(shaped: Shaped | None, shape_yx: tuple[int, int], count: int) -> tuple[str, tuple[int, ...]]:
    """Return names and sizes of an array's axes before Y and X."""
    if count == 1:
        return "", ()
    if shaped is None:
        return "I", (count,)
    for behind in (2, 3):
        lead = shaped.shape[:-behind]
        if shaped.shape[len(lead) : len(lead) + 2] == shape_yx and math.prod(lead) == count:
            kept = [(axis, size) for axis, size in zip(shaped.axes, lead, strict=False) if size > 1]
            return "".join(axis for axis, _ in kept), tuple(size for _, size in kept)
    return "Q", (count,)


def _images(
    source: Path,
    axes: str,
    sizes: tuple[int, ...],
    places: Sequence[Place | None],
    sampling: Sampling,
    remarks: Sequence[str],
) -> Images:
    """Return images of `places`, which may be fewer than the axes have."""
    page = next(place[1].page for place in places if place is not None)
    assert page.dtype is not None
    total = math.prod(sizes)
    there = np.zeros(total, bool)
    there[: len(places)] = [place is not None and place[1].whole for place in places]
    sizes, there, after = cut_behind_last(sizes, there)
    return Images(
        source=source,
        axes=axes,
        sizes=sizes,
        shape_yx=page.shape_yx,
        dtype=page.dtype.newbyteorder("="),
        there=there,
        take=taker(list(places), page.dtype, page.shape_yx),
        lost_after=after,
        sampling=sampling,
        remarks=tuple(remarks),
        files=frozenset({source, *(place[0] for place in places if place is not None)}),
    )


def _of_ome(directory: Directory, ome: Ome, partial: bool) -> list[Images]:
    """Return the images of OME-XML; none where it and the file have nothing in common."""
    path = directory.path
    alone = len(ome.images) == 1
    files = {"": slots_of(directory, ome.images[0].places if alone and len(directory.pages) == 1 else 0)[0]}
    missing, cut = [], path if directory.cut else None
    for name in dict.fromkeys(block.file for image in ome.images for block in image.blocks if block.file):
        part = path.parent / name
        if part.is_file():
            other = read_directory(part)
            files[name], cut = slots_of(other)[0], cut or (part if other.cut else None)
        else:
            missing.append(name)
    remarks = _parts_missing(path, missing, partial)
    found = []
    for image in ome.images:
        images = _ome_image(path, image, files, list(remarks), cut=cut, take_rest=alone)
        if images is not None:
            found.append(images)
            remarks = []
    return found


def _ome_image(
    path: Path, image: OmeImage, files: dict[str, list[Slot]], remarks: list[str], *, cut: Path | None, take_rest: bool
) -> Images | None:
    total = image.places
    if total > MOST_GAPS * sum(map(len, files.values())) + FEW_PLACES:
        return None
    places: list[Place | None] = [None] * total
    used: set[int] = set()
    for block in image.blocks:
        slots = files.get(block.file, [])[block.directory :]
        for place, slot in enumerate(slots[: block.planes] if block.planes != ALL else slots, block.first):
            if place < total:
                places[place] = (path.parent / block.file if block.file else path, slot)
                used.add(id(slot))
    frames, others = frames_and_others([place[1] for place in places if place is not None])
    if not any(slot.whole for slot in frames):
        return None
    kept = {id(slot) for slot in frames}
    places = [place if place is not None and id(place[1]) in kept else None for place in places]
    remarks += _odd_pages(path, others, sum(map(len, files.values())))
    rest = [slot for slot in files[""] if id(slot) not in used and slot.page.kind == frames[0].page.kind and slot.whole]
    axes, sizes = image.axes, image.sizes
    if take_rest and rest and len(axes) <= 1 and any(not block.file for block in image.blocks):
        axes, sizes = axes or "T", (total + len(rest),)
        places += [(path, slot) for slot in rest]
        remarks.append(f"{path}: its OME-XML states {total} images and it has {len(places)}: all are read")
    whole = sum(place is not None and place[1].whole for place in places)
    if whole < len(places):
        if cut or any(not slot.whole for slot in frames):
            remarks.append(_cut_off(cut or path, whole, len(places), exact=True))
        else:
            remarks.append(
                f"{path}: its OME-XML states {len(places)} images and {whole} are there: the others count as missing"
            )
    return _images(path, axes, sizes, places, image.sampling, remarks)


def _of_index(path: Path, index: Indexed, partial: bool) -> list[Images]:
    """Return the images of Micro-Manager's index, one entry per position."""
    remarks = _parts_missing(path, index.missing, partial)
    found = []
    for position in np.unique(index.places[:, 3]).tolist():
        rows = np.flatnonzero(index.places[:, 3] == position)
        channel, plane, frame = index.places[rows, :3].T
        sizes = {"T": int(frame.max()) + 1, "Z": int(plane.max()) + 1, "C": int(channel.max()) + 1}
        if sizes["Z"] == sizes["C"] == 1 < sizes["T"] < index.frames:
            sizes["T"] = index.frames
        total = math.prod(sizes.values())
        if total > MOST_GAPS * len(rows) + FEW_PLACES:
            raise InputError(f"{path} has {len(rows)} images and its index places for {total}: {COPY_AGAIN}")
        places: list[Place | None] = [None] * total
        for row, place in zip(rows, np.ravel_multi_index((frame, plane, channel), tuple(sizes.values())), strict=True):
            places[int(place)] = index.images[row]
        frames, others = frames_and_others([place[1] for place in places if place is not None])
        if not any(slot.whole for slot in frames):
            raise _no_image(read_directory(path))
        kept = {id(slot) for slot in frames}
        places = [place if place is not None and id(place[1]) in kept else None for place in places]
        said = [*remarks, *_odd_pages(path, others, len(rows))]
        there = sum(place is not None and place[1].whole for place in places)
        if there < total:
            said.append(f"{path}: {there} of {total} images are there, {total - there} are missing")
        axes = "".join(axis for axis, size in sizes.items() if size > 1)
        found.append(_images(path, axes, tuple(sizes[axis] for axis in axes), places, _sampling_of(path), said))
        remarks = []
    return found


def _sampling_of(path: Path) -> Sampling:
    return heading_of(read_directory(path)).sampling
