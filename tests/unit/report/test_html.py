"""What stands in backticks, a command or a name, is set as code wherever words are."""

from __future__ import annotations

from pathlib import Path

from easyzloc_mm.report.html import Block, Card, Cards, Heading, Links, Paragraph, Picture, Rows, write_page

SAID = "say `a < b`"
SET = "say <code>a &lt; b</code>"


def test_code_is_set_as_code_in_every_block(tmp_path: Path) -> None:
    blocks: list[Block] = [
        Heading(SAID),
        Paragraph(SAID),
        Picture("a.png", SAID),
        Rows([[SAID, SAID], [SAID, "good"]], header=True, marks={"good": "green"}),
        Links({SAID: "a.html"}),
        Cards([Card(SAID, [SAID], None, "red")]),
    ]
    text = write_page(tmp_path, "title", SAID, blocks).read_text(encoding="utf-8")
    assert text.count(SET) == 10
    assert text.count("`") == 2 * text.count(f'alt="{"say `a &lt; b`"}"') == 2
    assert 'background: green"></i>good</span>' in text


def test_a_number_keeps_its_unit(tmp_path: Path) -> None:
    rows = Rows([["0.27 um", "3 per um2", "5 fields of 12 s"], ["`focus_um`", "drum", "2 nmol"], ["+34 ± 6"]])
    text = write_page(tmp_path, "t", "l", [rows]).read_text(encoding="utf-8")
    for cell in (
        "0.27\u00a0µm",
        "3 per µm²",
        "5 fields of 12\u00a0s",
        "<code>focus_um</code>",
        "drum",
        "2 nmol",
        "+34\u00a0±\u00a06",
    ):
        assert f"<td>{cell}</td>" in text
