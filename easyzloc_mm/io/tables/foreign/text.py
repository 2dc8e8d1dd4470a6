"""Tables as text, in the dialects that programs and countries write them in.

Separators are commas, semicolons, tabs or blanks; decimals have a point or a comma; numbers may be quoted or have
commas between their thousands; lines may end with one separator more than the headings; comments begin with ``#``; the
text may be UTF-8 or UTF-16 with a byte order mark, or Latin-1.
"""

from __future__ import annotations

import csv
import re
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.reading import words
from easyzloc_mm.typing import F64

HEAD_BYTES = 1 << 18
MARKS = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be", b"\xef\xbb\xbf": "utf-8"}
SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""How .xlsx and .xls files of Excel begin."""
SAVE_AS_CSV = "save the table as .csv"
WORD = re.compile(r'"[^"]*"|[^\s\[(]\S*(?:\s*[\[(][^\])]{0,20}[\])])?')
"""A heading where blanks separate: a unit in brackets belongs to it."""
QUOTED_OR_UNIT = re.compile(r'"[^"]*"|[\[(][^\])]{0,20}[\])]')
LINE_END = re.compile(r"\r\n|\r|\n")
BLANKS = " "
LONGEST_QUOTE = 60
LONGEST_HEADING = 50_000
"""Characters of a line of headings."""


@dataclass(frozen=True)
class TextTable:
    """A table as text.

    Attributes
    ----------
    comments : tuple of str
        Lines that begin with ``#``, before the headings, without it.
    table : DataFrame
        Columns under their headings, blanks made single; numbers wherever a cell is one.
    headed : bool
        Whether there are headings; otherwise columns are called "0", "1", ...
    """

    comments: tuple[str, ...]
    table: pd.DataFrame
    headed: bool = True


@dataclass(frozen=True)
class _Layout:
    """How a text is written."""

    encoding: str
    separator: str
    headings: list[str]
    comments: tuple[str, ...]
    skipped_lines: int
    """Lines before the first row."""
    columns: int
    """Of the first row, 0 where there is none: one more than headings where lines end with a separator."""
    decimal: str


def read_text(path: Path) -> TextTable:
    """Read a table of text in any dialect.

    Raises
    ------
    InputError
        The file cannot be read, or is no text, or no table.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    layout = _layout(path, head)
    names = pd.Series([name.replace(",", ".") for name in layout.headings], dtype=object)
    headed = not np.isfinite(pd.to_numeric(names, errors="coerce").to_numpy(float)).all()
    if not headed:
        numbered = [str(number) for number in range(len(layout.headings))]
        layout = replace(layout, headings=numbered, skipped_lines=layout.skipped_lines - 1)
    found = _read(path, layout)
    converted = {name: _column(found[name]) for name in found.columns}
    return TextTable(layout.comments, pd.DataFrame(converted, index=found.index), headed)


def _layout(path: Path, head: bytes) -> _Layout:
    if not head.strip(b"\0\r\n\t "):
        raise InputError(f"{path} cannot be read as a table: it is empty")
    if head.startswith(SPREADSHEETS):
        raise InputError(f"{path} is a spreadsheet: {SAVE_AS_CSV}")
    encoding, text = _decoded(head)
    if "\0" in text:
        raise InputError(f"{path} cannot be read as a table: it is no text; {SAVE_AS_CSV}")
    comments: list[str] = []
    lines = LINE_END.split(text)
    declared = ""
    for number, line in enumerate(lines):
        bare = line.strip().strip('"')
        if bare.startswith("#"):
            comments.append(bare.lstrip("# "))
        elif number == 0 and bare.lower().startswith("sep=") and len(bare) == 5:
            declared = bare[4]
        elif bare:
            break
    if not bare or bare.startswith("#") or len(line) > LONGEST_HEADING:
        raise InputError(f"{path} cannot be read as a table: it has no line of headings; {SAVE_AS_CSV}")
    rows = [row for row in lines[number + 1 :] if row.strip() and not row.lstrip().startswith("#")]
    if len(head) == HEAD_BYTES:
        rows = rows[:-1]
    separator = declared or _separator(line)
    headings = [" ".join(name.strip().strip("\"'`").split()) for name in _split(path, line, separator)]
    decimal = "," if separator != "," and _decimal_comma(rows) else "."
    columns = len(_split(path, rows[0], separator)) if rows else 0
    return _Layout(encoding, separator, headings, tuple(comments), number + 1, columns, decimal)


def _decoded(head: bytes) -> tuple[str, str]:
    mark = next((sign for sign in MARKS if head.startswith(sign)), b"")
    encoding = MARKS.get(mark, "utf-8")
    for cut in range(4 if len(head) == HEAD_BYTES else 1):  # the last character may be cut in two
        try:
            return encoding, head[len(mark) : len(head) - cut].decode(encoding)
        except UnicodeDecodeError:
            continue
    return "latin-1", head.decode("latin-1")


def _separator(heading: str) -> str:
    bare = QUOTED_OR_UNIT.sub("x", heading)
    found = max(",;\t", key=bare.count)
    return found if found in bare else BLANKS


def _split(path: Path, line: str, separator: str) -> list[str]:
    if separator == BLANKS:
        return WORD.findall(line)
    try:
        return next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    except csv.Error as error:
        raise InputError(f"{path} cannot be read as a table: {words(error)}; {SAVE_AS_CSV}") from None


def _decimal_comma(rows: list[str]) -> bool:
    """Whether numbers have a comma before their decimals, and not between thousands."""
    text = "\n".join(rows[:2000])
    return bool(re.search(r"\d,\d", text)) and not re.search(r"\d,\d{3}(,\d{3})*\.\d|\d\.\d", text)


def _read(path: Path, layout: _Layout) -> pd.DataFrame:
    names = list(layout.headings)
    if layout.columns == len(names) + 1:
        names.append("")  # lines end with a separator
    repeated = sorted({name for name in names if name and names.count(name) > 1})
    if repeated:
        raise InputError(f"{path} has more than one column {', '.join(repeated)}: rename or remove one")
    if not names:
        raise InputError(f"{path} cannot be read as a table: it holds no headings")
    if not layout.columns:
        return pd.DataFrame({name: np.empty(0) for name in names})
    unique = [name or f"\0{number}" for number, name in enumerate(names)]
    table = _read_blanks(path, layout, unique) if layout.separator == BLANKS else _read_separated(path, layout, unique)
    return table.drop(columns=[name for name in unique if name.startswith("\0")])


def _read_separated(path: Path, layout: _Layout, names: list[str]) -> pd.DataFrame:
    import pyarrow
    import pyarrow.csv

    odd: list[str] = []

    def leave_out(row: pyarrow.csv.InvalidRow) -> str:
        if not row.text.lstrip().startswith("#"):
            odd.append(row.text)
        return "skip"

    first = {"skip_rows": layout.skipped_lines, "column_names": names, "encoding": layout.encoding}
    try:
        found: pd.DataFrame = pyarrow.csv.read_csv(
            path,
            read_options=pyarrow.csv.ReadOptions(**first),
            parse_options=pyarrow.csv.ParseOptions(delimiter=layout.separator, invalid_row_handler=leave_out),
            convert_options=pyarrow.csv.ConvertOptions(
                decimal_point=layout.decimal, check_utf8=False, include_columns=names, timestamp_parsers=["-"]
            ),
        ).to_pandas()
    except (pyarrow.ArrowException, OSError, UnicodeError, ValueError, OverflowError) as error:
        raise InputError(f"{path} cannot be read as a table: {words(error)}; {SAVE_AS_CSV}") from None
    if odd and not len(found):
        raise InputError(f"{path}: no row has as many columns as the {len(names)} headings: {SAVE_AS_CSV}")
    if odd:
        shown = odd[0] if len(odd[0]) <= LONGEST_QUOTE else odd[0][:LONGEST_QUOTE] + "..."
        warnings.warn(
            f"{path}: {len(odd)} line(s) have another number of columns than the {len(names)} headings, and are left "
            f"out (first: '{shown}')",
            EasyZlocWarning,
            stacklevel=6,
        )
    return found


def _read_blanks(path: Path, layout: _Layout, names: list[str]) -> pd.DataFrame:
    if layout.columns > len(names):
        raise InputError(f"{path} has {layout.columns} columns and {len(names)} headings: {SAVE_AS_CSV}")
    try:
        return pd.read_csv(
            path, sep=r"\s+", names=names, skiprows=layout.skipped_lines, comment="#", index_col=False,
            encoding=layout.encoding, encoding_errors="replace", decimal=layout.decimal, low_memory=False,
        )  # fmt: skip
    except (ValueError, OSError, UnicodeError, OverflowError) as error:  # ParserError is a ValueError
        raise InputError(f"{path} cannot be read as a table: {words(error)}; {SAVE_AS_CSV}") from None


def _column(column: pd.Series) -> pd.Series:
    """Return numbers where any cell is one; text as it is where none is."""
    if column.dtype == bool or not len(column):
        return column.astype(float)
    if pd.api.types.is_numeric_dtype(column):
        return column
    numbers = _as_numbers(column.to_numpy(object))
    return pd.Series(numbers, column.index) if np.isfinite(numbers).any() or column.isna().all() else column


def _as_numbers(cells: object) -> F64:
    """Cells as numbers, NaN where they are none; commas between thousands, or before decimals, are understood."""
    text = pd.Series(np.asarray(cells, object)).astype(str).str.strip().str.strip("\"'`")
    plain = text.where(~text.str.contains(r",.*\."), text.str.replace(",", "", regex=False))
    plain = plain.str.replace(",", ".", regex=False)
    return np.asarray(pd.to_numeric(plain, errors="coerce").to_numpy(float))
