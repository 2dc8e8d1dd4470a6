"""Files of a store, and when they are on the device: what a power cut may cost is decided here."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from easyzloc_mm.io.atomic import patiently, put_file, sync_file, sync_folder
from easyzloc_mm.io.zarr.chunks import update_node
from easyzloc_mm.profile.detection import Sync

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

PROMISED_S = 1.0
"""Longest time that something may be lost after it was written, with `Sync.SECOND`."""
THREADS = 8
"""File systems bring the files of several callers to the device together: eight cost little more than one."""


class StoreFiles:
    """Puts the files of one store in place by a policy; use it from one thread.

    Whatever the policy, what `commit` counts was written before. Other than by `Sync.NEVER` it is also on the device
    before, so that no power cut leaves a count of what is not there.

    Parameters
    ----------
    sync : Sync
    """

    def __init__(self, sync: Sync) -> None:
        self._sync = sync
        self._pool: ThreadPoolExecutor | None = None
        self._unsynced: dict[Path, bytes] = {}
        self._folders: set[Path] = set()
        self._oldest_s: float | None = None
        self.lag_s = 0.0
        """Longest time from writing something to its being committed: what a power cut would have cost."""

    @property
    def durable(self) -> bool:
        """Whether what is committed is on the device."""
        return self._sync is not Sync.NEVER

    def start_clock(self) -> None:
        """Count the time from now to the next commit, if it is not being counted yet."""
        if self._oldest_s is None:
            self._oldest_s = time.monotonic()

    def put(self, path: Path, content: bytes) -> None:
        """Put a new file in place; it can be read at once. By `Sync.ALWAYS` it is on the device at once, too."""
        self.start_clock()
        self._make_folder(path.parent)
        put_file(path, content, durable=self._sync is Sync.ALWAYS)
        if self._sync is Sync.SECOND:
            self._unsynced[path] = content
        if self.durable:
            self._folders.add(path.parent)
        if self._sync is Sync.ALWAYS:
            self._sync_names()

    def replace(self, contents: Mapping[Path, bytes]) -> None:
        """Put files in place of others that are counted already: each old one stays until the new one is whole."""
        for path in contents:
            self._make_folder(path.parent)

        def put(item: tuple[Path, bytes]) -> None:
            put_file(*item, durable=self.durable)

        self._each(put, contents.items())
        if self.durable:
            self._folders.update(path.parent for path in contents)

    def commit(self, node: Path, attributes: Mapping[str, Any]) -> None:
        """Bring what was put in place to the device, and then count it: change `attributes` of `node`."""
        self._each(_settle, self._unsynced.items())
        self._unsynced.clear()
        self._sync_names()
        update_node(node, attributes, durable=self.durable)
        if self._oldest_s is not None:
            lag_s = time.monotonic() - self._oldest_s
            if self._sync is Sync.SECOND and lag_s > PROMISED_S >= self.lag_s:
                logger.warning("%s: the disk took %.1f s to store what it got, a power cut costs as much", node, lag_s)
            self.lag_s, self._oldest_s = max(self.lag_s, lag_s), None

    def close(self) -> None:
        """Let go of the threads."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def _make_folder(self, folder: Path) -> None:
        try:
            folder.mkdir()
        except FileExistsError:
            return
        except FileNotFoundError:
            self._make_folder(folder.parent)
            folder.mkdir()
        if self.durable:
            self._folders.add(folder.parent)

    def _sync_names(self) -> None:
        self._each(_settle_folder, self._folders)
        self._folders.clear()

    def _each(self, act: Callable[[Item], None], items: Iterable[Item]) -> None:
        """Do something with each item, several at a time where it waits for the device."""
        chosen = list(items)
        if not self.durable or len(chosen) < 2:
            for item in chosen:
                act(item)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="disk")
        list(self._pool.map(act, chosen))


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
