"""Results of benchmarks through time: one JSON line for each run, with the machine that it ran on."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from pydantic import JsonValue, ValidationError

import easyzloc_mm
from easyzloc_mm._models import FrozenModel
from easyzloc_mm.errors import InputError

FOLDER = Path("benchmarks") / "history"
"""In the source tree."""
SCHEMA_VERSION = 1


class Machine(FrozenModel):
    """The computer that a benchmark ran on."""

    cpu: str
    cores: int
    """Logical ones that this process may use."""
    memory_gb: float
    system: str
    python: str


class BenchRecord(FrozenModel):
    """One run of one benchmark."""

    schema_version: int = SCHEMA_VERSION
    bench: str
    """Name of the command: ``detect``, ``live``, ..."""
    date: datetime
    """UTC."""
    version: str
    """Of easyzloc_mm."""
    commit: str | None = None
    """Of the source tree, with ``-dirty`` where it holds other changes; None where there is no git."""
    machine: Machine
    arguments: dict[str, JsonValue]
    result: dict[str, JsonValue]


def this_machine() -> Machine:
    """Describe the computer."""
    import psutil

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Machine(
        cpu=_cpu_name(),
        cores=cores,
        memory_gb=round(psutil.virtual_memory().total / 1e9, 1),
        system=platform.platform(),
        python=platform.python_version(),
    )


def _cpu_name() -> str:
    """Model name of the processor where the system knows it, otherwise its architecture."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def source_tree() -> Path | None:
    """Folder of the source tree that this package is imported from; None where it is installed."""
    folder = Path(easyzloc_mm.__file__).parents[1]
    return folder if (folder / "pyproject.toml").is_file() else None


def _commit(folder: Path | None) -> str | None:
    if folder is None:
        return None
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=folder, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None


def append_record(
    bench: str, arguments: Mapping[str, JsonValue], result: Mapping[str, JsonValue], file: Path | None = None
) -> Path:
    """Append one run of a benchmark to its history.

    Parameters
    ----------
    bench : str
        Name of the benchmark.
    arguments, result : mapping
        Plain JSON values.
    file : Path, optional
        JSON lines; ``benchmarks/history/BENCH.jsonl`` of the source tree if not given.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        There is no source tree and no `file`, or the file cannot be written.
    """
    tree = source_tree()
    if file is None:
        if tree is None:
            raise InputError("there is no source tree to record in: give a file to `record`")
        file = tree / FOLDER / f"{bench}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
    record = BenchRecord(
        bench=bench,
        date=datetime.now(UTC).replace(microsecond=0),
        version=easyzloc_mm.__version__,
        commit=_commit(tree),
        machine=this_machine(),
        arguments=dict(arguments),
        result=dict(result),
    )
    try:
        with file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(record.model_dump(mode="json"), allow_nan=False) + "\n")
    except OSError as error:
        raise InputError(f"{file} cannot be written ({error.strerror}): give another file to `record`") from None
    return file


def read_history(file: Path) -> list[BenchRecord]:
    """Read the runs of a benchmark, oldest first.

    Raises
    ------
    InputError
        There is no such file, or a line of it is no record.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror})") from None
    records = []
    for number, line in enumerate(lines, 1):
        try:
            records.append(BenchRecord.model_validate_json(line))
        except ValidationError as error:
            raise InputError(f"{file}, line {number} is no benchmark record: {error.errors()[0]['msg']}") from None
    return records
