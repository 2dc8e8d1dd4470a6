"""Raw camera frames of a run: OME-Zarr 0.5 image (t, y, x) in group ``frames/`` of a ``RUN.zarr``.

A frame stands at its own frame number, one chunk each. Chunk files appear whole, so a frame whose file is there
is complete, also when the writer was killed; attribute ``n_committed`` means the same to readers that do not look
for files, half a second late. What it counts is on the device before it is (other than by `Sync.NEVER`); of later
frames a power cut may leave torn ones, which their checksums tell. A frame that was lost on the way from the camera
reads as zeros and is named in ``frames_missing``.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.writing.output import remove
from easyzloc_mm.io.zarr.chunks import ChunkedArray, seal
from easyzloc_mm.io.zarr.files import StoreFiles
from easyzloc_mm.io.zarr.ome import image_attributes
from easyzloc_mm.profile.detection import Sync
from easyzloc_mm.typing import U16

GROUP = "frames"
COMMIT_S = 0.5
"""Half of what `Sync.SECOND` promises: the disk has the other half."""
MAX_LISTED = 1000
"""Missing frames are all counted, but only so many are named."""
MAX_GAP = 16
"""So many frames may be missing between two that are there, where the writer has not yet named them."""


class FrameWriter:
    """Writes frames in the order of their numbers; use it from one thread.

    Our own chunk files rather than a writer library: every frame is readable the moment `append` returns, also after
    kill -9, which writers that batch frames into shards do not promise, and it costs under 5 ms of one core.

    Parameters
    ----------
    path : Path
        ``RUN.zarr``; made if it is not there.
    shape_yx : tuple of int
        Height and width of a frame, pixels.
    pixel_size_nm, interval_ms : float
        Sampling, for viewers.
    expected : int
        How many frames will come. More may; the image is cut to those that came when closed.
    sync : Sync
        When frames are brought to the device.
    """

    def __init__(
        self,
        path: Path,
        shape_yx: tuple[int, int],
        *,
        pixel_size_nm: float,
        interval_ms: float = 1.0,
        expected: int = 1,
        sync: Sync = Sync.NEVER,
    ) -> None:
        import zarr

        self.path = Path(path)
        self.shape_yx = (int(shape_yx[0]), int(shape_yx[1]))
        root = zarr.open_group(self.path, mode="a")
        if GROUP in root:
            raise InputError(f"{path} already holds frames: choose another `out`, or add `if_exists='overwrite'`")
        step = pixel_size_nm / 1000
        group = root.create_group(
            GROUP,
            attributes=image_attributes(
                "frames",
                "tyx",
                {"t": interval_ms, "y": step, "x": step},
                n_committed=0,
                frames_missing=[],
                frames_missing_count=0,
            ),
        )
        self._image = ChunkedArray.create(
            group,
            "0",
            shape=(max(int(expected), 1), *self.shape_yx),
            chunks=(1, *self.shape_yx),
            dtype="uint16",
            dimension_names=("t", "y", "x"),
        )
        self._files = StoreFiles(sync)
        seal(self.path, durable=self._files.durable)
        self._next = 0
        self._missing: list[int] = []
        self._missing_count = 0
        self._committed_s = time.monotonic()

    @property
    def frames(self) -> int:
        """One more than the highest frame number written."""
        return self._next

    @property
    def commit_lag_s(self) -> float:
        """Longest time from a frame's being written to its being committed, s."""
        return self._files.lag_s

    def append(self, index: int, pixels: U16) -> None:
        """Write frame number `index`; numbers rise, and may leave out frames that were lost."""
        if pixels.shape != self.shape_yx or pixels.dtype != np.uint16:
            raise ValueError(f"a frame is uint16 {self.shape_yx}, not {pixels.dtype} {pixels.shape}")
        if index < self._next:
            raise ValueError(f"frame {index} came after frame {self._next - 1}")
        if index >= self._image.shape[0]:
            self._image.resize((2 * (index + 1), *self.shape_yx), durable=self._files.durable)
        self._files.put(*self._image.encoded((index, 0, 0), pixels[np.newaxis]))
        self._missing_count += index - self._next
        self._missing.extend(range(self._next, min(index, self._next + MAX_LISTED - len(self._missing))))
        self._next = index + 1
        if time.monotonic() - self._committed_s >= COMMIT_S and not self._files.busy:
            self._begin_commit()

    def append_link(self, index: int, source: int) -> None:
        """Write frame number `index` as a hard link to the earlier frame `source`: long runs that take no disk."""
        if index != self._next or not self._image.has((source, 0, 0)):
            raise ValueError(f"frame {source} is not there, or frame {index} does not follow frame {self._next - 1}")
        if index >= self._image.shape[0]:
            self._image.resize((2 * (index + 1), *self.shape_yx))
        self._image.link((index, 0, 0), (source, 0, 0))
        self._next = index + 1

    def flush(self) -> None:
        """Commit: bring what was written to the device, and let readers know how many frames there are."""
        self._begin_commit()
        self._files.finish_commit()

    def _begin_commit(self) -> None:
        self._committed_s = time.monotonic()
        self._files.begin_commit(
            self.path / GROUP,
            {
                "n_committed": self._next,
                "frames_missing": list(self._missing),
                "frames_missing_count": self._missing_count,
            },
        )

    def close(self) -> None:
        """Commit, and cut the image to the frames that came."""
        try:
            self.flush()
            self._image.resize((self._next, *self.shape_yx), durable=self._files.durable)
        finally:
            self._files.close()

    def discard(self) -> None:
        """Remove the frames from the store."""
        remove(self.path / GROUP)


def holds_frames(path: Path) -> bool:
    """Whether `path` is a run that kept its raw frames."""
    return (Path(path) / GROUP / "zarr.json").is_file()


def commit_killed_frames(path: Path) -> int:
    """Commit every whole frame that a writer which was killed had stored, cut the image to them; return how many."""
    stored = StoredFrames(path)
    frames, missing = stored.shape[0], sorted(stored.missing)
    files = StoreFiles(Sync.SECOND)
    try:
        files.begin_commit(
            Path(path) / GROUP,
            {"n_committed": frames, "frames_missing": missing[:MAX_LISTED], "frames_missing_count": len(missing)},
        )
        files.finish_commit()
        ChunkedArray.open(Path(path) / GROUP / "0").resize((frames, *stored.shape[1:]), durable=files.durable)
    finally:
        files.close()
    return frames


class StoredFrames:
    """Frames of a run; read-only, also while they are being written.

    Attributes
    ----------
    shape : tuple of int
        (frames, height, width), cut to the complete frames at the time of opening.
    pixel_size_nm : float
        Pixel size.
    missing : set of int
        Frames among them that were lost on the way from the camera; they read as zeros.
    """

    def __init__(self, path: Path) -> None:
        node = Path(path) / GROUP
        try:
            attributes = json.loads((node / "zarr.json").read_text(encoding="utf-8"))["attributes"]
            self._image = ChunkedArray.open(node / "0")
            committed = int(attributes["n_committed"])
            self.missing = {int(number) for number in attributes["frames_missing"]}
            scale = attributes["ome"]["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"]
        except (KeyError, IndexError, ValueError, OSError, TypeError) as error:
            raise InputError(f"{path} holds no raw frames: it was written without `keep_raw` ({error})") from None
        self.pixel_size_nm = float(scale[-1]) * 1000
        self.missing |= set(range(committed)) - self._there()
        # Frames written after the last commit, by a writer that was killed or still runs; a few may be missing, or
        # torn by a power cut.
        gap = 0
        for number in itertools.count(committed):
            if self._is_whole(number):
                # Asked again: a writer that still runs may have stored them between two looks.
                self.missing.update(earlier for earlier in range(committed, number) if not self._is_whole(earlier))
                committed, gap = number + 1, 0
            elif (gap := gap + 1) > MAX_GAP:
                break
        self.shape = (committed, *(int(size) for size in self._image.shape[1:]))

    def _there(self) -> set[int]:
        """Numbers of the frames whose files are there: more than `MAX_LISTED` missing ones are not all named."""
        folder = self._image.path / "c"
        return {int(entry.name) for entry in folder.glob("*") if entry.name.isdigit()}

    def _is_whole(self, number: int) -> bool:
        return self._image.has((number, 0, 0)) and not self._image.fault((number, 0, 0))

    @property
    def frames_missing(self) -> int:
        """How many frames were lost on the way from the camera."""
        return len(self.missing)

    def read(self, start: int, stop: int) -> U16:
        """Read frames `start` to `stop` (exclusive), shape (n, height, width)."""
        return self.take(range(start, min(stop, self.shape[0])))

    def take(self, numbers: Iterable[int]) -> U16:
        """Read the frames with these numbers, which may be beyond `shape`; a lost one is zeros.

        Raises
        ------
        InputError
            A frame that was stored is damaged or gone.
        """
        wanted = [int(number) for number in numbers]
        frames = np.empty((len(wanted), *self._image.shape[1:]), np.dtype("<u2"))
        for frame, number in zip(frames, wanted, strict=True):
            lost = number in self.missing or (number >= self.shape[0] and not self._image.has((number, 0, 0)))
            if lost:
                frame[:] = 0
            else:
                self._image.read((number, 0, 0), frame)
        return frames
