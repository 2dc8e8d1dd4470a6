"""Frames picked up from NDTiff files while another thread writes them with ndstorage, as Micro-Manager does."""

# ruff: noqa: PT012  what must fail is a whole stream

from __future__ import annotations

import itertools
import shutil
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from easyzloc_mm.errors import HardwareError
from easyzloc_mm.microscope.streaming import ndtiff as disk_stream
from easyzloc_mm.microscope.streaming.ndtiff import bridge_is_in_question, follow_ndtiff, is_too_slow, way_of_frames
from tests.helpers.microscope_bench import bench_profile
from tests.helpers.patience import PATIENCE_S


def frame(number: int) -> NDArray[np.uint16]:
    return np.random.default_rng(number).integers(0, 65536, (40, 50)).astype(np.uint16)


def as_it_is(image: Any) -> NDArray[np.uint16]:
    assert image.shape == (40, 50)
    return np.asarray(image)


def write(
    folder: Path, numbers: list[int], *, torn: bool = False, ahead: threading.Semaphore | None = None
) -> threading.Thread:
    """Write a data set from another thread; `torn` lets index records appear in pieces.

    A frame is written only when `ahead` is released once more, so that the writer stays a few frames before its reader.
    """
    from ndstorage import NDTiffDataset

    def run() -> None:
        time.sleep(0.2)
        data = NDTiffDataset(str(folder), summary_metadata={}, writable=True)
        for number in numbers:
            if ahead is not None:
                ahead.acquire(timeout=PATIENCE_S)
            if torn and data._index_file is not None:
                whole = data._index_file

                class Slow:
                    def write(self, content: bytes, file: Any = whole) -> None:
                        for i in range(0, len(content), 7):
                            file.write(content[i : i + 7])
                            file.flush()
                            time.sleep(0.002)

                data._index_file = Slow()
                data.put_image({"time": number}, frame(number), {})
                data._index_file = whole
            else:
                data.put_image({"time": number}, frame(number), {})
                data._index_file.flush()
        data.finish()
        data.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def write_as_java_does(folder: Path, frames: int, ahead: threading.Semaphore) -> threading.Thread:
    """Write a data set whose index is 25 MiB of zeros from the start; records come into it, in pieces."""
    from ndstorage import NDTiffDataset

    source = folder / "source"
    data = NDTiffDataset(str(source), summary_metadata={}, writable=True)
    index = source / "NDTiff.index"
    ends = [0]
    for number in range(frames):
        data.put_image({"time": number}, frame(number), {})
        data._index_file.flush()
        ends.append(index.stat().st_size)
    data.finish()
    data.close()
    records = [index.read_bytes()[a:b] for a, b in itertools.pairwise(ends)]

    def run() -> None:
        growing = folder / "nd"
        shutil.copytree(source, growing, ignore=shutil.ignore_patterns("NDTiff.index"))
        with (growing / "NDTiff.index").open("wb") as file:
            file.truncate(25 * 2**20)
            file.flush()
            for record in records:
                ahead.acquire(timeout=PATIENCE_S)
                for i in range(0, len(record), 9):
                    file.write(record[i : i + 9])
                    file.flush()
                    time.sleep(0.001)
            file.truncate(ends[-1])

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def test_an_index_that_was_filled_with_zeros_in_advance(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    ahead = threading.Semaphore(5)
    writer = write_as_java_does(tmp_path / "made", 40, ahead)
    early = 0
    for expected, got in enumerate(follow_ndtiff(tmp_path / "made" / "nd", 40, 10.0, threading.Event(), as_it_is)):
        assert got.index == expected
        assert np.array_equal(got.pixels, frame(expected))
        early += writer.is_alive()
        ahead.release()
    assert expected == 39
    assert early > 20
    writer.join()


@pytest.mark.parametrize("torn", [False, True])
def test_every_frame_once_in_order_as_it_appears(tmp_path: Path, torn: bool) -> None:
    ahead = threading.Semaphore(10)
    writer = write(tmp_path / "nd", list(range(60)), torn=torn, ahead=ahead)
    early = 0
    for expected, got in enumerate(follow_ndtiff(tmp_path, 60, 10.0, threading.Event(), as_it_is)):
        assert got.index == expected
        assert np.array_equal(got.pixels, frame(expected))
        early += writer.is_alive()
        ahead.release()
    assert expected == 59
    assert early > 40  # not only when the data set was finished
    writer.join()


def test_a_missing_frame_is_counted_after_the_rest(tmp_path: Path) -> None:
    write(tmp_path / "nd", [0, 1, 2, 5, 6, 7])
    got = []
    with pytest.raises(HardwareError, match="2 of 8 frames were lost"):
        for one in follow_ndtiff(tmp_path, 8, 10.0, threading.Event(), as_it_is):
            got.append(one.index)
    assert got == [0, 1, 2, 5, 6, 7]


def test_silence_and_a_stop_end_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_stream, "FRAME_S", 0.5)
    monkeypatch.setattr(disk_stream, "FIRST_FRAME_S", 3.0)
    write(tmp_path / "a" / "nd", list(range(5))).join()
    got = []
    with pytest.raises(HardwareError, match=r"no frame for .* after frame 5"):
        for one in follow_ndtiff(tmp_path / "a", 100, 10.0, threading.Event(), as_it_is):
            got.append(one.index)
    assert got == [0, 1, 2, 3, 4]
    with pytest.raises(HardwareError, match="after frame 0"):
        list(follow_ndtiff(tmp_path / "never", 100, 10.0, threading.Event(), as_it_is))
    stop = threading.Event()
    (tmp_path / "b").mkdir()
    ahead = threading.Semaphore(30)
    writer = write(tmp_path / "b" / "nd", list(range(200)), ahead=ahead)
    seen = []
    for one in follow_ndtiff(tmp_path / "b", 1000, 10.0, stop, as_it_is):
        seen.append(one.index)
        if one.index == 10:
            stop.set()
    assert seen == list(range(len(seen)))
    assert 11 <= len(seen) < 150
    ahead.release(200)
    writer.join()


def test_the_way_is_chosen_by_the_measured_rate_and_said(tmp_path: Path) -> None:
    profile = bench_profile(tmp_path)
    assert way_of_frames(profile) == "MMCore's buffer"
    slow = profile.replace(connection={"backend": "java"}, imaging={"exposure_ms": 30})
    assert way_of_frames(slow, 80.0).startswith("the bridge (")
    fast = slow.replace(camera={"width_px": 2048, "height_px": 2048}, imaging={"exposure_ms": 20})
    assert "takes 280 MB/s and may lose frames at 419: set connection.java_stream_dir" in way_of_frames(fast, 280.0)
    assert not bridge_is_in_question(fast)
    by_disk = fast.replace(connection={"java_stream_dir": str(tmp_path)})
    assert bridge_is_in_question(by_disk)
    assert is_too_slow(280.0, by_disk)
    assert way_of_frames(by_disk, 280.0).startswith("NDTiff in ")
    assert "by its measured rate" in way_of_frames(by_disk)
    # The same camera on a computer whose bridge is faster.
    assert way_of_frames(by_disk, 1000.0).startswith("the bridge (")


@pytest.mark.parametrize("frozen_at", ["constructor", "acquire"])
def test_a_micro_manager_that_is_frozen_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frozen_at: str
) -> None:
    thaw, ended = threading.Event(), list[str]()

    class Frozen:
        """An acquisition as pycromanager makes it, of a Micro-Manager that answers no more."""

        def __init__(self, **_how: object) -> None:
            if frozen_at == "constructor":
                thaw.wait(PATIENCE_S)

        def acquire(self, _events: object) -> None:
            thaw.wait(PATIENCE_S)

        def abort(self) -> None:
            ended.append("abort")
            thaw.wait(PATIENCE_S)

        def mark_finished(self) -> None: ...

        def await_completion(self) -> None: ...

    made: Any = SimpleNamespace(Acquisition=Frozen, multi_d_acquisition_events=lambda **_what: [])
    monkeypatch.setitem(sys.modules, "pycromanager", made)
    monkeypatch.setattr(disk_stream, "START_S", 0.1)
    monkeypatch.setattr(disk_stream, "FINISH_S", 0.1)
    by_disk = bench_profile(tmp_path).replace(connection={"backend": "java", "java_stream_dir": str(tmp_path)})
    with pytest.raises(HardwareError, match=r"starting Micro-Manager's acquisition: no answer within 0\.1 s"):
        next(disk_stream.stream_over_disk(by_disk, 5, threading.Event(), as_it_is))
    thaw.set()
    assert ended == ([] if frozen_at == "constructor" else ["abort"])
    assert not list(tmp_path.glob("easyzloc-mm-*"))


@pytest.mark.parametrize("stopped", [False, True])
def test_what_lies_on_the_disk_is_read_in_the_dark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped: bool
) -> None:
    happened: list[str | int] = []
    stop = threading.Event()

    class Acquisition:
        """An acquisition as pycromanager makes it: 20 frames at once, and two more that are under way at its end."""

        def __init__(self, directory: str, name: str, **_how: object) -> None:
            from ndstorage import NDTiffDataset

            self._data = NDTiffDataset(str(Path(directory) / name), summary_metadata={}, writable=True)

        def acquire(self, _events: object) -> None:
            self._put(range(20))

        def _put(self, numbers: range) -> None:
            for number in numbers:
                self._data.put_image({"time": number}, frame(number), {})
            self._data._index_file.flush()

        def mark_finished(self) -> None: ...

        def abort(self) -> None:
            happened.append("abort")
            self._put(range(20, 22))

        def await_completion(self) -> None:
            self._data.finish()
            self._data.close()

    made: Any = SimpleNamespace(Acquisition=Acquisition, multi_d_acquisition_events=lambda **_what: [])
    monkeypatch.setitem(sys.modules, "pycromanager", made)
    by_disk = bench_profile(tmp_path).replace(connection={"backend": "java", "java_stream_dir": str(tmp_path)})
    asked = 1000 if stopped else 20
    for one in disk_stream.stream_over_disk(by_disk, asked, stop, as_it_is, lambda: happened.append("dark")):
        happened.append(one.index)
        if stopped and one.index == 5:
            stop.set()
    if stopped:
        assert happened == [*range(6), "abort", "dark", *range(6, 22)]
    else:
        assert happened == ["dark", *range(20), "abort"]
    assert not list(tmp_path.glob("easyzloc-mm-*"))
