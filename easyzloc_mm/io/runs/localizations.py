"""Localisation tables: group ``localizations/`` of a ``RUN.zarr``, one 1-D array per column.

Rows beyond the group's attribute ``n_committed`` are undefined. It is written after the rows that it counts,
each file is put in place whole, and rows that were committed are never changed: a reader never sees a torn
row, and a writer that was killed loses at most what it had not flushed (a third of a second). ``frames_committed``
changes in the same step: every row of an earlier frame is committed, so that work can be resumed there.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from easyzloc_mm.errors import InputError
from easyzloc_mm.io.reading import DAMAGED_STORE, reading, words
from easyzloc_mm.io.runs.metadata import RunMetadata
from easyzloc_mm.io.writing.kinds import Kind, did_you_mean
from easyzloc_mm.io.zarr.chunks import ChunkedArray, seal, update_node
from easyzloc_mm.io.zarr.files import StoreFiles
from easyzloc_mm.profile.detection import Sync

if TYPE_CHECKING:
    import zarr

COLUMNS_2D = (
    "frame", "x", "y", "photons", "sx", "sy", "bg", "lpx", "lpy", "ellipticity", "net_gradient",
)  # fmt: skip
"""Columns of every table, Picasso's names and units: frame; px for x, y, sx, sy, lpx, lpy; photons, bg."""
COLUMNS_Z = ("z", "lpz", "z_flag")
"""Further columns of a 3D table: nm, nm, bit field."""
CHUNK_ROWS = 16384
FIRST_CAPACITY = 64 * CHUNK_ROWS
FLUSH_S = 0.3
SLOW_FLUSH_S = 0.4
"""On a slow disk a commit is followed by a pause as long as it took, up to this: frames have to be stored too."""
MOST_HELD = 128
"""Chunks that wait for the next commit; more are put in place at once."""
GROUP = "localizations"
FACTS = "easyzloc"
"""Root attribute under which a run's provenance stands."""


def column_dtype(name: str, given: np.dtype[Any] | None = None) -> np.dtype[Any]:
    """Return the dtype of a column: frame uint32, z_flag uint8, others of the contract float32.

    Columns that only other programs know (Picasso's ``group``) keep the dtype that they were `given`.
    """
    if name in COLUMNS_2D or name in COLUMNS_Z or given is None:
        return np.dtype({"frame": "u4", "z_flag": "u1"}.get(name, "f4"))
    return given


class LocalizationWriter:
    """Appends rows to the table of a run; use it from one thread.

    Make one with `create`, or continue a table that was cut off with `resume`.

    Parameters
    ----------
    path : Path
        ``RUN.zarr``.
    metadata : RunMetadata
        As stored.
    group : zarr.Group
        The table's group.
    sync : Sync
        When rows are brought to the device.
    """

    def __init__(self, path: Path, metadata: RunMetadata, group: zarr.Group, sync: Sync) -> None:
        self.path = path
        self._metadata, self._group = metadata, group
        self._files = StoreFiles(sync)
        self._columns: dict[str, ChunkedArray] = {}
        self._tail: dict[str, NDArray[Any]] = {}
        self._rows = self._committed = 0
        self._frames = self._frames_committed = 0
        self._under_way: tuple[int, int] | None = None
        self._flush_due_s = time.monotonic() + FLUSH_S

    @classmethod
    def create(
        cls,
        path: Path,
        metadata: RunMetadata,
        *,
        columns: Sequence[str] | None = None,
        sync: Sync = Sync.NEVER,
    ) -> Self:
        """Begin a table.

        Parameters
        ----------
        path : Path
            ``RUN.zarr``; made if it is not there, and it may already hold the run's frames.
        metadata : RunMetadata
            Provenance.
        columns : sequence of str
            Columns of the table; those of the first `append` if not given.
        sync : Sync
            When rows are brought to the device.

        Raises
        ------
        InputError
            The store already holds a table.
        """
        import zarr

        path = Path(path)
        root = zarr.open_group(path, mode="a")
        if GROUP in root:
            raise InputError(
                f"{path} already holds localisations: choose another `out`, or add `if_exists='overwrite'`"
            )
        update_node(path, {FACTS: metadata.stored()}, durable=sync is not Sync.NEVER)
        group = root.create_group(GROUP, attributes={"n_committed": 0, "frames_committed": 0, "columns": []})
        writer = cls(path, metadata, group, sync)
        if columns is not None:
            writer._make_columns(columns)
        seal(path, durable=writer._files.durable)
        return writer

    @classmethod
    def resume(cls, path: Path, *, sync: Sync = Sync.NEVER) -> Self:
        """Continue a table that was cut off: after its last committed row, from frame `frames_committed`.

        Raises
        ------
        InputError
            There is no table, or it is damaged.
        """
        import zarr

        path = Path(path)
        try:
            root = zarr.open_group(path, mode="r+")
            group: Any = root[GROUP]
            rows, frames = int(group.attrs["n_committed"]), int(group.attrs["frames_committed"])
            names = list(group.attrs["columns"])
        except (KeyError, ValueError, OSError, TypeError) as error:
            raise InputError(
                f"{path} holds no table that could be continued: leave out `if_exists='resume'` ({error})"
            ) from None
        stored: Any = root.attrs.get(FACTS, {})
        writer = cls(path, RunMetadata.from_stored(stored, path), group, sync)
        writer._rows = writer._committed = rows
        writer._frames = writer._frames_committed = frames
        for name in names:
            column = ChunkedArray.open(path / GROUP / name)
            if column.shape[0] < FIRST_CAPACITY:
                column.resize((FIRST_CAPACITY,))
            writer._columns[name] = column
            last = rows // CHUNK_ROWS
            writer._tail[name] = column.read((last,)) if rows % CHUNK_ROWS else np.zeros(CHUNK_ROWS, column_dtype(name))
        return writer

    @property
    def rows(self) -> int:
        """Rows appended so far."""
        return self._rows

    @property
    def n_committed(self) -> int:
        """Rows that a reader sees."""
        return self._committed

    @property
    def metadata(self) -> RunMetadata:
        """Provenance so far."""
        return self._metadata

    @property
    def commit_lag_s(self) -> float:
        """Longest time from a row's being appended to its being committed, s."""
        return self._files.lag_s

    @property
    def everything_committed(self) -> bool:
        """Whether a reader sees all that was appended."""
        return (self._rows, self._frames) == (self._committed, self._frames_committed)

    @property
    def frames_committed(self) -> int:
        """Rows of frames before this one are on disk."""
        return self._frames_committed

    def append(self, rows: pd.DataFrame, *, frames_done: int | None = None) -> None:
        """Add rows; they are on disk when a chunk is full, or about a third of a second later (`flush_if_due`).

        Parameters
        ----------
        rows : DataFrame
            All finite.
        frames_done : int, optional
            With these rows, every frame before this one is done.

        Raises
        ------
        ValueError
            A value is not finite, or the columns differ from those of earlier rows: both are the caller's
            mistakes, since Picasso silently drops rows with NaN.
        """
        if not self._columns:
            self._make_columns([str(name) for name in rows.columns], dict(rows.dtypes))
        if set(rows.columns) != set(self._columns):
            raise ValueError(f"the table has columns {list(self._columns)}, not {list(rows.columns)}")
        values = {name: rows[name].to_numpy() for name in self._columns}
        broken = [name for name, column in values.items() if not np.isfinite(column).all()]
        if broken:
            raise ValueError(f"localisations must be finite; {', '.join(broken)} are not")
        if frames_done is not None:
            self._frames = frames_done
        start = 0
        while start < len(rows):
            offset = self._rows % CHUNK_ROWS
            count = min(len(rows) - start, CHUNK_ROWS - offset)
            self._files.start_clock()
            for name, column in values.items():
                self._tail[name][offset : offset + count] = column[start : start + count]
            self._rows += count
            start += count
            if self._rows % CHUNK_ROWS == 0:
                self._keep_tail(self._rows // CHUNK_ROWS - 1)
                if self._files.held >= MOST_HELD:
                    self._finish_commit()  # an older content of the same chunk must not come after
                    self._files.put_held()
        self.flush_if_due()

    def flush_if_due(self) -> None:
        """Begin to commit what was appended if the last time is `FLUSH_S` ago; call it when no rows come, too."""
        if self._files.busy:
            return
        self._finish_commit()
        if time.monotonic() >= self._flush_due_s:
            self._begin_commit()

    def flush(self) -> None:
        """Commit every row appended so far."""
        self._finish_commit()
        self._begin_commit()
        self._finish_commit()

    def _begin_commit(self) -> None:
        self._flush_due_s = time.monotonic() + FLUSH_S
        if self.everything_committed:
            return
        if self._rows % CHUNK_ROWS and self._rows != self._committed:
            self._keep_tail(self._rows // CHUNK_ROWS)
        self._files.begin_commit(self.path / GROUP, {"n_committed": self._rows, "frames_committed": self._frames})
        self._under_way = self._rows, self._frames
        if not self._files.durable:
            self._finish_commit()

    def _finish_commit(self) -> None:
        counts, self._under_way = self._under_way, None
        self._files.finish_commit()
        if counts is not None:
            self._committed, self._frames_committed = counts
            now_s = time.monotonic()
            took_s = now_s - self._flush_due_s + FLUSH_S
            self._flush_due_s = max(self._flush_due_s, now_s + min(took_s, SLOW_FLUSH_S))

    def update(self, **changes: object) -> None:
        """Change metadata (`RunMetadata`), for instance the number of frames once it is known."""
        self._metadata = self._metadata.changed(**changes)
        update_node(self.path, {FACTS: self._metadata.stored()}, durable=self._files.durable)

    def close(self) -> None:
        """Commit the rest and cut the arrays to their rows, so that every Zarr reader sees only real ones."""
        try:
            if not self._columns:
                self._make_columns(COLUMNS_2D)
            self.flush()
            cut = partial(ChunkedArray.resize, shape=(self._rows,), durable=self._files.durable)
            self._files.each(cut, self._columns.values())
        finally:
            self._files.close()

    def _make_columns(self, names: Sequence[str], given: Mapping[str, Any] | None = None) -> None:
        for name in names:
            dtype = column_dtype(name, (given or {}).get(name))
            self._columns[name] = ChunkedArray.create(
                self._group,
                name,
                shape=(FIRST_CAPACITY,),
                chunks=(CHUNK_ROWS,),
                dtype=dtype,
                dimension_names=("row",),
            )
            self._tail[name] = np.zeros(CHUNK_ROWS, dtype)
        seal(self.path / GROUP, durable=self._files.durable, each=self._files.each)
        update_node(self.path / GROUP, {"columns": list(names)}, durable=self._files.durable)

    def _keep_tail(self, chunk: int) -> None:
        """Keep the chunk that is being filled for the next commit."""
        for name, column in self._columns.items():
            if (chunk + 1) * CHUNK_ROWS > column.shape[0]:
                column.resize((2 * column.shape[0],), durable=self._files.durable)
            self._files.hold(*column.encoded((chunk,), self._tail[name]))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def holds_localizations(path: Path) -> bool:
    """Whether `path` is a run with a localisation table, complete or not."""
    return (Path(path) / GROUP / "zarr.json").is_file()


def read_localizations(
    path: Path, *, first_row: int = 0, rows: int | None = None, columns: Sequence[str] | None = None
) -> tuple[pd.DataFrame, RunMetadata]:
    """Read the committed rows of a run, also while it is being written or after its writer was killed.

    Parameters
    ----------
    path : Path
        ``RUN.zarr``.
    first_row : int
        Leave out the rows before this one, which a reader that follows a run has already.
    rows : int, optional
        Read no more than these; all if not given.
    columns : sequence of str, optional
        Read only these of the table's columns; all if not given.

    Returns
    -------
    table : DataFrame
        Columns `COLUMNS_2D`, and `COLUMNS_Z` where the run is 3D.
    metadata : RunMetadata
        Provenance.

    Raises
    ------
    InputError
        There is no such run, or a part of these rows is missing or damaged.
    """
    import zarr

    path, give = Path(path), "give a RUN.zarr that live, localize or scan wrote"
    if not path.exists():
        raise InputError(f"{path} does not exist: {give}")
    try:
        root = zarr.open_group(path, mode="r")
        group: Any = root[GROUP]
        total = int(group.attrs["n_committed"])
        names = list(group.attrs["columns"])
    except (KeyError, ValueError, OSError, TypeError) as error:
        give += did_you_mean(path, Kind.RUN)
        raise InputError(f"{path} holds no localisations ({words(error)}): {give}") from None
    first_row = min(first_row, total)
    last_row = total if rows is None else min(total, first_row + rows)
    wanted = [name for name in names if columns is None or name in columns]
    values = {name: _read_column(path / GROUP / name, first_row, last_row) for name in wanted}
    if not names:
        values = {name: np.empty(0, column_dtype(name)) for name in COLUMNS_2D}
    with reading(path, "a Zarr store", RuntimeError, cure=DAMAGED_STORE):
        stored: Any = root.attrs.get(FACTS, {})
        return pd.DataFrame(values), RunMetadata.from_stored(stored, path)


def _read_column(path: Path, first_row: int, last_row: int) -> NDArray[Any]:
    """Read rows of one column; other than by zarr-python a chunk that is not there is an error, not zeros."""
    column = ChunkedArray.open(path)
    rows = column.chunks[0]
    if column.shape[0] < last_row:
        raise InputError(f"{path} has {column.shape[0]} rows, not {last_row}: copy the store anew")
    values = np.empty(last_row - first_row, column.dtype.newbyteorder("="))
    for chunk in range(first_row // rows, -(-last_row // rows)):
        start = chunk * rows
        low, high = max(first_row, start), min(last_row, start + rows)
        values[low - first_row : high - first_row] = column.read((chunk,))[low - start : high - start]
    return values


def read_metadata(path: Path) -> RunMetadata:
    """Read the provenance of a run (`read_localizations`)."""
    return read_localizations(path, rows=0)[1]


def update_run(path: Path, **changes: object) -> None:
    """Change metadata of a run whose writer is closed."""
    path = Path(path)
    stored = json.loads((path / "zarr.json").read_text(encoding="utf-8"))["attributes"].get(FACTS, {})
    update_node(path, {FACTS: RunMetadata.from_stored(stored, path).changed(**changes).stored()}, durable=True)
