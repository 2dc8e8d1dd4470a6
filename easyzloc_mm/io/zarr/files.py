"""Files of a store, and when they are on the device: what a power cut may cost is decided here."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from easyzloc_mm.io.writing.atomic import patiently, put_file, sync_file, sync_folder
from easyzloc_mm.io.zarr.chunks import update_node
from easyzloc_mm.profile.detection import Sync

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

PROMISED_S = 1.0
"""Longest time that something may be lost after it was written, with `Sync.SECOND`."""
THREADS = 32
"""File systems bring the files of several callers to the device together: many cost little more than one."""


@dataclass
class _Batch:
    """What one commit brings to the device, and what it then counts."""

    node: Path
    attributes: dict[str, Any]
    held: dict[Path, bytes]
    unsynced: dict[Path, bytes]
    folders: set[Path]
    oldest_s: float | None
    lag_s: float = 0.0


class StoreFiles:
    """Puts the files of one store in place by a policy; use it from one thread.

    Whatever the policy, what a commit counts was written before. Other than by `Sync.NEVER` it is also on the device
    before, so that no power cut leaves a count of what is not there. Threads of its own wait for the device: whoever
    writes goes on meanwhile, and is told of errors at the next call.

    Parameters
    ----------
    sync : Sync
    """

    def __init__(self, sync: Sync) -> None:
        self._sync = sync
        self._committer = ThreadPoolExecutor(1, thread_name_prefix="commit") if self.durable else None
        self._waiters = ThreadPoolExecutor(THREADS, thread_name_prefix="disk") if self.durable else None
        self._held: dict[Path, bytes] = {}
        self._unsynced: dict[Path, bytes] = {}
        self._folders: set[Path] = set()
        self._oldest_s: float | None = None
        self._under_way: tuple[_Batch, Future[None]] | None = None
        self.lag_s = 0.0
        """Longest time from writing something to its being committed: what a power cut would have cost."""

    @property
    def durable(self) -> bool:
        """Whether what is committed is on the device."""
        return self._sync is not Sync.NEVER

    @property
    def busy(self) -> bool:
        """Whether a commit is under way that has neither ended nor failed."""
        return self._under_way is not None and not self._under_way[1].done()

    @property
    def held(self) -> int:
        """Files that wait for the next commit (`hold`)."""
        return len(self._held)

    def start_clock(self) -> None:
        """Count the time from now to the next commit, if it is not being counted yet."""
        if self._oldest_s is None:
            self._oldest_s = time.monotonic()

    def put(self, path: Path, content: bytes) -> None:
        """Put a new file in place; it can be read at once. By `Sync.ALWAYS` it is on the device at once, too."""
        if not self.busy:
            self.finish_commit()
        self.start_clock()
        _make_folder(path.parent, self._folders)
        put_file(path, content, durable=self._sync is Sync.ALWAYS)
        self._folders.add(path.parent)
        if self._sync is Sync.SECOND:
            self._unsynced[path] = content
        elif self._sync is Sync.ALWAYS:
            self.each(_settle_folder, self._folders)
            self._folders.clear()

    def hold(self, path: Path, content: bytes) -> None:
        """Keep a file for the next commit: it takes the place of one that is counted already, and is whole before."""
        self._held[path] = content

    def put_held(self) -> None:
        """Put the files that are held in place at once, and wait for it."""
        self._put_whole(self._held, self._folders)
        self._held = {}

    def begin_commit(self, node: Path, attributes: Mapping[str, Any]) -> None:
        """Bring what was put and held to the device, and then count it: change `attributes` of `node`.

        By `Sync.NEVER` it is done when this returns; otherwise beside what the caller goes on with.
        """
        self.finish_commit()
        batch = _Batch(node, dict(attributes), self._held, self._unsynced, self._folders, self._oldest_s)
        self._held, self._unsynced, self._folders, self._oldest_s = {}, {}, set(), None
        if self._committer is not None:
            self._under_way = batch, self._committer.submit(self._store, batch)
            return
        done: Future[None] = Future()
        try:
            self._store(batch)
            done.set_result(None)
        except OSError as error:
            done.set_exception(error)
        self._under_way = batch, done
        self.finish_commit()

    def finish_commit(self) -> None:
        """Wait for the commit that is under way, if there is one; what it could not store is stored by the next one."""
        if self._under_way is None:
            return
        (batch, done), self._under_way = self._under_way, None
        try:
            done.result()
        except BaseException:
            self._held = {**batch.held, **self._held}
            self._unsynced = {**batch.unsynced, **self._unsynced}
            self._folders |= batch.folders
            self._oldest_s = batch.oldest_s
            raise
        if self._sync is Sync.SECOND and batch.lag_s > PROMISED_S >= self.lag_s:
            logger.warning("%s: the disk took %.1f s, a power cut costs as much", batch.node, batch.lag_s)
        self.lag_s = max(self.lag_s, batch.lag_s)

    def close(self) -> None:
        """Let go of the threads."""
        for pool in (self._committer, self._waiters):
            if pool is not None:
                pool.shutdown()

    def _store(self, batch: _Batch) -> None:
        self._put_whole(batch.held, batch.folders)
        if self.durable:
            self.each(_settle, batch.unsynced.items())
            self.each(_settle_folder, batch.folders)
        update_node(batch.node, batch.attributes, durable=self.durable)
        if batch.oldest_s is not None:
            batch.lag_s = time.monotonic() - batch.oldest_s

    def _put_whole(self, contents: Mapping[Path, bytes], folders: set[Path]) -> None:
        def put(item: tuple[Path, bytes]) -> None:
            put_file(*item, durable=self.durable)

        for path in contents:
            _make_folder(path.parent, folders)
        self.each(put, contents.items())
        folders.update(path.parent for path in contents)

    def each(self, act: Callable[[Item], None], items: Iterable[Item]) -> None:
        """Do something with each item, many at a time where it waits for the device."""
        list(map(act, items) if self._waiters is None else self._waiters.map(act, items))


def _make_folder(folder: Path, folders: set[Path]) -> None:
    """Make a folder, and note those whose names change by it."""
    try:
        folder.mkdir()
    except FileExistsError:
        return
    except FileNotFoundError:
        _make_folder(folder.parent, folders)
        folder.mkdir()
    folders.add(folder.parent)


def _settle(item: tuple[Path, bytes]) -> None:
    path, content = item
    try:
        sync_file(path)
    except OSError as error:
        # What the system had of the file may be gone after this: written anew, not only waited for again.
        logger.warning("%s: %s; written again", path, error)
        put_file(path, content, durable=True)


def _settle_folder(path: Path) -> None:
    patiently(lambda: sync_folder(path), path)
