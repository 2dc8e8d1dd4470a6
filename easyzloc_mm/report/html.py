"""Report pages: one self-contained look for every HTML report."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

CODE = re.compile("`([^`]+)`")
MICROMETRES = re.compile(r"(?:(?<=\d )|(?<=\()|(?<=per ))um(2?)\b")
QUANTITY = re.compile(r"(?<=\d) (?=(?:nm|µm|µm²|px|ms|s|min|h|mrad|rad|MB|GB|%)(?!\w))|(?<=\d) (?=±)|(?<=±) ")
"""The space between a number and its unit, or its uncertainty, where no line may break."""
STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --quiet: #5b6675; --line: #d9dfe7; --card: #fff; --page: #f4f6f9 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaf0; --quiet: #9aa7b8; --line: #2c3644; --card: #161d27; --page: #0d1219 } }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif }
main { max-width: 1080px; margin: 0 auto; padding: 2rem 1.25rem 4rem }
h1 { font-size: 1.7rem; margin: 0 0 .25rem } h2 { font-size: 1.2rem; margin: 2.25rem 0 .5rem }
p.lead { color: var(--quiet); margin: 0 0 1.5rem; max-width: 72ch } p { max-width: 78ch }
figure { margin: 1rem 0; padding: 1rem; background: var(--card); border: 1px solid var(--line); border-radius: 8px }
figure img { display: block; max-width: 100%; height: auto; margin: 0 auto; border-radius: 4px }
figcaption { color: var(--quiet); font-size: .92rem; margin-top: .75rem }
table { border-collapse: collapse; margin: .75rem 0; background: var(--card); border: 1px solid var(--line);
  border-radius: 8px }
th, td { text-align: left; padding: .4rem .9rem; border-bottom: 1px solid var(--line);
  font-variant-numeric: tabular-nums }
.marked { white-space: nowrap }
.mark { display: inline-block; width: .7em; height: .7em; border-radius: 50%; margin-right: .45em }
th { font-weight: 600 } td.note { color: var(--quiet) }
figure svg { display: block; width: 100%; margin: 0 auto }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(200px, 1fr)); gap: .75rem }
.cards > div { background: var(--card); border: 1px solid var(--line); border-top: 5px solid; border-radius: 8px;
  padding: .6rem; font-size: .85rem; color: var(--ink) }
.cards img { width: 100%; height: auto; border-radius: 4px } .cards p { margin: .15rem 0 }
""".strip()


@dataclass(frozen=True)
class Heading:
    """A section's title."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    """Plain words."""

    text: str


@dataclass(frozen=True)
class Picture:
    """An image file inside the page's folder, with what it shows."""

    file: str
    caption: str


@dataclass(frozen=True)
class Rows:
    """A table; the first row is its header where `header` is true, and words of `marks` have a dot of that colour."""

    rows: Sequence[Sequence[str]]
    header: bool = False
    marks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Links:
    """Files and pages that belong to the report: label to relative path."""

    targets: Mapping[str, str]


@dataclass(frozen=True)
class Drawing:
    """An SVG drawing that stands in the page itself, with what it shows; its own texts are escaped already."""

    svg: str
    caption: str


@dataclass(frozen=True)
class Card:
    """One of many like things: a title, lines of text, an image (a file, or a data address), and a colour."""

    title: str
    lines: Sequence[str]
    image: str | None
    color: str


@dataclass(frozen=True)
class Cards:
    """Many of them, side by side."""

    cards: Sequence[Card]


Block = Heading | Paragraph | Picture | Rows | Links | Drawing | Cards


def write_page(folder: Path, title: str, lead: str, blocks: Sequence[Block], *, name: str = "index.html") -> Path:
    """Write a page and return its path. Pictures must already lie in `folder`."""
    body = "\n".join(_html(block) for block in blocks)
    page = (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{STYLE}\n</style>\n</head>\n<body>\n<main>\n"
        f'<h1>{in_html(title)}</h1>\n<p class="lead">{in_html(lead)}</p>\n{body}\n</main>\n</body>\n</html>\n'
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(page, encoding="utf-8")
    return path


def in_html(text: str) -> str:
    """Text as HTML: what stands in backticks, a command or a name, as code; a number and its unit on one line."""
    parts = CODE.split(escape(text))  # words and code in turn
    return "".join(f"<code>{part}</code>" if number % 2 else _words(part) for number, part in enumerate(parts))


def _words(text: str) -> str:
    return QUANTITY.sub("\u00a0", MICROMETRES.sub(lambda unit: "µm²" if unit[1] else "µm", text))


def _html(block: Block) -> str:
    match block:
        case Heading(text):
            return f"<h2>{in_html(text)}</h2>"
        case Paragraph(text):
            return f"<p>{in_html(text)}</p>"
        case Picture(file, caption):
            return (
                f'<figure><img src="{escape(file)}" alt="{escape(caption)}">'
                f"<figcaption>{in_html(caption)}</figcaption></figure>"
            )
        case Rows(rows, header, marks):
            lines = []
            for number, row in enumerate(rows):
                tag = "th" if header and number == 0 else "td"
                lines.append("<tr>" + "".join(f"<{tag}>{_cell(cell, marks)}</{tag}>" for cell in row) + "</tr>")
            return "<table>" + "\n".join(lines) + "</table>"
        case Links(targets):
            items = "".join(
                f'<li><a href="{escape(path)}">{in_html(label)}</a></li>' for label, path in targets.items()
            )
            return f"<ul>{items}</ul>"
        case Drawing(svg, caption):
            return f"<figure>{svg}<figcaption>{in_html(caption)}</figcaption></figure>"
        case Cards(cards):
            return '<div class="cards">' + "\n".join(_card(card) for card in cards) + "</div>"


def _cell(text: str, marks: Mapping[str, str]) -> str:
    if text not in marks:
        return in_html(text)
    return f'<span class="marked"><i class="mark" style="background: {marks[text]}"></i>{in_html(text)}</span>'


def _card(card: Card) -> str:
    image = "" if card.image is None else f'<img src="{escape(card.image)}" alt="{escape(card.title)}">'
    lines = "".join(f"<p>{in_html(line)}</p>" for line in card.lines)
    return f'<div style="border-top-color: {card.color}">{image}<p><b>{in_html(card.title)}</b></p>{lines}</div>'
