"""One table of text in the dialects of programs and countries; what is damaged is said, and the rest is read."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from easyzloc_mm.errors import EasyZlocWarning, InputError
from easyzloc_mm.io.tables.registry import read_table


def thunderstorm_table(rows: int = 60) -> pd.DataFrame:
    random = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "id": np.arange(1, rows + 1),
            "frame": np.sort(random.integers(1, 20, rows)).astype(float),
            "x [nm]": random.uniform(200, 5000, rows).round(3),
            "y [nm]": random.uniform(200, 5000, rows).round(3),
            "intensity [photon]": random.uniform(300, 5000, rows).round(2),
            "uncertainty_xy [nm]": random.uniform(5, 20, rows).round(4),
        }
    )


def comma_csv(source: pd.DataFrame) -> str:
    return str(source.to_csv(index=False, lineterminator="\n"))


def thousands(source: pd.DataFrame) -> str:
    """Java's usual number format: commas between thousands, in a file whose columns are separated by tabs."""
    lines = ["\t".join(f'"{name}"' for name in source)]
    lines += ["\t".join(f"{value:,.4f}" for value in row) for row in source.to_numpy()]
    return "\n".join(lines)


def in_micrometres(source: pd.DataFrame) -> str:
    lengths = ["x [nm]", "y [nm]"]
    return comma_csv(
        source.assign(**{n: source[n] / 1000 for n in lengths}).rename(columns={n: f"{n[0]} [µm]" for n in lengths})
    )


DIALECTS: dict[str, Callable[[pd.DataFrame], bytes]] = {
    "semicolons and decimal commas": lambda t: t.to_csv(index=False, sep=";", decimal=",").encode(),
    "semicolons": lambda t: t.to_csv(index=False, sep=";").encode(),
    "tabs": lambda t: t.to_csv(index=False, sep="\t").encode(),
    "tabs and decimal commas": lambda t: t.to_csv(index=False, sep="\t", decimal=",").encode(),
    "blanks": lambda t: t.to_csv(index=False, sep=" ", quoting=2).replace("\n", "  \n").encode(),
    "blanks, headings bare": lambda t: (" ".join(map(str, t)) + "\n" + t.to_string(index=False, header=False)).encode(),
    "blanks and decimal commas": lambda t: t.to_csv(index=False, sep=" ", decimal=",", quoting=2).encode(),
    "commas and blanks": lambda t: comma_csv(t).replace(",", ", ").encode(),
    "trailing commas": lambda t: comma_csv(t).replace("\n", ",\n").encode(),
    "trailing commas below": lambda t: comma_csv(t).replace("\n", ",\n").replace("],\n", "]\n", 1).encode(),
    "all quoted": lambda t: t.to_csv(index=False, quoting=1).encode(),
    "quoted decimal commas": lambda t: t.to_csv(index=False, quoting=1, decimal=",").encode(),
    "thousands": lambda t: thousands(t).encode(),
    "byte order mark": lambda t: comma_csv(t).encode("utf-8-sig"),
    "UTF-16": lambda t: comma_csv(t).encode("utf-16"),
    "UTF-16, tabs, other byte order": lambda t: b"\xfe\xff" + t.to_csv(index=False, sep="\t").encode("utf-16-be"),
    "Windows lines": lambda t: comma_csv(t).replace("\n", "\r\n").encode(),
    "old Macintosh lines": lambda t: comma_csv(t).replace("\n", "\r").encode(),
    "comments, empty lines": lambda t: b"# by hand\n\n#\n" + comma_csv(t).replace("\n", "\n\n", 3).encode() + b"\n\n",
    "Excel's first line": lambda t: b"sep=;\n" + t.to_csv(index=False, sep=";").encode(),
    "capitals": lambda t: comma_csv(t.rename(columns=str.upper)).encode(),
    "no blank before units": lambda t: comma_csv(t.rename(columns=lambda name: name.replace(" [", "["))).encode(),
    "micrometres": lambda t: in_micrometres(t).encode("latin-1"),
}  # fmt: skip


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("ending", [".csv", ".xls"])
def test_every_dialect_gives_the_same_table(tmp_path: Path, dialect: str, ending: str) -> None:
    source = thunderstorm_table()
    (tmp_path / "plain.csv").write_text(comma_csv(source), encoding="utf-8")
    (tmp_path / f"other{ending}").write_bytes(DIALECTS[dialect](source))
    with warnings.catch_warnings():
        warnings.simplefilter("error", EasyZlocWarning)
        plain, stated = read_table(tmp_path / "plain.csv", pixel_size_nm=100)
        other, again = read_table(tmp_path / f"other{ending}", pixel_size_nm=100)
    pd.testing.assert_frame_equal(other, plain, rtol=1e-12)
    assert (again.frames, again.counting) == (stated.frames, stated.counting)


@pytest.mark.parametrize("rows", [1, 2])
def test_short_tables_have_the_same_dialects(tmp_path: Path, rows: int) -> None:
    source = thunderstorm_table().iloc[:rows]
    for number, dialect in enumerate(DIALECTS.values()):
        (tmp_path / f"{number}.csv").write_bytes(dialect(source))
        found, _ = read_table(tmp_path / f"{number}.csv", pixel_size_nm=100)
        np.testing.assert_allclose(found["x"], source["x [nm]"] / 100 - 0.5)


def test_a_table_of_headings_alone_is_empty(tmp_path: Path) -> None:
    for number, separator in enumerate([",", ";", "\t"]):
        path = tmp_path / f"{number}.csv"
        path.write_text(separator.join(map(str, thunderstorm_table())), encoding="utf-8")
        found, metadata = read_table(path, pixel_size_nm=100)
        assert len(found) == 0
        assert metadata.frames == 1


def test_a_line_that_was_cut_off_is_left_out_aloud(tmp_path: Path) -> None:
    text = comma_csv(thunderstorm_table())
    (tmp_path / "t.csv").write_text(text[: text.rindex(",")], encoding="utf-8")
    with pytest.warns(EasyZlocWarning, match=r"1 line\(s\) have another number of columns than the 6 headings"):
        found, _ = read_table(tmp_path / "t.csv", pixel_size_nm=100)
    assert len(found) == len(thunderstorm_table()) - 1


def test_a_cell_of_text_costs_its_row_only(tmp_path: Path) -> None:
    source = thunderstorm_table().astype(object)
    source.loc[3, "x [nm]"] = "#REF!"
    source.loc[5, "intensity [photon]"] = "?"
    (tmp_path / "t.csv").write_text(comma_csv(source), encoding="utf-8")
    with pytest.warns(EasyZlocWarning) as caught:
        found, _ = read_table(tmp_path / "t.csv", pixel_size_nm=100)
    said = " ".join(str(one.message) for one in caught)
    assert "1 row(s) have no possible frame number, x, y or z, and are left out (row 4)" in said
    assert "photons (row 5" in said
    assert len(found) == len(source) - 1
    assert np.isfinite(found.to_numpy(float)).all()


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"", "is empty"),
        (b"\n\n  \n", "is empty"),
        (b"# only\n# comments\n", "no line of headings"),
        (b"PK\x03\x04abc", "is a spreadsheet: save the table as .csv"),
        (b"\xd0\xcf\x11\xe0abc", "is a spreadsheet"),
        (b"frame,x [nm]\0\0\0\0\n1,2\n", "no text"),
        (b"frame,x [nm],y [nm],x [nm]\n1,2,3,4\n", "more than one column x"),
        (b"frame,x [nm],y [nm]\n1;2;3\n4;5;6\n", "no row has as many columns"),
        (b"frame,x [nm],y [nm]\n1,a,3\n", "column x .nm. holds text"),
        (b"a" * 70_000, "no line of headings"),
        (b'"frame,x [nm]\n1,2', "frame"),
    ],
)
def test_what_is_no_table_is_refused_in_one_sentence(tmp_path: Path, content: bytes, hint: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InputError, match=hint) as caught:
        read_table(tmp_path / "t.csv", pixel_size_nm=100)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
