"""What a developer needs to understand a fault: log, versions, profile and metadata of a run, without its images."""

from __future__ import annotations

import getpass
import json
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from easyzloc_mm._log import FILE as LOG
from easyzloc_mm._log import environment
from easyzloc_mm._version import installed
from easyzloc_mm.acquire.doctor import PACKAGES
from easyzloc_mm.errors import InputError
from easyzloc_mm.io.runs.status import FILE as STATUS
from easyzloc_mm.io.writing.kinds import LEDGER, Kind, kind_of
from easyzloc_mm.io.writing.output import whole_or_nothing
from easyzloc_mm.model.card import CARD_FILE
from easyzloc_mm.typing import IfExists

LOG_BYTES = 20 * 2**20
"""Of a longer log its beginning and its end are packed, so much of both together."""
TEXT_FILES = (LEDGER, STATUS, CARD_FILE)
SHORTEST_NAME = 3
"""A shorter user name would be replaced in the middle of everything."""
COMMENT = b"bug report of easyzloc_mm"


def pack_bug_report(source: Path, out: Path, *, if_exists: IfExists = "error") -> list[str]:
    """Pack the log, versions, profile and metadata of a result as a zip, to be attached to an issue.

    No image, no localisation and no bead is packed; home folder and user name are replaced by ``~``.

    Parameters
    ----------
    source : Path
        Run, bead stacks, model bundle, or the folder of a scan or a calibration, whose parts are packed too.
    out : Path
        The archive, ``.zip``.
    if_exists : {'error', 'overwrite'}
        What becomes of an archive that is there already.

    Returns
    -------
    list of str
        Names of the files in the archive.

    Raises
    ------
    InputError
        `source` is nothing that easyzloc_mm wrote, or `out` exists.
    """
    source, out = Path(source), Path(out)
    if not source.is_dir():
        raise InputError(f"{source} is no folder: give a RUN.zarr, or the folder of a scan or a calibration")
    if out.suffix.lower() != ".zip":
        raise InputError(f"{out} does not end in .zip: choose another `out`")
    if kind_of(source) is None and not (source / LOG).is_file():
        raise InputError(f"{source} is nothing that easyzloc_mm wrote: give a run, a scan or a calibration")
    names = []
    with (
        whole_or_nothing(out, Kind.ARCHIVE, if_exists=if_exists, inputs=[source]) as draft,
        zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        archive.comment = COMMENT
        for name, text in _texts(source):
            archive.writestr(name, anonymized(text))
            names.append(name)
    return names


def anonymized(text: str) -> str:
    """Return a text with the home folder, however it is written, and the user's name replaced by ``~``."""
    home = str(Path.home())
    for written in {home, Path.home().as_posix(), json.dumps(home)[1:-1]}:
        text = text.replace(written, "~")
    user = getpass.getuser()
    return re.sub(rf"\b{re.escape(user)}\b", "~", text) if len(user) >= SHORTEST_NAME else text


def _texts(source: Path) -> Iterator[tuple[str, str]]:
    """Yield name and content of every file of the archive."""
    yield "environment.json", json.dumps(_facts(source), indent=1)
    for folder in (source, *sorted(entry for entry in source.iterdir() if entry.is_dir())):
        # Only what is a result by itself: the arrays of a store are its content.
        if folder != source and kind_of(folder) is None and not (folder / LOG).is_file():
            continue
        inside = "" if folder == source else f"{folder.name}/"
        if (folder / LOG).is_file():
            yield f"{inside}{LOG}", _read_log(folder / LOG)
        for name in TEXT_FILES:
            if (folder / name).is_file():
                yield f"{inside}{name}", (folder / name).read_text(encoding="utf-8", errors="replace")
        metadata = _metadata(folder)
        if metadata:
            yield f"{inside}metadata.json", json.dumps(metadata, indent=1)
        if isinstance(metadata.get("profile"), dict):
            yield f"{inside}profile.json", json.dumps(metadata["profile"], indent=1)


def _facts(source: Path) -> dict[str, Any]:
    """Return what `doctor` reports of this computer, as far as no device is needed."""
    import psutil

    return {
        **environment(),
        "kind": str(kind_of(source)),
        "source": str(source.absolute()),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "disk_free_gb": round(shutil.disk_usage(source).free / 1e9, 1),
        "versions": installed(PACKAGES),
    }


def _metadata(store: Path) -> dict[str, Any]:
    """Return the metadata at the root of a store; empty where it is no store, or is broken."""
    try:
        attributes = json.loads((store / "zarr.json").read_text(encoding="utf-8"))["attributes"]
        return dict(attributes.get("easyzloc", {}))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _read_log(path: Path) -> str:
    content = path.read_bytes()
    if len(content) > LOG_BYTES:
        half = LOG_BYTES // 2
        content = content[:half] + b"\n... left out ...\n" + content[-half:]
    return content.decode("utf-8", errors="replace")
