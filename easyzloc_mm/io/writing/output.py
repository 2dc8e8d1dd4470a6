"""The output guard: outputs are claimed before work starts, appear when they are whole, and replace only their kind."""

from __future__ import annotations

import shutil
import uuid
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.writing.atomic import sync_folder, sync_tree
from easyzloc_mm.io.writing.kinds import Kind, foreign, holds_raw_frames, kind_of, misnamed
from easyzloc_mm.typing import IfExists, IfExistsResume


def check_output(
    path: Path,
    kind: Kind,
    *,
    if_exists: IfExistsResume,
    inputs: Iterable[Path] = (),
    acquires: bool = False,
) -> Path:
    """Refuse an output that must not be written, before any work is done.

    Parameters
    ----------
    path : Path
        What shall be written.
    kind : Kind
        What it will be. Something else that stands there is never replaced.
    if_exists : {'error', 'overwrite', 'resume'}
        What becomes of an output of this kind that is there already.
    inputs : iterable of Path
        What the work reads: an output that is one of them, or holds one, is refused.
    acquires : bool
        Whether the new output comes from the microscope: a computed one never replaces raw frames.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    InputError
        `path` exists and may not be replaced, lies inside a store or a model bundle, is named like another kind of
        result, or its parent folder is missing.
    """
    path = Path(path)
    folder = path.absolute().parent
    if not folder.is_dir():
        raise InputError(f"the folder {folder} does not exist: create it, or choose another `out`")
    if (folder / "zarr.json").is_file():
        raise InputError(f"{folder} is a store, and {path.name} would lie inside it: choose another `out`")
    for around in path.resolve().parents:
        if kind_of(around) is Kind.MODEL:
            raise InputError(f"{around} is a {Kind.MODEL}, and {path.name} would lie inside it: choose another `out`")
    if not (path.exists() or path.is_symlink()):
        if ending := misnamed(path, kind):
            raise InputError(
                f"{path} would be named like another kind of file, and this writes a {kind}: give {ending}"
            )
        return path
    if if_exists == "error":
        raise InputError(f"{path} already exists{_described(path)}: choose another `out`, or `if_exists='overwrite'`")
    if if_exists == "overwrite":
        fault = _why_not(path, kind, [Path(item) for item in inputs], acquires)
        if fault:
            raise InputError(f"{path} {fault}: it is not replaced; choose another `out`, or remove it yourself")
    return path


def _described(path: Path) -> str:
    kind = kind_of(path)
    return f" ({kind})" if kind else ""


def _why_not(path: Path, kind: Kind, inputs: list[Path], acquires: bool) -> str:
    """Return why what stands at `path` may not be replaced by a result of `kind`; empty where it may."""
    here = path.resolve()
    if path.is_mount() or here in (Path.cwd(), *Path.cwd().parents) or here in (Path.home(), *Path.home().parents):
        return "is, or holds, the folder that you work in"
    for item in inputs:
        if item.exists() and (here == item.resolve() or here in item.resolve().parents):
            return "is what this command reads" if here == item.resolve() else f"holds {item}, which this command reads"
    if path.is_dir() and not any(path.iterdir()):
        return ""
    found = kind_of(path)
    if found is not kind:
        return f"holds a {found}, not a {kind}" if found else f"is no {kind} that easyzloc_mm wrote"
    if not acquires and holds_raw_frames(path):
        return "holds raw frames of a microscope, which cannot be computed again"
    other = foreign(path, kind)
    return f"holds {other.relative_to(path)}, which easyzloc_mm did not write" if other else ""


def remove(path: Path) -> None:
    """Delete a file or a folder, if it is there. For what this program has just made, or what the guard let pass."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def whole_or_nothing(
    path: Path, kind: Kind, *, if_exists: IfExists = "error", inputs: Iterable[Path] = ()
) -> Iterator[Path]:
    """Give a hidden sibling to write to; it takes the place of `path` on success and is removed on any error.

    For results that are computed. Streams (live runs, bead stacks) are written in place (`replaced_stream`), since
    what was acquired must stay readable after a crash.

    Raises
    ------
    InputError
        As `check_output`.
    """
    path = check_output(path, kind, if_exists=if_exists, inputs=inputs)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        yield draft
        # What appeared at `path` since the work began is looked at again.
        check_output(path, kind, if_exists=if_exists, inputs=inputs)
        take_place(draft, path)
    finally:
        remove(draft)


def take_place(draft: Path, path: Path) -> None:
    """Put a result in place; an older one goes when the new one is there, and both outlive a power cut until then."""
    sync_tree(draft)
    if not (path.exists() or path.is_symlink()):
        draft.rename(path)
        sync_folder(path.parent)
        return
    if draft.is_file() and path.is_file():
        draft.replace(path)
        sync_folder(path.parent)
        return
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    path.rename(aside)
    try:
        draft.rename(path)
    except BaseException:
        aside.rename(path)
        raise
    sync_folder(path.parent)
    remove(aside)


@contextmanager
def replaced_stream(
    path: Path,
    kind: Kind,
    *,
    if_exists: IfExistsResume = "error",
    inputs: Iterable[Path] = (),
    acquires: bool = True,
) -> Iterator[Path]:
    """Clear the way for a stream that is written in place; an older one is set aside until the new one is complete.

    On success the older one is removed. On an error it goes back to its place where the new one was not begun, and
    otherwise stays beside it as ``NAME.previous-1.zarr``.

    Raises
    ------
    InputError
        As `check_output`.
    """
    path = check_output(path, kind, if_exists=if_exists, inputs=inputs, acquires=acquires)
    aside = None
    if if_exists == "overwrite" and path.exists():
        aside = free_name(path, "previous")
        path.rename(aside)
    try:
        yield path
    except BaseException:  # Ctrl-C too: what was there before is never lost
        if aside is not None and not path.exists():
            aside.rename(path)
        elif aside is not None:
            warnings.warn(f"what {path} was before is kept as {aside.name}", EasyZlocWarning, stacklevel=3)
        raise
    if aside is not None:
        remove(aside)


def free_name(path: Path, word: str) -> Path:
    """Return the first of ``NAME.WORD-1.ENDING``, ``NAME.WORD-2.ENDING``, ... that is not taken."""
    number = 1
    while (candidate := path.with_name(f"{path.stem}.{word}-{number}{path.suffix}")).exists():
        number += 1
    return candidate
