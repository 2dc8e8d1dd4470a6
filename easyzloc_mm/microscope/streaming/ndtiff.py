"""Frames that Micro-Manager itself writes to disk as NDTiff, read as they appear.

Frames of a camera that is too fast for the pycromanager bridge, as it was measured before the run, are written by
Micro-Manager and picked up from its files: the index grows by one record per finished image.
"""

from __future__ import annotations

import shutil
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from easyzloc_mm.errors import HardwareError
from easyzloc_mm.microscope.deadlines import error_text, from_device, within
from easyzloc_mm.microscope.streaming.core_buffer import Pixels, nothing
from easyzloc_mm.profile.schema import Backend, Profile
from easyzloc_mm.typing import U16, Frame

BRIDGE_SHARE = 0.6
"""Of the bridge's measured rate that frames may take: everything else that is asked needs time too."""
POLL_S = 0.02
FIRST_FRAME_S = 60.0
FRAME_S = 5.0
START_S, FINISH_S = 60.0, 60.0
LIT_S = 2.0
"""Longest time for which the light waits for a camera that is told to stop: what it takes later is dark."""
COUNTS = {0: np.uint8, 1: np.uint16, 3: np.uint16, 4: np.uint16, 5: np.uint16, 6: np.uint16}
"""NDTiff's pixel types that are camera counts: 8 bit, 16 bit, and 10, 12, 14, 11 bit in 16."""
AXIS = "time"
INDEX = "NDTiff.index"
READ_BYTES = 2**20
"""Of the index at once; its zeros reach much farther than its records."""


class IndexEntry(Protocol):
    """Where one image of an NDTiff data set lies, as ndstorage reads it from the index."""

    filename: str
    pixel_type: int
    pix_offset: int
    image_width: int
    image_height: int
    metadata_length: int


class Acquisition(Protocol):
    """The part of pycromanager's acquisition that ends it."""

    def abort(self) -> None:
        """Stop taking images."""
        ...

    def await_completion(self) -> None:
        """Wait until everything is written."""
        ...


def bridge_is_in_question(profile: Profile) -> bool:
    """Return whether frames may come over the disk as well: with Java, where the profile has a folder for them."""
    return profile.connection.backend is Backend.JAVA and profile.connection.java_stream_dir is not None


def is_too_slow(bridge_mb_s: float, profile: Profile) -> bool:
    """Return whether a bridge of this measured rate would not carry the profile's frames for hours."""
    return _rate_mb_s(profile) > BRIDGE_SHARE * bridge_mb_s


def way_of_frames(profile: Profile, bridge_mb_s: float | None = None) -> str:
    """Return how frames come from the camera, in words.

    Parameters
    ----------
    profile : Profile
    bridge_mb_s : float, optional
        Measured rate of the bridge; None before it was measured.
    """
    if profile.connection.backend is not Backend.JAVA:
        return "MMCore's buffer"
    rate = _rate_mb_s(profile)
    if bridge_mb_s is None:
        way = "the bridge, or NDTiff, by its measured rate" if bridge_is_in_question(profile) else "the bridge"
        return f"{way} ({rate:.0f} MB/s)"
    if not is_too_slow(bridge_mb_s, profile):
        return f"the bridge ({rate:.0f} MB/s of {bridge_mb_s:.0f} MB/s that it takes)"
    if bridge_is_in_question(profile):
        return f"NDTiff in {profile.connection.java_stream_dir} (the bridge takes {bridge_mb_s:.0f} MB/s of {rate:.0f})"
    return (
        f"the bridge, which takes {bridge_mb_s:.0f} MB/s and may lose frames at {rate:.0f}: set "
        "connection.java_stream_dir, a longer exposure, or a smaller ROI"
    )


def _rate_mb_s(profile: Profile) -> float:
    camera = profile.camera
    return 2 * camera.width_px * camera.height_px / (profile.imaging.exposure_ms / 1000) / 1e6


def stream_over_disk(
    profile: Profile, frames: int, stop: threading.Event, pixels: Pixels, camera_off: Callable[[], None] = nothing
) -> Iterator[Frame]:
    """Let Micro-Manager write `frames` frames as NDTiff, yield them as they appear, and remove the files.

    Once `stop` is set Micro-Manager ends its acquisition, and what it has written is yielded. `camera_off` is called
    when the camera takes no more, though frames may still lie on the disk. Untested against a real Micro-Manager;
    `follow_ndtiff`, which does the reading, is tested on growing data sets.

    Raises
    ------
    HardwareError
        As `follow_ndtiff`, or Micro-Manager refuses the acquisition.
    """
    from pycromanager import Acquisition, multi_d_acquisition_events

    folder = Path(tempfile.mkdtemp(prefix="easyzloc-mm-", dir=profile.connection.java_stream_dir))
    begun: list[Acquisition] = []
    ends: list[threading.Thread] = []

    def begin() -> None:
        acquisition = Acquisition(
            directory=str(folder), name="stream", show_display=False, port=profile.connection.java_port
        )
        begun.append(acquisition)
        # One list with interval 0 becomes one hardware sequence; a generator would not.
        acquisition.acquire(multi_d_acquisition_events(num_time_points=frames, time_interval_s=0))
        acquisition.mark_finished()

    def end_all() -> None:
        ends.extend(_end(acquisition) for acquisition in begun)
        begun.clear()

    def no_more_come() -> None:
        if stop.is_set():
            end_all()
            _join(ends, LIT_S)
        camera_off()

    try:
        # A Micro-Manager that is frozen never answers, and the bridge has no deadline of its own.
        within(START_S, "starting Micro-Manager's acquisition", begin)
        yield from follow_ndtiff(folder, frames, profile.imaging.exposure_ms, stop, pixels, no_more_come)
    except HardwareError:
        raise
    except Exception as error:  # the bridge raises plain exceptions with Java's words
        if not from_device(error):
            raise
        raise HardwareError(f"Micro-Manager's acquisition failed: {error_text(error)}") from error
    finally:
        end_all()
        _join(ends, FINISH_S)
        shutil.rmtree(folder, ignore_errors=True)


def _end(acquisition: Acquisition) -> threading.Thread:
    """Stop Micro-Manager's acquisition, in a thread that ends with it: a frozen one never answers."""

    def end() -> None:
        acquisition.abort()
        acquisition.await_completion()

    waiter = threading.Thread(target=end, name="ending the acquisition", daemon=True)
    waiter.start()
    return waiter


def _join(threads: list[threading.Thread], seconds: float) -> None:
    for thread in threads:
        thread.join(seconds)


def follow_ndtiff(
    folder: Path,
    frames: int,
    exposure_ms: float,
    stop: threading.Event,
    pixels: Pixels,
    no_more_come: Callable[[], None] = nothing,
) -> Iterator[Frame]:
    """Yield the frames of an NDTiff data set while it is being written.

    Parameters
    ----------
    folder : Path
        The data set, or a folder in which it will appear.
    frames : int
        How many will come.
    exposure_ms : float
        Decides how long to wait for one.
    stop : threading.Event
        Ends the stream after the frames that are there.
    pixels : callable
        Checks an image and makes it uint16.
    no_more_come : callable
        Called once, when the last frame is listed or `stop` is set; frames that it waits for are still yielded.

    Raises
    ------
    HardwareError
        Frames are missing at the end, or none comes for too long.
    """
    index = _Index(folder)
    waiting: dict[int, IndexEntry] = {}
    expected, lost, told = 0, 0, False
    patience = max(FRAME_S, 5 * exposure_ms / 1000)
    deadline = time.monotonic() + FIRST_FRAME_S
    while expected < frames:
        ending = stop.is_set()
        for number, entry in index.new_entries():
            waiting[number] = entry
            deadline = time.monotonic() + patience
        if not told and (ending or frames - 1 in waiting):
            told = True
            no_more_come()
            continue
        if waiting:
            # Written in order; a number that is skipped will not come any more once a later one is there.
            number = min(waiting)
            lost += max(number - expected, 0)
            image = index.read(waiting.pop(number))
            expected = number + 1
            yield Frame(number, pixels(image), time.monotonic())
        elif ending:
            return
        elif time.monotonic() > deadline:
            raise HardwareError(
                f"Micro-Manager wrote no frame for {patience:.0f} s after frame {expected}: check the camera, and the "
                f"space on the disk of {folder}"
            )
        else:
            time.sleep(POLL_S)
    if lost:
        raise HardwareError(f"{lost} of {frames} frames were lost on the way from the camera; the rest is kept")


class _Index:
    """NDTiff's index file, read from where the last reading ended.

    Micro-Manager's writer fills the file with zeros in advance and writes the records into them; a record may be there
    in part.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._position = 0

    def new_entries(self) -> Iterator[tuple[int, IndexEntry]]:
        """Yield the records since the last call: frame number and where its pixels are."""
        path = self._folder / INDEX
        if not path.is_file():
            inside = sorted(self._folder.glob(f"*/{INDEX}")) if self._folder.is_dir() else []
            if not inside:
                return
            path = inside[0]
            self._folder = path.parent
        with path.open("rb") as file:
            while True:
                file.seek(self._position)
                records = list(_whole_records(file.read(READ_BYTES)))
                for length, number, entry in records:
                    self._position += length
                    yield number, entry
                if not records:
                    return

    def read(self, entry: IndexEntry) -> U16:
        """Return an image from its file, ADU, shape (height, width)."""
        dtype = COUNTS.get(int(entry.pixel_type))
        if dtype is None:
            raise HardwareError("Micro-Manager writes colour images: set the camera to 16 bit grey")
        path = self._folder / entry.filename
        count = int(entry.image_width) * int(entry.image_height)
        deadline = time.monotonic() + FRAME_S
        while True:
            # The record may be on disk before the last pixels are.
            values = np.fromfile(path, dtype, count, offset=int(entry.pix_offset))
            if values.size == count:
                return values.reshape(int(entry.image_height), int(entry.image_width)).astype(np.uint16, copy=False)
            if time.monotonic() > deadline:
                raise HardwareError(f"{path} is shorter than its index says: check the space on its disk")
            time.sleep(POLL_S)


def _whole_records(data: bytes) -> Iterator[tuple[int, int, IndexEntry]]:
    """Yield length, frame number and place of each record that is there whole; zeros, or a part of one, end it."""
    from ndstorage.ndtiff_index import NDTiffIndexEntry

    place = 0
    while data[place : place + 4].strip(b"\0"):
        try:
            end, axes, entry = NDTiffIndexEntry.unpack_single_index_entry(data, place)
        except (struct.error, ValueError):  # the record's end is not there yet
            return
        # What a record that is written in pieces ends with is zero until its last piece has come.
        if not (entry.filename and entry.pix_offset and entry.image_width and entry.metadata_length):
            return
        yield end - place, int(axes.get(AXIS, 0)), entry
        place = end
