"""Picasso's .raw: pixels behind each other, described by a .yaml file beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.reading import COPY_AGAIN, reading, unreadable
from easyzloc_mm.io.sources.images import FEW_PLACES, MOST_GAPS, Images, Sampling, stated_length

SAVE_AGAIN = "save it with Picasso again"


def open_raw(path: Path) -> Images:
    """Open ``NAME.raw`` with its ``NAME.yaml``.

    Raises
    ------
    InputError
        One of the two is missing or empty, or the description is none.
    """
    sidecar = path.with_suffix(".yaml")
    if not sidecar.is_file():
        raise InputError(f"{path} has no {sidecar.name} beside it: Picasso .raw files need theirs")
    info = _info(sidecar)
    with reading(sidecar, f"the description of {path.name}", cure=SAVE_AGAIN):
        stated, height, width = (int(info[name]) for name in ("Frames", "Height", "Width"))
        big = str(info.get("Byte Order", "<")).lower() in (">", "b", "big")
        dtype = np.dtype(str(info["Data Type"])).newbyteorder(">" if big else "<")
    if min(height, width) < 1 or stated < 0 or dtype.kind not in "uif":
        raise InputError(f"{sidecar} states {stated} frames of {width} x {height} px ({dtype.name}): {SAVE_AGAIN}")
    try:
        size = path.stat().st_size
    except OSError as error:
        raise unreadable(path, error) from error
    nbytes = height * width * dtype.itemsize
    there, rest = divmod(size, nbytes)
    if there == 0:
        raise InputError(f"{path} is empty, or was cut off before the end of its first frame: {COPY_AGAIN}")
    remarks, missing = [], max(stated - there, 0)
    if missing > MOST_GAPS * there + FEW_PLACES:
        raise InputError(f"{sidecar} states {stated} frames and {path.name} has room for {there}: {SAVE_AGAIN}")
    if missing:
        remarks.append(f"{path} was cut off: {there} of {stated} images are there, {missing} are missing")
    elif there > stated:
        remarks.append(f"{path}: {sidecar.name} states {stated} frames and it has {there}: {there} are read")
    elif rest:
        remarks.append(f"{path} is longer than its {there} frames by {rest} bytes: check {sidecar.name}")
    pixel, unclear = stated_length("its pixel size", info.get("Pixelsize"), "nm")
    return Images(
        source=path,
        axes="T" if there > 1 else "",
        sizes=(there,) if there > 1 else (),
        shape_yx=(height, width),
        dtype=dtype.newbyteorder("="),
        there=np.ones(there, bool),
        take=_taker(path, dtype, (height, width)),
        lost_after=missing,
        sampling=Sampling(pixel_nm=pixel, unread=unclear),
        remarks=tuple(remarks),
    )


def _info(sidecar: Path) -> dict[str, Any]:
    import yaml

    with reading(sidecar, "YAML", yaml.YAMLError, cure=SAVE_AGAIN):
        documents = list(yaml.safe_load_all(sidecar.read_text(encoding="utf-8")))
    if not documents or not isinstance(documents[0], dict):
        raise InputError(f"{sidecar} describes no movie: {SAVE_AGAIN}")
    return documents[0]


def _taker(path: Path, dtype: np.dtype[Any], shape_yx: tuple[int, int]) -> Any:
    size = shape_yx[0] * shape_yx[1]

    def take(places: Sequence[int]) -> NDArray[Any]:
        out = np.zeros((len(places), *shape_yx), dtype)
        try:
            with path.open("rb") as file:
                for row, place in enumerate(places):
                    file.seek(place * size * dtype.itemsize)
                    values = np.frombuffer(file.read(size * dtype.itemsize), dtype)
                    if values.size == size:
                        out[row] = values.reshape(shape_yx)
        except OSError as error:
            raise unreadable(path, error) from error
        return out

    return take
