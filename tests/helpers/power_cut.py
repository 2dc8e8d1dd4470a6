"""What a power cut may leave of a store: a record of every write, and disks that it is consistent with.

The record stands in for a block device that drops what was not synced. It knows what every writer of stores goes
through (`easyzloc_mm.io.writing.atomic`): content written, files renamed, files and folders brought to the device. What
zarr-python makes is known from the moment when it is brought to the device.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from easyzloc_mm.io.writing import atomic


def hook(monkeypatch: pytest.MonkeyPatch, name: str, replacement: Callable[..., Any]) -> Callable[..., Any]:
    """Put a function in the place of one of `atomic`, in every module that has imported it; return the real one."""
    real: Callable[..., Any] = getattr(atomic, name)
    for module in [module for title, module in sys.modules.items() if title.startswith("easyzloc_mm.")]:
        if getattr(module, name, None) is real:
            monkeypatch.setattr(module, name, replacement)
    return real


@dataclass
class Version:
    """One content that a file had."""

    content: bytes
    synced: bool = False

    def after_a_cut(self, rng: np.random.Generator) -> bytes:
        """Return what may be left: all of it if it was synced, else anything from all to nothing."""
        size = len(self.content)
        kept = int(rng.integers(0, size + 1))
        if self.synced:
            return self.content
        return (self.content, b"", self.content[:kept], bytes(size), self.content[:kept] + bytes(size - kept))[
            int(rng.integers(5))
        ]


@dataclass
class State:
    """What is known of the disk at one moment."""

    current: dict[Path, Version] = field(default_factory=dict)
    drafts: dict[Path, Version] = field(default_factory=dict)
    durable: dict[Path, Version] = field(default_factory=dict)
    """What a name stands for on the device."""
    since: dict[Path, list[Version]] = field(default_factory=dict)
    """What it has stood for since."""
    folders: set[Path] = field(default_factory=set)
    """Folders whose own name is on the device."""
    inside: dict[Path, set[Path]] = field(default_factory=dict)
    """Files and folders in each folder."""

    def _appears(self, path: Path, version: Version) -> None:
        self.current[path] = version
        self.since.setdefault(path, []).append(version)
        for entry in (path, *path.parents):
            known = self.inside.setdefault(entry.parent, set())
            if entry in known:
                return
            known.add(entry)

    def after(self, what: str, path: Path, content: bytes, target: Path | None) -> None:
        """Take one step of the record."""
        if what == "write":
            self.drafts[path] = Version(content)
        elif what == "replace":
            assert target is not None
            version = self.drafts.pop(path)
            self._appears(target, version)
        elif what == "file":
            version = self.drafts.get(path) or self.current.get(path) or Version(content)
            if version.content != content:  # zarr-python wrote it anew
                version = Version(content)
            version.synced = True
            if path not in self.drafts and self.current.get(path) is not version:
                self._appears(path, version)
        else:
            for entry in self.inside.get(path, ()):
                if entry in self.current:
                    self.durable[entry], self.since[entry] = self.current[entry], []
                else:
                    self.folders.add(entry)


class Recorder:
    """Records writes below `root` from now on.

    Parameters
    ----------
    root : Path
        Of stores; its own name is on the device.
    clock : callable
        Time of each step.
    """

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, clock: Callable[[], float]) -> None:
        self.root, self._clock = root, clock
        self.steps: list[tuple[float, str, Path, bytes, Path | None]] = []
        self._lock = threading.Lock()

        def write_draft(draft: Path, content: bytes) -> None:
            with self._lock:
                write(draft, content)
                self._note("write", draft, content)

        def replace(draft: Path, path: Path) -> None:
            with self._lock:
                rename(draft, path)
                self._note("replace", draft, target=path)

        def sync_file(path: Path) -> None:
            with self._lock:
                self._note("file", path, path.read_bytes())

        def sync_folder(path: Path) -> None:
            with self._lock:
                self._note("folder", path)

        write = hook(monkeypatch, "write_draft", write_draft)
        rename = hook(monkeypatch, "_replace", replace)
        hook(monkeypatch, "sync_file", sync_file)
        hook(monkeypatch, "sync_folder", sync_folder)

    def _note(self, what: str, path: Path, content: bytes = b"", target: Path | None = None) -> None:
        if self.root in (path, *path.parents):
            self.steps.append((self._clock(), what, path, content, target))

    def cut(self, after: int, to: Path, rng: np.random.Generator) -> None:
        """Build under `to` a disk as a power cut may leave it after so many steps."""
        state = State()
        for _, what, path, content, target in self.steps[:after]:
            state.after(what, path, content, target)
        gone: dict[Path, bool] = {}

        def is_gone(folder: Path) -> bool:
            if folder == self.root:
                return False
            if folder not in gone:
                gone[folder] = is_gone(folder.parent) or (folder not in state.folders and rng.random() < 0.5)
            return gone[folder]

        names = sorted({*state.current, *state.durable, *state.drafts})
        for path in names:
            before = [state.durable[path]] if path in state.durable else [None]
            draft = [state.drafts[path]] if path in state.drafts else []
            chosen: list[Version | None] = [*before, *state.since.get(path, []), *draft]
            version = chosen[int(rng.integers(len(chosen)))]
            if version is None or is_gone(path.parent):
                continue
            left = to / path.relative_to(self.root)
            left.parent.mkdir(parents=True, exist_ok=True)
            left.write_bytes(version.after_a_cut(rng))
