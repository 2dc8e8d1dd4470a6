"""Movies from every format that users have: TIFF, OME-TIFF, NDTiff, OME-Zarr, a RUN.zarr's frames, Picasso .raw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.beads.tiff import ome_pixel_size_nm
from easyzloc_mm.io.runs.frames import StoredFrames, holds_frames
from easyzloc_mm.typing import U16

if TYPE_CHECKING:
    import tifffile

UINT16 = np.dtype(np.uint16)
TIME_AXES = "TZIQ"
"""First axes that can mean frames: time, planes of an ImageJ stack, or pages that the file does not name."""
WHOLE = (np.uint8, np.uint16)
"""Pixel types that hold nothing but counts. Programs save counts in others too: these are looked at, frame by frame."""
FORMATS = "TIFF, OME-TIFF, an NDTiff folder, OME-Zarr, a RUN.zarr with raw frames, or Picasso .raw with its .yaml"


Read = Callable[[int, int], U16]


@dataclass(frozen=True)
class Movie:
    """Frames that are read where they are needed.

    Attributes
    ----------
    shape : (int, int, int)
        Frames, height, width.
    pixel_size_nm : float or None
        Where the file states it.
    read : callable
        ``read(start, stop)`` gives frames as uint16, shape (n, height, width), ADU.
    dtype : dtype
        Of the file's pixels, in this computer's byte order.
    frames_missing : int
        Frames that the camera lost; they read as zeros.
    """

    shape: tuple[int, int, int]
    pixel_size_nm: float | None
    read: Read
    dtype: np.dtype[Any] = UINT16
    frames_missing: int = 0


def open_movie(path: Path) -> Movie:
    """Open a movie.

    Raises
    ------
    InputError
        It is missing, empty, of an unknown format, its axes are not those of a movie, or its pixels are no counts.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"movie {path} does not exist: give {FORMATS}")
    if path.is_dir():
        movie = _open_folder(path)
    elif path.suffix.lower() in (".tif", ".tiff", ".btf"):
        movie = _open_tiff(path)
    elif path.suffix.lower() == ".raw":
        movie = _open_raw(path)
    else:
        raise InputError(f"{path} is no movie that can be read: give {FORMATS}")
    if 0 in movie.shape:
        raise InputError(f"movie {path} is empty (frames, height, width = {movie.shape}): record it again")
    if movie.dtype not in WHOLE:
        movie.read(0, 1)  # pixels that are no counts are refused before any work
    return movie


def _refuse_axes(path: Path, axes: str, shape: tuple[int, ...]) -> InputError:
    return InputError(
        f"movie {path} has axes {axes or '?'} {tuple(shape)} instead of frames, y, x: save one channel as a time series"
    )


def _counts(path: Path, frames: NDArray[Any]) -> U16:
    """Frames as uint16, if that is what their values are.

    Raises
    ------
    InputError
        They are fractions, negative, above 65535, or no numbers: no counts that a camera gave.
    """
    if frames.dtype.newbyteorder("=") not in WHOLE:
        whole = frames.dtype.kind in "uif" and bool(((frames >= 0) & (frames <= 65535) & (frames % 1 == 0)).all())
        if not whole:
            raise InputError(
                f"movie {path} has {frames.dtype.name} pixels that are no counts from 0 to 65535: save what the camera "
                "gave, before any processing"
            )
    return frames.astype(np.uint16, copy=False)


def _check_length(path: Path, needed: int) -> None:
    if (there := path.stat().st_size) < needed:
        raise InputError(f"movie {path} was cut off: it has {there} of {needed} bytes; copy it again")


def _open_tiff(path: Path) -> Movie:
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            return _tiff_movie(path, file)
    except (tifffile.TiffFileError, OSError, ValueError) as error:
        raise InputError(f"movie {path} cannot be read as TIFF: {error}") from None


def _tiff_movie(path: Path, file: tifffile.TiffFile) -> Movie:
    """Describe an open TIFF, which may then be closed: frames are read from it by opening it again."""
    if not file.series:
        raise InputError(f"movie {path} is empty: record it again")
    series = file.series[0]
    kept = [(axis, size) for axis, size in zip(series.axes, series.shape, strict=True) if size != 1 or axis in "YX"]
    axes, shape = "".join(axis for axis, _ in kept), tuple(size for _, size in kept)
    if axes == "YX":
        axes, shape = "TYX", (1, *shape)
    if len(axes) != 3 or axes[0] not in TIME_AXES or axes[1:] != "YX":
        raise _refuse_axes(path, series.axes, series.shape)
    if series.dataoffset is not None:
        dtype = np.dtype(f"{file.byteorder}{series.dtype.char}")
        _check_length(path, series.dataoffset + int(np.prod(shape)) * dtype.itemsize)
        read = _flat_reader(path, dtype, int(series.dataoffset), (shape[0], shape[1], shape[2]))
    else:
        pages: Any = series.pages

        def read(start: int, stop: int) -> U16:
            frames, opened = [], {file.filehandle}
            try:
                file.filehandle.open()
                for page in (pages[i] for i in range(start, min(stop, shape[0]))):
                    if page.parent.filehandle.closed:
                        page.parent.filehandle.open()  # a movie may lie in several files
                        opened.add(page.parent.filehandle)
                    frames.append(np.asarray(page.asarray()).reshape(shape[1:]))
            finally:
                for handle in opened:
                    handle.close()
            return _counts(path, np.stack(frames))

    return Movie(
        (shape[0], shape[1], shape[2]), ome_pixel_size_nm(file), read, np.dtype(series.dtype).newbyteorder("=")
    )


def _open_raw(path: Path) -> Movie:
    import yaml

    sidecar = path.with_suffix(".yaml")
    if not sidecar.is_file():
        raise InputError(f"{path} has no {sidecar.name} beside it: Picasso .raw files need theirs")
    try:
        info = next(iter(yaml.safe_load_all(sidecar.read_text(encoding="utf-8"))))
        shape = (int(info["Frames"]), int(info["Height"]), int(info["Width"]))
        dtype = np.dtype(info["Data Type"]).newbyteorder(info.get("Byte Order", "<"))
    except (yaml.YAMLError, KeyError, TypeError, ValueError, StopIteration) as error:
        raise InputError(f"{sidecar} does not describe {path.name} ({error}): save it with Picasso again") from None
    _check_length(path, int(np.prod(shape)) * dtype.itemsize)
    if 0 in shape:
        return Movie(shape, None, lambda start, stop: np.empty((0, *shape[1:]), np.uint16))
    pixel = info.get("Pixelsize")
    read = _flat_reader(path, dtype, 0, shape)
    return Movie(shape, float(pixel) if pixel else None, read, dtype.newbyteorder("="))


def _flat_reader(path: Path, dtype: np.dtype[Any], offset: int, shape: tuple[int, int, int]) -> Read:
    """Read frames that lie behind each other; not mapped, since a mapped movie would count as this program's memory."""
    size = shape[1] * shape[2]

    def read(start: int, stop: int) -> U16:
        count = max(min(stop, shape[0]) - start, 0)
        values = np.fromfile(path, dtype, count * size, offset=offset + start * size * dtype.itemsize)
        return _counts(path, values.reshape(count, *shape[1:]))

    return read


def _open_folder(path: Path) -> Movie:
    if (path / "NDTiff.index").is_file():
        return _open_ndtiff(path)
    if holds_frames(path):
        stored = StoredFrames(path)
        return Movie(stored.shape, stored.pixel_size_nm, stored.read, UINT16, stored.frames_missing)  # type: ignore[arg-type]
    if (path / "zarr.json").is_file() or (path / ".zattrs").is_file():
        return _open_ome_zarr(path)
    raise InputError(f"{path} is a folder but no movie: give {FORMATS}")


def _open_ndtiff(path: Path) -> Movie:
    from ndstorage import Dataset

    try:
        data = Dataset(str(path))
        axes = {name: list(values) for name, values in data.axes.items() if len(values) > 1}
    except Exception as error:  # ndstorage raises whatever its parser meets
        raise InputError(f"{path} cannot be read as NDTiff: {error}") from None
    if not data.axes:  # one that is only just being begun has an index without images
        raise InputError(f"movie {path} is empty: record it again")
    if len(axes) > 1:
        raise _refuse_axes(path, ",".join(axes), tuple(len(values) for values in axes.values()))
    fixed = {name: next(iter(values)) for name, values in data.axes.items() if len(values) == 1}
    name, values = next(iter(axes.items()), ("", [None]))
    places = [{**fixed, **({name: value} if name else {})} for value in sorted(values, key=lambda v: v or 0)]
    first = np.asarray(data.read_image(**places[0]))
    summary = data.summary_metadata or {}
    pixel_um = summary.get("PixelSize_um") or (data.read_metadata(**places[0]) or {}).get("PixelSizeUm")

    def read(start: int, stop: int) -> U16:
        return _counts(path, np.stack([np.asarray(data.read_image(**place)) for place in places[start:stop]]))

    pixel = 1000 * float(pixel_um) if pixel_um else None
    return Movie((len(places), *first.shape), pixel, read, first.dtype)


def _open_ome_zarr(path: Path) -> Movie:
    import zarr

    try:
        group: Any = zarr.open_group(path, mode="r")
        attributes: Any = group.attrs.get("ome", dict(group.attrs))
        multiscale = attributes["multiscales"][0]
        dataset = multiscale["datasets"][0]
        array = group[dataset["path"]]
        names = [axis["name"] if isinstance(axis, dict) else axis for axis in multiscale["axes"]]
    except (KeyError, IndexError, TypeError, ValueError, OSError):
        raise InputError(f"{path} is no OME-Zarr image: give {FORMATS}") from None
    kept = [axis for axis, size in enumerate(array.shape) if size != 1 or names[axis] in "yx"]
    axes = "".join(names[axis] for axis in kept)
    if axes not in ("tyx", "zyx", "yx"):
        raise _refuse_axes(path, "".join(names), array.shape)
    height, width = array.shape[names.index("y")], array.shape[names.index("x")]
    frames = array.shape[kept[0]] if len(kept) == 3 else 1
    pixel = None
    for step in dataset.get("coordinateTransformations", []):
        unit = multiscale["axes"][-1].get("unit") if isinstance(multiscale["axes"][-1], dict) else None
        if step.get("type") == "scale" and unit in ("micrometer", "nanometer"):
            pixel = float(step["scale"][-1]) * (1000 if unit == "micrometer" else 1)

    def read(start: int, stop: int) -> U16:
        index = [slice(None) if axis in kept else 0 for axis in range(array.ndim)]
        if len(kept) == 3:
            index[kept[0]] = slice(start, min(stop, frames))
        return _counts(path, np.asarray(array[tuple(index)]).reshape(-1, height, width))

    return Movie((int(frames), int(height), int(width)), pixel, read, array.dtype.newbyteorder("="))
